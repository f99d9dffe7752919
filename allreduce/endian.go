//go:build 386 || amd64 || arm || arm64 || loong64 || mipsle || mips64le || ppc64le || riscv64 || wasm

package allreduce

// littleEndian exists only where the memory of a number is its encoding in a frame; elsewhere the package does not build.
const littleEndian = true
