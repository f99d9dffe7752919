//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cuda/blaslt"
)

// stagingBytes is the pinned memory of a lane: what is uploaded goes through it, so that the caller's memory is free at once and the copy needs no wait.
const stagingBytes = 4 << 20

// lane implements device.Lane: a stream. Every operator checks all that shapes can tell before it queues anything.
type lane struct {
	dev    *gpu
	beat   *atomic.Uint64
	err    error // the first
	closed bool

	stream  cu.Stream
	half    bool // products read bfloat16
	staging []byte
	staged  int     // bytes of staging that copies in the stream may still read
	bad     uintptr // int32 on the device, set by kernels that found an index out of range
	scratch uintptr // on the device; grows, and is reused by every operator
	room    int     // bytes of scratch
	taken   int     // of them, by the operator that runs

	plans     map[blaslt.Shape]*blaslt.Plan // nil: cuBLASLt has none
	workspace uintptr                       // of its products
}

var _ device.Lane = (*lane)(nil)

// open is called with the context current, and with the device's lock held.
func (l *lane) open() (err error) {
	if l.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return fmt.Errorf("make a stream: %w", err)
	}
	if l.staging, err = pinned(stagingBytes); err == nil {
		l.bad, err = l.dev.allocate(4)
	}
	if err != nil {
		return errors.Join(err, l.release())
	}
	return nil
}

// release gives back what open took; the context is current.
func (l *lane) release() error {
	var errs []error
	l.dropPlans()
	for _, addr := range []uintptr{l.bad, l.scratch, l.workspace} {
		if addr != 0 {
			errs = append(errs, cu.MemFree(cu.DevicePtr(addr)))
		}
	}
	if l.staging != nil {
		errs = append(errs, cu.MemFreeHost(unsafe.Pointer(&l.staging[0])))
	}
	l.bad, l.scratch, l.workspace, l.room, l.staging = 0, 0, 0, 0, nil
	return errors.Join(append(errs, l.stream.Destroy())...)
}

// Sync waits for the stream, and looks whether a kernel met a bad index.
func (l *lane) Sync() error {
	if l.closed || l.err != nil {
		return l.err
	}
	var bad int32
	err := l.dev.within(func() error {
		if err := l.wait(); err != nil {
			return err
		}
		return cu.MemcpyDtoH(unsafe.Pointer(&bad), cu.DevicePtr(l.bad), 4)
	})
	switch {
	case err != nil:
		l.err = fmt.Errorf("compute on %s: %w", l.dev.name, l.lost(err))
	case bad != 0:
		l.err = fmt.Errorf("compute on %s: an index is outside of the rows that it chooses from", l.dev.name)
	}
	return l.err
}

// lost wraps what the driver reports of work that was queued: after that the context is of no use.
func (l *lane) lost(err error) error {
	l.dev.lost.Store(true)
	return fmt.Errorf("the driver says %w: the device is lost to this process; `nvidia-smi -q` and the kernel's log (Xid) may say why", err)
}

// wait waits for the stream; the context is current.
func (l *lane) wait() error {
	l.staged = 0
	return l.stream.Synchronize()
}

// Close waits and releases the stream. It returns what releasing met, unless the device is lost: errors of operators are Sync's.
func (l *lane) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	if l.err == nil {
		l.err = errors.New("the lane is closed")
	}
	l.dev.mu.Lock()
	defer l.dev.mu.Unlock()
	l.dev.open--
	if err := l.dev.within(func() error { return errors.Join(l.stream.Synchronize(), l.release()) }); err != nil && !l.dev.lost.Load() {
		return fmt.Errorf("close lane of %s: %w", l.dev.name, err)
	}
	return nil
}

// SetPrecision chooses what products read.
func (l *lane) SetPrecision(p device.Precision) {
	o := l.begin("SetPrecision")
	o.Want(p == device.Float32 || p == device.BFloat16, "precision %d: want Float32 or BFloat16", p)
	if o.OK() {
		l.half = p == device.BFloat16
	}
}

// Upload copies through the pinned memory: it waits only when that is full.
func (l *lane) Upload(dst uintptr, src unsafe.Pointer, bytes int) {
	o := l.begin("Upload")
	o.place(dst, uintptr(src), bytes)
	if !o.OK() || bytes == 0 {
		return
	}
	from := unsafe.Slice((*byte)(src), bytes)
	o.queue(func() error {
		for len(from) > 0 {
			if l.staged == len(l.staging) {
				if err := l.wait(); err != nil {
					return err
				}
			}
			n := copy(l.staging[l.staged:], from)
			if err := cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&l.staging[l.staged]), int64(n), l.stream); err != nil {
				return err
			}
			dst, from, l.staged = dst+uintptr(n), from[n:], l.staged+n
		}
		return nil
	})
}

// Download waits for the stream, then copies.
func (l *lane) Download(dst unsafe.Pointer, src uintptr, bytes int) {
	o := l.begin("Download")
	o.place(uintptr(dst), src, bytes)
	if !o.OK() || bytes == 0 {
		return
	}
	o.queue(func() error {
		if err := l.wait(); err != nil {
			return err
		}
		return cu.MemcpyDtoH(dst, cu.DevicePtr(src), int64(bytes))
	})
}

// Copy copies on the device; the two must not overlap.
func (l *lane) Copy(dst, src uintptr, bytes int) {
	o := l.begin("Copy")
	o.place(dst, src, bytes)
	if o.OK() && bytes > 0 {
		o.queue(func() error { return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), int64(bytes), l.stream) })
	}
}

// Zero clears memory.
func (l *lane) Zero(dst uintptr, bytes int) {
	o := l.begin("Zero")
	o.place(dst, dst, bytes)
	if o.OK() && bytes > 0 {
		o.queue(func() error { return cu.MemsetD8Async(cu.DevicePtr(dst), 0, int64(bytes), l.stream) })
	}
}

func (o op) place(dst, src uintptr, bytes int) {
	o.Want(bytes >= 0, "%d bytes: want 0 or more", bytes)
	o.Want(bytes == 0 || dst != 0 && src != 0, "an address is 0: want memory of %d bytes", bytes)
}
