//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"gorgonia.org/cu"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cuda/blaslt"
)

// gpu is one GPU.
type gpu struct {
	name, class string
	lanes       int
	dev         cu.Device
	ctx         cu.CUContext
	modules     []cu.Module
	kernels     map[string]cu.Function
	before      int64        // bytes that were in use when the device was opened
	peak        atomic.Int64 // the most that were afterwards

	lost     atomic.Bool     // the driver fails for good: nothing can be given back any more
	library  *blaslt.Library // nil: products are kernels of this package
	products string          // what multiplies, for people

	mu     sync.Mutex
	sizes  map[uintptr]int // what is allocated
	open   int             // lanes
	closed bool
}

var _ device.Device = (*gpu)(nil)

// List names the GPUs of this machine.
func List() ([]Info, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("list cuda devices: %w", err)
	}
	all := make([]Info, n)
	for i := range all {
		if all[i], err = describe(i); err != nil {
			return nil, fmt.Errorf("list cuda devices: %w", err)
		}
	}
	return all, nil
}

// describe opens the GPU, too, as only that tells what it computes with.
func describe(ordinal int) (Info, error) {
	info, err := hardware(ordinal)
	if err != nil {
		return Info{}, err
	}
	d, err := Open(ordinal, Options{})
	if err != nil {
		return Info{}, err
	}
	info.Class, info.Products = d.Class(), Products(d)
	return info, d.Close()
}

func hardware(ordinal int) (Info, error) {
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return Info{}, err
	}
	model, err1 := dev.Name()
	major, minor, err2 := dev.ComputeCapability()
	bytes, err3 := dev.TotalMem()
	return Info{Name: nameOf(ordinal), Model: model, Arch: fmt.Sprintf("sm_%d%d", major, minor), Bytes: bytes}, errors.Join(err1, err2, err3)
}

func nameOf(ordinal int) string { return fmt.Sprintf("cuda:%d", ordinal) }

// Open opens GPU number ordinal and loads the kernels.
func Open(ordinal int, o Options) (device.Device, error) {
	if o.Lanes < 0 {
		return nil, fmt.Errorf("open %s: lanes is %d: want 0 (one) or more", nameOf(ordinal), o.Lanes)
	}
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", nameOf(ordinal), err)
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("open %s: this machine has %d GPUs, counted from 0", nameOf(ordinal), n)
	}
	info, err := hardware(ordinal)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", nameOf(ordinal), err)
	}
	d := &gpu{name: nameOf(ordinal), class: classOf(info.Arch), lanes: max(o.Lanes, 1), kernels: make(map[string]cu.Function), sizes: make(map[uintptr]int)}
	if d.dev, err = cu.GetDevice(ordinal); err != nil {
		return nil, fmt.Errorf("open %s: %w", d.name, err)
	}
	if d.ctx, err = d.dev.RetainPrimaryCtx(); err != nil {
		return nil, fmt.Errorf("open %s: %w", d.name, err)
	}
	if err := d.within(func() error { return errors.Join(d.load(), d.openProducts(o.OwnProducts)) }); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", d.name, err), d.release())
	}
	if d.before, err = d.inUse(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", d.name, err), d.release())
	}
	return d, nil
}

// within runs f with the device's context current. The context belongs to the thread, and goroutines move between threads.
func (d *gpu) within(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(d.ctx); err != nil {
		return err
	}
	return f()
}

// Name is "cuda:0" or another number.
func (d *gpu) Name() string { return d.name }

// Class is, for example, "cuda/sm_90/9f3a1c20/cublaslt-13.1.0/132sm": after the architecture a hash of the kernels as they were compiled, and what chooses the
// algorithms of products unless they are kernels of this package, too.
func (d *gpu) Class() string { return d.class }

// Lanes is how many shards the device computes at a time.
func (d *gpu) Lanes() int { return d.lanes }

// NewLane opens a stream.
func (d *gpu) NewLane(beat *atomic.Uint64) (device.Lane, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.New("open lane: the device is closed")
	}
	l := &lane{dev: d, beat: beat}
	if err := d.within(l.open); err != nil {
		return nil, fmt.Errorf("open lane of %s: %w", d.name, err)
	}
	d.open++
	return l, nil
}

// Close frees all memory of the device. Lanes must be closed before.
func (d *gpu) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open > 0 {
		return fmt.Errorf("close %s: %d lanes are still open", d.name, d.open)
	}
	if d.closed {
		return nil
	}
	d.closed = true
	if err := d.release(); err != nil {
		return fmt.Errorf("close %s: %w", d.name, err)
	}
	return nil
}

// release gives back whatever the device holds. Of a device that is lost, nothing can be expected.
func (d *gpu) release() error {
	err := errors.Join(d.within(func() error {
		var errs []error
		for addr := range d.sizes {
			errs = append(errs, cu.MemFree(cu.DevicePtr(addr)))
		}
		clear(d.sizes)
		if d.library != nil {
			errs = append(errs, d.library.Close())
		}
		for _, m := range d.modules {
			errs = append(errs, m.Unload())
		}
		return errors.Join(errs...)
	}), d.dev.ReleasePrimaryCtx())
	if d.lost.Load() {
		return nil
	}
	return err
}
