#!/usr/bin/env bash
# Compiles device/cuda/blaslt/header_check.cpp, which compares our declarations of cuBLASLt with its header, and prints the folders of its libraries: versions
# 12 and 13, from the packages of cublaslt-requirements.txt, unpacked into the cache (1 GB to fetch, once). With --installed it fetches and prints nothing, and
# takes the header of the toolkit, if there is one in it.
#
#   cublaslt.sh [--installed] TOOLKIT
set -euo pipefail
installed=
[ "$1" != --installed ] || { installed=yes && shift; }
toolkit=$1
cd "$(dirname "$0")/.."

check() { g++ -std=c++17 -fsyntax-only -Idevice/cuda/blaslt -I"$1" -I"$toolkit/include" device/cuda/blaslt/header_check.cpp; }

if [ -n "$installed" ]; then
  [ ! -e "$toolkit/include/cublasLt.h" ] || check "$toolkit/include"
  exit
fi

requirements=scripts/cublaslt-requirements.txt
folder="$PWD/.cache/cublaslt-$(sha256sum <"$requirements" | cut -c1-8)"
if [ ! -e "$folder" ]; then
  mkdir -p .cache
  partial=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -d "$partial/wheels" -r "$requirements" >&2
  for wheel in "$partial"/wheels/*.whl; do
    python3 -m zipfile -e "$wheel" "$partial/tree"
    rm "$wheel"
  done
  mv -T "$partial/tree/nvidia" "$folder"
fi
for version in cu13 cublas; do
  check "$folder/$version/include"
  echo "$folder/$version/lib"
done
