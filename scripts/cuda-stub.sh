#!/usr/bin/env bash
# Builds a driver without code, libcuda.so, to link against where there is none.
#
#   cuda-stub.sh TOOLKIT FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
[ ! -e "$2/libcuda.so" ] || exit 0
mkdir -p "$2"
device/cuda/emulation/stubs.sh "$1/include/cuda.h" >"$2/stubs.c"
gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$2/libcuda.so" "$2/stubs.c"
