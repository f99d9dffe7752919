#!/usr/bin/env bash
# Compiles device/cuda/kernels/*.cu into fat binaries beside them, in built/: machine code for sm_80 and sm_90, and PTX for what comes later. Warnings
# are errors, and so are spills of the loss and of attention on sm_90. What nvcc says about registers, shared memory and spills is kept in built/*.txt.
#
#   cuda-kernels.sh TOOLKIT
set -euo pipefail
export toolkit=$1
self=$(realpath "$0")
export self
cd "$(dirname "$0")/../device/cuda/kernels"
mkdir -p built
shopt -s nullglob
compile() {
  local kernels=$1 to=built/${1%.cu}
  # Headers are few and small: any of them makes all new.
  [ -n "$(find "$kernels" ./*.cuh "$self" -newer "$to.fatbin" 2>&1)" ] || return 0
  echo "nvcc $kernels"
  "$toolkit/bin/nvcc" -fatbin --no-compress -std=c++17 -O3 -fmad=false -Werror all-warnings -Xptxas -v \
    -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90 \
    "$kernels" -o "$to.fatbin.part" 2>"$to.txt" || { cat "$to.txt" >&2; return 1; }
  mv "$to.fatbin.part" "$to.fatbin"
}
export -f compile
printf '%s\0' *.cu | xargs -0 -P "$(nproc)" -I {} bash -c 'compile {}'
awk '/Compiling entry/ { name = $7; arch = $9 } /spill stores/ { spills = $5 + $9 } /Used .* registers/ { print name, arch, $0, "spilled bytes: " spills }' \
  /dev/null built/*.txt | sed "s/ptxas info *: //; s/'//g" | sort | column -t -l 3

# Attention and the loss must stay in registers where they are to be fast.
awk '/Compiling entry/ { name = $7; arch = $9 } /spill stores/ && arch ~ /sm_90/ && $5 + $9 > 0 { print "cuda-kernels.sh: " name " spills " $5 + $9 " bytes on sm_90"; bad = 1 } END { exit bad }' \
  built/attention*.txt built/loss*.txt >&2
