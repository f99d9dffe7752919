// Package planted has kernels with defects, and tests that the emulated device finds each of them, and none where there is none.
package planted
