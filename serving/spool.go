package serving

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
)

// spool is a file on its way to a store, which wants size and hash before the first byte.
type spool struct {
	file *os.File
	w    *bufio.Writer
	hash hash.Hash
	size int64
}

// newSpool opens a spool in a directory, in which nothing is left behind whatever ends the process.
func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "ringleader-spool-")
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("spool: %w", err), f.Close())
	}
	return &spool{file: f, w: bufio.NewWriterSize(f, 1<<18), hash: sha256.New()}, nil
}

func (s *spool) Write(p []byte) (int, error) {
	s.hash.Write(p)
	s.size += int64(len(p))
	return s.w.Write(p)
}

// put stores what was written.
func (s *spool) put(ctx context.Context, store checkpoints.Store, dir, name string) (checkpoints.FileInfo, error) {
	if err := s.w.Flush(); err != nil {
		return checkpoints.FileInfo{}, fmt.Errorf("spool %s: %w", name, err)
	}
	sum := s.hash.Sum(nil)
	info := checkpoints.FileInfo{Name: name, Size: s.size, SHA256: hex.EncodeToString(sum)}
	return info, store.Put(ctx, dir+"/"+name, io.NewSectionReader(s.file, 0, s.size), s.size, sum, false)
}

func (s *spool) close() error { return s.file.Close() }

// spooled writes a file and stores it in the generation's directory.
func (x *export) spooled(ctx context.Context, name string, write func(io.Writer) error) (info checkpoints.FileInfo, err error) {
	s, err := newSpool(x.Scratch)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := write(s); err != nil {
		return info, fmt.Errorf("write %s: %w", name, err)
	}
	return s.put(ctx, x.Out, x.id.Generation(), name)
}

// matrix is the file of a tensor "vectors", written row by row.
type matrix struct {
	*spool
	name string
	buf  []byte
}

func (x *export) newMatrix(name string, rows int) (*matrix, error) {
	// The metadata is what PyTorch's loaders ask for.
	header, err := safetensors.Header(map[string]string{"format": "pt"}, "vectors", safetensors.F16, rows, x.id.Dim)
	if err != nil {
		return nil, err
	}
	s, err := newSpool(x.Scratch)
	if err != nil {
		return nil, err
	}
	if _, err := s.Write(header); err != nil {
		return nil, errors.Join(fmt.Errorf("spool %s: %w", name, err), s.close())
	}
	return &matrix{spool: s, name: name}, nil
}

func (m *matrix) append(halves []uint16) error {
	m.buf = m.buf[:0]
	for _, h := range halves {
		m.buf = binary.LittleEndian.AppendUint16(m.buf, h)
	}
	if _, err := m.Write(m.buf); err != nil {
		return fmt.Errorf("spool %s: %w", m.name, err)
	}
	return nil
}
