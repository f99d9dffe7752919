// Package checkpoints makes a state durable: files that anyone can read, a manifest that says what they must
// contain, and loading that believes nothing it has not hashed.
package checkpoints

import (
	"context"
	"errors"
	"io"
	"time"
)

// Errors that every store wraps, so that callers can tell trouble apart with errors.Is.
var (
	ErrNotExist    = errors.New("does not exist")
	ErrExist       = errors.New("exists already")
	ErrDenied      = errors.New("access denied")
	ErrUnavailable = errors.New("store unavailable")
	ErrFull        = errors.New("store full")
	// ErrCorrupt: the bytes are not those that their hash, size or format promise.
	ErrCorrupt = errors.New("corrupt")
)

// Info describes one object.
type Info struct {
	Name     string // slash-separated, relative to the store's root
	Size     int64
	Modified time.Time // by the store's clock, to the second at least
}

// Store is where checkpoints and data sets live: a flat map from names to immutable bytes. The backends are in
// checkpoints/file, checkpoints/s3 and checkpoints/mem; checkpoints/storetest is the conformance suite.
//
// Methods may be called from several goroutines. Every method is bounded by its context and wraps one of the errors
// above; when the context ends, ErrUnavailable and the context's error. An object is visible whole or not at all. Names are those
// that CheckName accepts, others are ErrDenied.
type Store interface {
	// URL is what the store was opened with, without secrets.
	URL() string
	// Put writes an object of the given size and SHA-256 (32 bytes, or nil: the caller hashes what is read; content that differs is ErrCorrupt
	// and not stored). An object of that name is replaced. With ifAbsent it is left as it is, and the error is ErrExist; after trouble that may also be the object of
	// an earlier attempt of the same call. body is read from its start, again on a retry.
	Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sha256 []byte, ifAbsent bool) error
	// Open reads an object. The caller closes it. The end of ctx ends reading, too.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// Stat describes an object.
	Stat(ctx context.Context, name string) (Info, error)
	// List returns the objects whose names start with prefix, sorted by name.
	List(ctx context.Context, prefix string) ([]Info, error)
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, name string) error
	// Close gives back what the store keeps between calls, such as idle connections. Whoever opened the store closes it when it has made its
	// last call; an object that is still being read stays readable.
	Close()
}
