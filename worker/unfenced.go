//go:build unfenced

package worker

const fenced = false
