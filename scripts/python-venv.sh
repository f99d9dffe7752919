#!/usr/bin/env bash
# Prints the path of a Python with the packages of a requirements file, in a virtual environment of the cache, made if needed. Without
# an argument the packages are those that tests use.
#
#   RINGLEADER_PYTHON=$(scripts/python-venv.sh) go test ./checkpoints ./serving
#   $(scripts/python-venv.sh scripts/bench/requirements.txt) scripts/bench/run.py
set -euo pipefail
requirements=$(realpath "${1:-$(dirname "$0")/python-requirements.txt}")
cd "$(dirname "$0")/.."

# Another list is another environment.
venv="$PWD/.cache/python-$(sha256sum <"$requirements" | cut -c1-8)"

if [ ! -e "$venv/.complete" ]; then
  command -v python3 >/dev/null || { echo "python-venv.sh: python3 is missing" >&2; exit 1; }
  rm -rf "$venv"
  mkdir -p .cache
  python3 -m venv "$venv" >&2
  "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r "$requirements" >&2
  touch "$venv/.complete"
fi
echo "$venv/bin/python"
