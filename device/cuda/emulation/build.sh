#!/usr/bin/env bash
# Builds the emulated device into a folder: libcuda.so.1, with the kernels of ../kernels, libcublasLt.so.13 and libplanted.so.
#
#   build.sh TOOLKIT FOLDER
set -euo pipefail
toolkit=$1
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")"
here=$PWD
flags=(-std=c++17 -O2 -fPIC -ffp-contract=off -Wall -Wextra -Werror -Wno-unknown-pragmas -I"$here/../include" -I"$toolkit/include" -I"$here")

# newer TARGET: something of the source is newer than it.
newer() { [ ! -e "$1" ] || [ -n "$(find . ../kernels ../include ../blaslt -newer "$1" \( -name '*.cu' -o -name '*.cuh' -o -name '*.h' -o -name '*.cpp' -o -name '*.sh' \))" ]; }
newer "$out/libplanted.so" || exit 0

shopt -s nullglob
rm -f "$out"/*.o "$out"/*.cpp
for file in ../kernels/*.cu; do ./register.sh "$file" >"$out/kernels-$(basename "$file" .cu).cpp"; done
(cd "$out" && printf '%s\0' "$out"/*.cpp "$here"/*.cpp | xargs -0 -P "$(nproc)" -n 1 g++ "${flags[@]}" -DRINGLEADER_EMULATED -c)
./stubs.sh "$toolkit/include/cuda.h" >"$out/stubs.c"
gcc -O1 -fPIC -c "$out/stubs.c" -o "$out/stubs.o"
g++ -shared -Wl,-soname,libcuda.so.1 -o "$out/libcuda.so.1" "$out"/*.o -ldl -lpthread
ln -sf libcuda.so.1 "$out/libcuda.so"
g++ "${flags[@]}" -shared -Wl,-soname,libcublasLt.so.13 blaslt/blaslt.cpp -o "$out/libcublasLt.so.13" -L"$out" -lcuda
[ ! -e "$toolkit/include/cublasLt.h" ] || g++ -std=c++17 -fsyntax-only -I"$toolkit/include" ../blaslt/header_check.cpp
./register.sh planted/planted.cu >"$out/planted.cpp"
g++ "${flags[@]}" -DRINGLEADER_EMULATED -shared "$out/planted.cpp" -o "$out/libplanted.so" -L"$out" -lcuda
