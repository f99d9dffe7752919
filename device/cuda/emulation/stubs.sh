#!/usr/bin/env bash
# Prints C in which every function of the driver API is defined, weakly: to link against where there is no driver, and to tell
# what a program calls that is not emulated.
#
#   stubs.sh cuda.h >stubs.c
set -euo pipefail
echo 'extern int emulation_not_emulated(const char *name) __attribute__((weak));'
# Newer versions of a function are behind macros: #define cuMemAlloc cuMemAlloc_v2.
{
  grep -oE '\bcu[A-Z][A-Za-z0-9_]*\(' "$1" | tr -d '('
  sed -nE 's/^ *#define +(cu[A-Z][A-Za-z0-9_]*) +(cu[A-Z][A-Za-z0-9_]*)$/\1 \2/p' "$1" | tr ' ' '\n'
  sed -nE 's/^ *#define +(cu[A-Z][A-Za-z0-9_]*) +__CUDA_API_(PTDS|PTSZ)\((cu[A-Z][A-Za-z0-9_]*)\)$/\1 \3/p' "$1" | tr ' ' '\n'
} | sort -u | while read -r name; do
  echo "__attribute__((weak)) int $name(void) { return emulation_not_emulated ? emulation_not_emulated(\"$name\") : 34; }"
done
