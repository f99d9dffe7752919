// Package mem is a store in memory, in which any operation can be made to fail: for tests.
package mem

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringleader-dev/ringleader/checkpoints"
)

// Op is one call of a method of the store.
type Op struct {
	N    int    // 1 for the store's first
	Kind string // put, open, stat, list, delete
	Name string // of the object; for list, the prefix
}

// Fault is what happens to a call.
type Fault struct {
	Err  error // the call fails with it; nil = the call goes on
	Late bool  // the call takes effect first: its answer is lost
	Hang bool  // the call waits for the end of its context, and fails
	// Lie: the call says that it succeeded. What was put has a bit flipped, and so has what is read; an object is a byte longer than it is
	// described; the last object is left out of a list; what was deleted is still there.
	Lie bool
}

// Store is safe for several goroutines. Its zero value is not usable: see New.
type Store struct {
	mu      sync.Mutex
	objects map[string]object
	ops     int
	inject  func(Op) Fault
}

var _ checkpoints.Store = (*Store)(nil)

type object struct {
	content  []byte
	modified time.Time
}

// New makes an empty store.
func New() *Store {
	return &Store{objects: map[string]object{}, inject: func(Op) Fault { return Fault{} }}
}

// Inject asks f about every call from now on, one at a time; nil ends that. Counting starts again at 1.
func (s *Store) Inject(f func(Op) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f == nil {
		f = func(Op) Fault { return Fault{} }
	}
	s.inject, s.ops = f, 0
}

// Ops is the number of calls since New or Inject.
func (s *Store) Ops() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops
}

// Bytes is a copy of an object; nil if it is not there.
func (s *Store) Bytes(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.objects[name].content)
}

// Set puts an object there, without any check.
func (s *Store) Set(name string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[name] = object{append([]byte{}, content...), time.Now()}
}

// Age makes all objects older.
func (s *Store) Age(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, o := range s.objects {
		s.objects[name] = object{o.content, o.modified.Add(-by)}
	}
}

// URL implements checkpoints.Store.
func (s *Store) URL() string { return "mem:" }

// call runs an operation under the lock and with the fault that is meant for it.
func (s *Store) call(ctx context.Context, kind, name string, check func(string) error, do func(lie bool) error) error {
	fault := s.fault(kind, name)
	if fault.Hang {
		<-ctx.Done()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := check(name)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", checkpoints.ErrUnavailable, ctx.Err())
	}
	if err == nil && (fault.Err == nil || fault.Late) {
		err = do(fault.Lie)
	}
	if err = cmp.Or(fault.Err, err); err != nil {
		return fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return nil
}

// fault counts a call and asks for what is to happen to it.
func (s *Store) fault(kind, name string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops++
	return s.inject(Op{s.ops, kind, name})
}

// flipped is a copy with one bit changed.
func flipped(content []byte) []byte {
	content = append([]byte{}, content...)
	if n := len(content); n > 0 {
		content[n/2] ^= 1
	}
	return content
}

// Close implements checkpoints.Store. The objects stay: several users may hold the same store.
func (s *Store) Close() {}

// Put implements checkpoints.Store.
func (s *Store) Put(ctx context.Context, name string, body io.ReadSeeker, size int64, sum []byte, ifAbsent bool) error {
	_, seekErr := body.Seek(0, io.SeekStart)
	content, readErr := io.ReadAll(body)
	return s.call(ctx, "put", name, checkpoints.CheckName, func(lie bool) error {
		if err := errors.Join(seekErr, readErr); err != nil {
			return fmt.Errorf("%w: read body: %w", checkpoints.ErrUnavailable, err)
		}
		if have := sha256.Sum256(content); int64(len(content)) != size || sum != nil && !bytes.Equal(have[:], sum) {
			return fmt.Errorf("%w: %d bytes with SHA-256 %x, announced were %d with %x", checkpoints.ErrCorrupt, len(content), have, size, sum)
		}
		if _, ok := s.objects[name]; ok && ifAbsent {
			return checkpoints.ErrExist
		}
		if lie {
			content = flipped(content)
		}
		s.objects[name] = object{content, time.Now()}
		return nil
	})
}

// Open implements checkpoints.Store.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r := &reader{ctx: ctx}
	err := s.call(ctx, "open", name, checkpoints.CheckName, func(lie bool) error {
		o, err := s.find(name)
		if lie {
			o.content = flipped(o.content)
		}
		r.r.Reset(o.content) // objects are replaced, never written to
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Stat implements checkpoints.Store.
func (s *Store) Stat(ctx context.Context, name string) (info checkpoints.Info, err error) {
	err = s.call(ctx, "stat", name, checkpoints.CheckName, func(lie bool) error {
		o, err := s.find(name)
		if info = o.info(name); lie {
			info.Size++
		}
		return err
	})
	return info, err
}

func (s *Store) find(name string) (object, error) {
	o, ok := s.objects[name]
	if !ok {
		return object{}, checkpoints.ErrNotExist
	}
	return o, nil
}

func (o object) info(name string) checkpoints.Info {
	return checkpoints.Info{Name: name, Size: int64(len(o.content)), Modified: o.modified}
}

// List implements checkpoints.Store.
func (s *Store) List(ctx context.Context, prefix string) (list []checkpoints.Info, err error) {
	err = s.call(ctx, "list", prefix, checkpoints.CheckPrefix, func(lie bool) error {
		for name, o := range s.objects {
			if strings.HasPrefix(name, prefix) {
				list = append(list, o.info(name))
			}
		}
		slices.SortFunc(list, func(a, b checkpoints.Info) int { return cmp.Compare(a.Name, b.Name) })
		if lie {
			list = list[:max(0, len(list)-1)]
		}
		return nil
	})
	return list, err
}

// Delete implements checkpoints.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	return s.call(ctx, "delete", name, checkpoints.CheckName, func(lie bool) error {
		if !lie {
			delete(s.objects, name)
		}
		return nil
	})
}

type reader struct {
	ctx context.Context
	r   bytes.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", checkpoints.ErrUnavailable, err)
	}
	return r.r.Read(p)
}

func (r *reader) Close() error { return nil }
