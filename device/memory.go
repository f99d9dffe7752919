package device

import "fmt"

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
