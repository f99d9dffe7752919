#!/usr/bin/env bash
# Prints the path of a MinIO server, which it compiles (some minutes) unless the cache has it. The version is that of
# tools/minio/go.mod, a module of its own, so that nothing of MinIO's reaches the program.
#
#   RINGLEADER_MINIO=$(scripts/minio.sh) go test ./checkpoints/s3
#
# With --cached it prints nothing unless the cache has it, and compiles nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's|^.*github.com/minio/minio \(v[^ ]*\).*$|\1|p' tools/minio/go.mod)
[ -n "$version" ] || { echo "minio.sh: tools/minio/go.mod names no github.com/minio/minio" >&2; exit 1; }
binary="$PWD/.cache/minio-$version"

if [ "${1:-}" = --cached ] && [ ! -x "$binary" ]; then exit 0; fi

if [ ! -x "$binary" ]; then
  mkdir -p .cache
  echo "minio.sh: compiling MinIO $version (some minutes, once)" >&2
  # Built under another name first: an interrupted build must not leave what looks like a server.
  partial=$(mktemp "$binary.XXXXXX")
  trap 'rm -f "$partial"' EXIT
  (cd tools/minio && CGO_ENABLED=0 nice -n 10 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$partial" github.com/minio/minio) >&2
  chmod 755 "$partial"
  mv -f "$partial" "$binary"
fi
echo "$binary"
