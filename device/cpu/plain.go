//go:build lean

package cpu

// products: those of plain.c have the same bits on every processor.
func products() string { return "any/plain" }

// capProducts has nothing to cap.
func capProducts(int) error { return nil }
