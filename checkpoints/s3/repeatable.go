package s3

import (
	"bytes"
	"sync"
)

// repeatable is the body of a request that the client rewinds when it tries again. net/http may still be reading it then, for the attempt that has failed, and even when the
// request has been given up: so it is locked, and must end before its memory is used for something else. What an attempt lacks because another one has read it, the length
// or the checksum of the request shows.
type repeatable struct {
	mu sync.Mutex
	r  bytes.Reader
}

func newRepeatable(p []byte) *repeatable {
	b := new(repeatable)
	b.r.Reset(p)
	return b
}

// Read implements io.Reader.
func (b *repeatable) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.r.Read(p)
}

// Seek implements io.Seeker.
func (b *repeatable) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.r.Seek(offset, whence)
}

// end leaves nothing to read.
func (b *repeatable) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r.Reset(nil)
}
