package device

import (
	"fmt"
	"unsafe"
)

// Hosted is a device whose memory is the host's: what is there need not be copied to be read.
type Hosted interface {
	// Host is memory of the device, as the host sees it until it is freed: nil if it does not. What operators wrote is there after Sync. Upload and
	// Download of memory onto itself do nothing.
	Host(addr uintptr, bytes int) []byte
}

// View is b as the host sees it, or nil if it does not.
func View[T Number](d Device, b Buf[T]) []T {
	hosted, ok := d.(Hosted)
	if !ok || b.N == 0 {
		return nil
	}
	bytes := hosted.Host(b.Addr, b.Bytes())
	if bytes == nil {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(bytes))), b.N)
}

// OutOfMemory is the error of a device that has no room for what was asked.
type OutOfMemory struct {
	Device             string // its name
	Asked, Free, Total int    // bytes; Total is 0 if nobody knows
}

func (e *OutOfMemory) Error() string {
	const mib = 1 << 20
	text := fmt.Sprintf("allocate on %s: asked for %.1f MiB, free are %.1f", e.Device, float64(e.Asked)/mib, float64(e.Free)/mib)
	if e.Total > 0 {
		text += fmt.Sprintf(" of %.1f", float64(e.Total)/mib)
	}
	return text + " MiB"
}
