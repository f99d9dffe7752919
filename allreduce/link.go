// Package allreduce sums gradients over the members of one generation: a ring reduce-scatter and all-gather over
// links, in arithmetic that gives the same bits in any order. See DESIGN.md.
package allreduce

import (
	"context"

	"github.com/ringleader-dev/ringleader"
)

// Tag says what a frame belongs to. A frame with another tag than the one that is due is refused and ends the group.
type Tag struct {
	Job        ringleader.Digest // of the job id
	Generation ringleader.Generation
	Step       ringleader.Step
	Bucket     uint32
	Hop        uint32 // 0..2(n-1)-1: reduce-scatter, then all-gather
	Chunk      uint32
}

// Frame is one message of the ring.
type Frame struct {
	Tag     Tag
	Payload []byte // little-endian elements
	CRC     uint32 // CRC32C of tag and payload, set by the sender's group, checked by the receiver's
}

// Link is an ordered pipe of frames between two neighbours: the seam between the ring and a transport. memlink and
// grpclink implement it; linktest is the conformance suite.
//
// A link that carries beats on its own (see Beats) must not let them overtake or displace frames.
type Link interface {
	// Send hands a frame to the transport. The payload may be reused when it returns. It blocks while the receiver is behind (bounded
	// memory) and ends with an error when ctx does or the link is closed.
	Send(ctx context.Context, f *Frame) error
	// Recv returns the next frame; the payload is valid until the next call. io.EOF never means success: a closed link is an error.
	Recv(ctx context.Context) (*Frame, error)
	// SendBeat sends the sender's beat counter, out of band; it never blocks for long and may drop.
	SendBeat(beat uint64)
	// Beat returns the newest beat counter received.
	Beat() uint64
	// Close ends both directions; the peer's calls fail promptly. cause travels to the peer where the transport can carry it.
	Close(cause error) error
}
