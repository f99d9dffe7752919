#!/usr/bin/env bash
# Prints the folder of a CUDA toolkit (bin/nvcc, include/): the one that is installed (CUDA_HOME, or /usr/local/cuda) if it is of CUDA 12 or 13,
# else what the packages of cuda-requirements.txt hold, unpacked into the cache (100 MB to fetch, once).
#
#   $(scripts/cuda-toolkit.sh)/bin/nvcc --version
set -euo pipefail
requirements=$(realpath "$(dirname "$0")/cuda-requirements.txt")
cd "$(dirname "$0")/.."

for installed in "${CUDA_HOME:-}" /usr/local/cuda; do
  if [ -x "$installed/bin/nvcc" ] && "$installed/bin/nvcc" --version | grep -q 'release 1[23]\.'; then
    echo "$installed"
    exit
  fi
done

# Another list is another folder.
folder="$PWD/.cache/cuda-$(sha256sum <"$requirements" | cut -c1-8)"
if [ ! -e "$folder" ]; then
  command -v python3 >/dev/null || { echo "cuda-toolkit.sh: there is no CUDA toolkit, and no python3 to fetch one" >&2; exit 1; }
  mkdir -p .cache
  partial=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    -d "$partial/wheels" -r "$requirements" >&2
  for wheel in "$partial"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$partial/tree"; done
  chmod -R u+x "$partial"/tree/nvidia/cu13/bin "$partial"/tree/nvidia/cu13/nvvm/bin
  mv -T "$partial/tree/nvidia/cu13" "$folder"
fi
echo "$folder"
