//go:build !unfenced

package worker

// fenced: members that hold unlike states do not go on. A build without it has a bug on purpose, so that the harness that must find such bugs can be seen to
// find one (make chaos-planted).
const fenced = true
