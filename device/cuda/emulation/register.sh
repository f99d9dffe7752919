#!/usr/bin/env bash
# Prints the C++ that compiles a file of kernels for the emulated device and registers what is in it.
#
#   register.sh KERNELS.cu >KERNELS.cpp
set -euo pipefail
file=$1
declared=$(grep -c '__global__' "$file" || true)
kernels=$(sed -nE 's/^extern "C" __global__ void (__launch_bounds__\(([0-9]+)[^)]*\) )?([A-Za-z0-9_]+)\(.*/\3 \2/p' "$file")
found=$(grep -c . <<<"$kernels" || true)
[ "$declared" = "$found" ] || {
  echo "$file: $declared times __global__, but $found kernels of the form: extern \"C\" __global__ void [__launch_bounds__(NUMBER)] NAME(" >&2
  exit 1
}
echo "#include \"$(realpath "$file")\""
echo '#include "registry.h"'
while read -r name threads; do
  [ -z "$name" ] || echo "static const auto ${name}_registered = emulation::Registration::of<$name>(\"$name\", ${threads:-1024});"
done <<<"$kernels"
