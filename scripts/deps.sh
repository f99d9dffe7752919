#!/usr/bin/env bash
# Installs what the C side of the build needs and this machine does not have. Does nothing, silently, when all is there.
#
#   oneDNN     headers and library: matrix products on the CPU
#   libstdc++  to link against: DuckDB is C++
set -euo pipefail

die() { echo "deps: $*" >&2; exit 1; }

# links FLAGS...: compiles and links the C program on standard input.
links() { gcc -x c - -o /dev/null "$@" 2>/dev/null; }

has_onednn() {
  links -ldnnl <<'C'
#include <oneapi/dnnl/dnnl.h>
int main(void) { return dnnl_version() == 0; }
C
}

has_cxx() { echo 'int main(void) { return 0; }' | links -lstdc++; }

missing_packages() {
  has_onednn || echo libdnnl-dev
  has_cxx || echo g++
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "not root, and there is no sudo: run as root: $*"
  fi
}

main() {
  command -v go >/dev/null || die "Go is missing: install Go 1.26 or newer and put it on the PATH"
  command -v gcc >/dev/null || die "gcc is missing: install a C compiler (Debian, Ubuntu: gcc and libc6-dev)"
  local packages
  packages=$(missing_packages)
  [ -n "$packages" ] || return 0
  packages=$(echo $packages) # one line
  command -v apt-get >/dev/null ||
    die "missing: $packages (Debian's names; elsewhere: oneDNN's development files, e.g. onednn-devel, and a C++ compiler)"

  echo "deps: installing $packages with apt-get" >&2
  # A new machine or container has no package list; an old list may name packages that are gone, so try twice.
  if ! apt-cache show $packages >/dev/null 2>&1; then
    as_root apt-get update -q
  fi
  install $packages || { as_root apt-get update -q && install $packages; }
  packages=$(missing_packages)
  [ -z "$packages" ] || die "apt-get succeeded, but these still do not compile or link:" $packages
}

install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q -o DPkg::Lock::Timeout=120 --no-install-recommends "$@"
}

main
