package allreduce

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringleader-dev/ringleader"
)

// Config describes one member's place in the ring of one generation.
type Config struct {
	Job        ringleader.Digest // of the job id; tags frames
	Generation ringleader.Generation
	Rank       ringleader.Rank
	Size       int

	// Hang is how long a member that others wait for may show neither a frame nor an advance of its beat.
	Hang time.Duration
	// Assemble takes the place of Hang until the first sign of life: members of a new generation do not become ready together.
	Assemble time.Duration
	// ChunkBytes is the payload of a frame: what the ring pipelines by. It must be equal in all members; the bits do not depend on it.
	ChunkBytes int
	// Beat proves this member's progress to the others. Whoever computes advances it; the group does while it waits or moves frames.
	Beat *atomic.Uint64
}

// DefaultConfig is a ring of one.
func DefaultConfig() Config {
	return Config{
		Size:       1,
		Hang:       2 * time.Second,
		Assemble:   30 * time.Second,
		ChunkBytes: 512 << 10,
		Beat:       new(atomic.Uint64),
	}
}

// Validate names the first field that is out of range.
func (c Config) Validate() error {
	switch {
	case c.Size < 1:
		return fmt.Errorf("ring size %d: want at least 1", c.Size)
	case c.Rank < 0 || int(c.Rank) >= c.Size:
		return fmt.Errorf("ring rank %d: want 0..%d", c.Rank, c.Size-1)
	case c.Hang < time.Millisecond:
		return fmt.Errorf("ring hang deadline %s: want at least 1ms", c.Hang)
	case c.Assemble < c.Hang:
		return fmt.Errorf("ring assemble deadline %s: want at least the hang deadline, %s", c.Assemble, c.Hang)
	case c.ChunkBytes < 8 || c.ChunkBytes > MaxPayload || c.ChunkBytes%8 != 0:
		return fmt.Errorf("ring chunk bytes %d: want a multiple of 8 in 8..%d", c.ChunkBytes, MaxPayload)
	case c.Beat == nil:
		return fmt.Errorf("ring beat: want a counter, have none")
	}
	return nil
}
