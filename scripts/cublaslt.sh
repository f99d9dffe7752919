#!/usr/bin/env bash
# Compiles device/cuda/blaslt/header_check.cpp, which compares our declarations of cuBLASLt with its header, and prints the folders of its libraries: versions
# 12 and 13, from the packages of cublaslt-requirements.txt, unpacked into the cache (1 GB to fetch, once).
#
#   cublaslt.sh TOOLKIT
set -euo pipefail
toolkit=$1
cd "$(dirname "$0")/.."

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
  g++ -std=c++17 -fsyntax-only -I"$folder/$version/include" -I"$toolkit/include" device/cuda/blaslt/header_check.cpp
  echo "$folder/$version/lib"
done
