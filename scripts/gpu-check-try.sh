#!/usr/bin/env bash
# Tries gpu-check as it would be used: from the archive, elsewhere, on the emulated device and without PyTorch. Then on a device that fails, of which it must say so.
#
#   gpu-check-try.sh ARCHIVE EMULATION
set -euo pipefail
archive=$(realpath "$1") emulation=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
die() { echo "gpu-check-try.sh: $*" >&2; exit 1; }

tar -C "$work" -xzf "$archive"
export LD_LIBRARY_PATH=$emulation
cd "$work"
# The machine may be busy with other tests.
gpu-check/gpu-check --small --python none --limit 300 --out good || die "a good device does not pass"
for stage in device conformance repeat train step loss; do
  grep -q "\"stage\": \"$stage\", \"verdict\": \"pass\"" good/summary.json || die "stage $stage did not pass: $(cat good/summary.json)"
done
grep -q '^| Ringleader | 1.00 | 1.00 |' good/figures.* || die "no figures: $(cat good/figures.*)"

status=0
RINGLEADER_EMULATION=fail=40 gpu-check/gpu-check --small --python none --limit 300 --only conformance,loss --out bad || status=$?
[ $status = 1 ] || die "a device that fails: exit status $status, want 1"
[ "$(grep -o '"verdict": "fail"' bad/summary.json | wc -l)" = 2 ] || die "a device that fails: want two stages that failed: $(cat bad/summary.json)"
echo "gpu-check-try.sh: all good"
