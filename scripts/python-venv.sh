#!/usr/bin/env bash
# Prints the path of a Python that has safetensors, numpy and pyarrow, in a virtual environment of the cache, made if needed. Only tests use it.
#
#   RINGLEADER_PYTHON=$(scripts/python-venv.sh) go test ./checkpoints ./serving
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(safetensors==0.8.0 numpy==2.4.6 pyarrow==26.0.1)
# Another list is another environment.
venv="$PWD/.cache/python-$(echo "${packages[*]}" | sha256sum | cut -c1-8)"

if [ ! -e "$venv/.complete" ]; then
  command -v python3 >/dev/null || { echo "python-venv.sh: python3 is missing" >&2; exit 1; }
  rm -rf "$venv"
  mkdir -p .cache
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "${packages[@]}" >&2
  touch "$venv/.complete"
fi
echo "$venv/bin/python"
