package safetensors

import (
	"fmt"
	"io"
)

// Reader reads a file from a stream, tensor by tensor.
type Reader struct {
	r        io.Reader
	metadata map[string]string
	entries  []Entry
	start    int64
	next     int
	buffer   []byte
}

// NewReader reads and checks the header of a file of size bytes. Errors about its content wrap ErrFormat.
func NewReader(r io.Reader, size int64) (*Reader, error) {
	var length [8]byte
	if size < 8 {
		return nil, bad("%d bytes", size)
	}
	if err := readFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("read header's length: %w", err)
	}
	n := little.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, bad("header of %d bytes in a file of %d; the format allows %d", n, size, maxHeader)
	}
	header := make([]byte, n)
	if err := readFull(r, header); err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	start := 8 + int64(n)
	metadata, entries, err := parseHeader(header, size-start)
	if err != nil {
		return nil, fmt.Errorf("parse header: %w", err)
	}
	return &Reader{r: r, metadata: metadata, entries: entries, start: start}, nil
}

// readFull turns the early end of the stream into a format error: the size promised more.
func readFull(r io.Reader, p []byte) error {
	_, err := io.ReadFull(r, p)
	// No errors.Is: a connection that broke says so with a wrapped io.ErrUnexpectedEOF, and that is no fault of the file.
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return bad("the file ends early")
	}
	return err
}

// Metadata is the header's free text, nil if it has none.
func (r *Reader) Metadata() map[string]string { return r.metadata }

// Entries are the tensors in the order of their bytes.
func (r *Reader) Entries() []Entry { return r.entries }

// DataOffset is the place in the file at which the data begins.
func (r *Reader) DataOffset() int64 { return r.start }

// Read reads the next tensor in the order of Entries into x, which must have its type and length.
func (r *Reader) Read(x Data) error {
	if r.next == len(r.entries) {
		return fmt.Errorf("read tensor %d: the file has %d", r.next+1, len(r.entries))
	}
	e := r.entries[r.next]
	if x.Type() != e.Type || x.Len() != e.Len() {
		return fmt.Errorf("read tensor %q: %d of %s into %d of %s", e.Name, e.Len(), e.Type, x.Len(), x.Type())
	}
	if want := int(min(1<<16, e.End-e.Begin)); len(r.buffer) < want {
		r.buffer = make([]byte, want)
	}
	size := e.Type.Size()
	for first := 0; first < x.Len(); {
		n := min(len(r.buffer)/size, x.Len()-first)
		if err := readFull(r.r, r.buffer[:n*size]); err != nil {
			return fmt.Errorf("read tensor %q: %w", e.Name, err)
		}
		x.get(r.buffer[:n*size], first)
		first += n
	}
	r.next++
	return nil
}
