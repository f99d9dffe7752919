// Package allreduce sums gradients over the members of one generation: a ring reduce-scatter and all-gather over
// links, in arithmetic that gives the same bits in any order. See DESIGN.md.
package allreduce

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"

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

// TagBytes is the size of an encoded tag.
const TagBytes = 36

// Append appends the tag's encoding, which frames' checksums cover: the fields in order, little-endian.
func (t Tag) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Job))
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Generation))
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Step))
	b = binary.LittleEndian.AppendUint32(b, t.Bucket)
	b = binary.LittleEndian.AppendUint32(b, t.Hop)
	return binary.LittleEndian.AppendUint32(b, t.Chunk)
}

// ParseTag is the inverse of Append; b has TagBytes bytes.
func ParseTag(b []byte) Tag {
	_ = b[TagBytes-1]
	return Tag{
		Job:        ringleader.Digest(binary.LittleEndian.Uint64(b)),
		Generation: ringleader.Generation(binary.LittleEndian.Uint64(b[8:])),
		Step:       ringleader.Step(binary.LittleEndian.Uint64(b[16:])),
		Bucket:     binary.LittleEndian.Uint32(b[24:]),
		Hop:        binary.LittleEndian.Uint32(b[28:]),
		Chunk:      binary.LittleEndian.Uint32(b[32:]),
	}
}

// String is how errors show a tag.
func (t Tag) String() string {
	return fmt.Sprintf("job %s generation %d step %d bucket %d hop %d chunk %d", t.Job, t.Generation, t.Step, t.Bucket, t.Hop, t.Chunk)
}

// MaxPayload is the largest payload of a frame, in bytes.
const MaxPayload = 4 << 20

// Frame is one message of the ring.
type Frame struct {
	Tag     Tag
	Payload Payload // little-endian elements, at most MaxPayload bytes
	CRC     uint32  // CRC32C of payload and tag: the sender's link sets it, the receiver's group checks it

	sum    uint32 // CRC32C of the payload, if that is known already
	summed bool
	tag    [TagBytes]byte // room for its encoding
}

// CopyTo copies the payload to dst, which is as long, and sets the checksum on the way: how a link takes over a frame that it sends. A checksum that is known is kept.
func (f *Frame) CopyTo(dst []byte) {
	if !f.summed {
		f.CRC = f.seal(copyPayload(dst, f.Payload))
		return
	}
	for _, piece := range f.Payload {
		dst = dst[copy(dst, piece):]
	}
	f.CRC = f.seal(f.sum)
}

// seal is the checksum of the frame, given that of its payload. The tag comes last, so that a payload is summed once however often it is sent.
func (f *Frame) seal(sum uint32) uint32 {
	return crc32.Update(sum, castagnoli, f.Tag.Append(f.tag[:0]))
}

// Check refuses a frame that is corrupted, is not due, or has a payload of another length. It looks at the checksum first: nothing else of a corrupted
// frame means anything.
func (f *Frame) Check(due Tag, length int) error {
	sum := uint32(0)
	for _, piece := range f.Payload {
		sum = crc32.Update(sum, castagnoli, piece)
	}
	if err := f.intact(sum, due); err != nil {
		return err
	}
	if f.Tag != due {
		return fmt.Errorf("frame of %s: want %s", f.Tag, due)
	}
	if n := f.Payload.Len(); n != length {
		return fmt.Errorf("frame of %s has %d bytes: want %d", f.Tag, n, length)
	}
	return nil
}

// intact compares checksums, given that of the payload.
func (f *Frame) intact(sum uint32, due Tag) error {
	if crc := f.seal(sum); crc != f.CRC {
		return fmt.Errorf("frame due as %s is corrupted: CRC32C %08x, want %08x", due, crc, f.CRC)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Payload is the bytes of a frame, in the pieces in which a transport has them. Pieces may end within an element.
type Payload [][]byte

// Len is the number of bytes.
func (p Payload) Len() (n int) {
	for _, piece := range p {
		n += len(piece)
	}
	return n
}

// partBytes is what two passes over a payload work on at a time: it stays in a core's nearest cache from the first to the second.
const partBytes = 16 << 10

// parts are the payload's bytes, in order.
func (p Payload) parts() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, piece := range p {
			for part := range slices.Chunk(piece, partBytes) {
				if !yield(part) {
					return
				}
			}
		}
	}
}

// Link is an ordered pipe of frames between two neighbours: the seam between the ring and a transport. memlink and
// grpclink implement it; linktest is the conformance suite.
//
// A link loses nothing: it delivers all frames in order, or it ends. One goroutine sends and one receives, the others' methods may
// be called from anywhere. Beats travel beside the frames: they neither overtake the protocol's meaning nor take frames' room.
type Link interface {
	// Send hands a frame to the transport, sealed (Frame.CopyTo). The payload may be reused when it returns. It blocks while the receiver is behind (bounded
	// memory) and ends with an error when ctx does or the link has ended.
	Send(ctx context.Context, f *Frame) error
	// Room tells whether Send would find room at once; whoever sends may rely on it.
	Room() bool
	// Recv returns the next frame; it and its payload are valid until the next call. It ends with an error when ctx does or the link has
	// ended; io.EOF never means success. Frames that the peer sent before it closed with ErrPlanned are still delivered.
	Recv(ctx context.Context) (*Frame, error)
	// SendBeat sends the sender's beat counter, out of band; it never blocks, and a newer beat may replace one not yet sent.
	SendBeat(beat uint64)
	// Beat returns the newest beat counter received, 0 before the first.
	Beat() uint64
	// Done is closed once the link has ended, from either side, whether anybody waits in Recv or not.
	Done() <-chan struct{}
	// Err is nil until Done is closed, and then says why the link ended: ErrPlanned after a planned end, the *Fault that the peer
	// passed to its Close, what was passed to this side's Close, or any other error if the transport broke.
	Err() error
	// Close ends both directions; the peer's calls fail promptly, with cause (see MarshalCause). It is idempotent; the first cause counts.
	// With a nil cause or ErrPlanned it first waits, for a bounded time, until what was sent has left for the peer, and returns an error if
	// that did not happen. With another cause it returns at once; what is needed to tell the peer goes on for a bounded time.
	Close(cause error) error
}
