#!/usr/bin/env bash
# Checks the source without running it. All checks run; the exit status is that of the worst. TOOLS names the folder
# of buf, staticcheck and the generators (the Makefile builds them).
set -uo pipefail
cd "$(dirname "$0")/.."
: "${TOOLS:?run it through make lint}"
export PATH="$TOOLS:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# check NAME COMMAND...: runs the command; a failure is told and remembered.
check() {
  local name=$1
  shift
  echo "lint: $name"
  "$@" || { echo "lint: $name failed" >&2; status=1; }
}

formatted() {
  local files
  # Files that are deleted but not yet committed are still listed.
  files=$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [ -f "$f" ] && echo "$f"; done | xargs gofmt -l)
  [ -z "$files" ] || { echo "not formatted (make format):"$'\n'"$files" >&2; return 1; }
}

# What was released can be on disk and on the wire; what was not may still change.
compatible() {
  local tag
  tag=$(git describe --tags --abbrev=0 2>/dev/null) || { echo "lint: no release yet to be compatible with: skipped"; return 0; }
  buf breaking --against ".git#tag=$tag"
}

generated() {
  buf generate --output "$work" || return 1
  (cd "$work" && find . -type f) | while read -r f; do
    cmp -s "$work/$f" "$f" || { echo "$f is not what its .proto generates (make generate)" >&2; return 1; }
  done
}

check "gofmt" formatted
check "go vet" go vet ./...
check "go vet, lean" go vet -tags lean ./device/cpu ./dataset/importer ./cmd/ringleader
check "staticcheck" staticcheck ./...
check "buf lint" buf lint
check "buf breaking" compatible
check "generated code" generated
[ $status = 0 ] && echo "lint: all good"
exit $status
