// Package cuda computes on GPUs of NVIDIA: the kernels of kernels/*.cu, through the driver API. It is compiled with the build tag cuda (make cuda);
// without it, Open says so.
//
// A lane is a stream: operators are queued and run in order behind the caller's back, and no operator waits for the device but those that return something.
// What a lane wrote may be read by another one after Sync.
//
// What decides the bits of a result: the kernels and how they were compiled, which the class names with the GPU's architecture. No bit of theirs depends on
// the size of the GPU: grids are functions of shapes. Products are cuBLASLt's where that is there (package blaslt); then the class names its version too, and
// the number of multiprocessors.
package cuda

// Options choose how a device computes.
type Options struct {
	// Lanes is how many shards it computes at a time; 0 means one: a shard is to fill the GPU.
	Lanes int
	// OwnProducts multiplies matrices with this package's kernels even where cuBLASLt is there.
	OwnProducts bool
}

// Info is what is known of a GPU without computing on it.
type Info struct {
	Name  string // what the command line calls it: "cuda:0"
	Model string // "NVIDIA H100 80GB HBM3"
	Arch  string // "sm_90"
	Bytes int64  // of memory

	Class    string // numerics class
	Products string // what multiplies matrices, and why not cuBLASLt
}
