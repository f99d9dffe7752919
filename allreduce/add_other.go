//go:build !amd64

package allreduce

// addBlocks leaves everything to the loop in add.
func addBlocks[T number](_, _ []T) int { return 0 }
