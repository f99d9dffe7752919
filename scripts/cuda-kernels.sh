#!/usr/bin/env bash
# Compiles device/cuda/kernels/*.cu into fat binaries beside them, in built/: machine code for sm_80 and sm_90, and PTX for what comes later. Warnings
# are errors, and so are spills of the loss and of attention on sm_90. What nvcc says about registers, shared memory and spills is kept in built/*.txt.
#
#   cuda-kernels.sh TOOLKIT
set -euo pipefail
toolkit=$1
self=$(realpath "$0")
cd "$(dirname "$0")/../device/cuda/kernels"
mkdir -p built
shopt -s nullglob
for kernels in *.cu; do
  to=built/${kernels%.cu}
  # Headers are few and small: any of them makes all new.
  [ -z "$(find "$kernels" ./*.cuh "$self" -newer "$to.fatbin" 2>&1)" ] && continue
  echo "nvcc $kernels"
  "$toolkit/bin/nvcc" -fatbin --no-compress -std=c++17 -O3 -fmad=false -Werror all-warnings -Xptxas -v \
    -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90 \
    "$kernels" -o "$to.fatbin.part" 2>"$to.txt" || { cat "$to.txt" >&2; exit 1; }
  mv "$to.fatbin.part" "$to.fatbin"
done
awk '/Compiling entry/ { name = $7; arch = $9 } /spill stores/ { spills = $5 + $9 } /Used .* registers/ { print name, arch, $0, "spilled bytes: " spills }' \
  /dev/null built/*.txt | sed "s/ptxas info *: //; s/'//g" | sort | column -t -l 3

# Attention and the loss must stay in registers where they are to be fast.
awk '/Compiling entry/ { name = $7; arch = $9 } /spill stores/ && arch ~ /sm_90/ && $5 + $9 > 0 { print "cuda-kernels.sh: " name " spills " $5 + $9 " bytes on sm_90"; bad = 1 } END { exit bad }' \
  built/attention*.txt built/loss*.txt >&2
