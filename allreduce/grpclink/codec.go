package grpclink

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto" // registers the codec that rawCodec falls back to
	"google.golang.org/grpc/mem"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// Kinds of messages. The formats are in ../DESIGN.md.
const (
	kindFrame  = 1 // frameHeader, payload
	kindCredit = 2 // value: frames that may be sent beyond those before
	kindBeat   = 3 // value: beat counter
	kindEnd    = 4 // value 0, cause
	kindShared = 5 // frameHeader alone, with the slot of shared memory in which the payload is
)

const (
	valueHeader = 16 // kind, 7 bytes of 0, value
	frameHeader = 59 // kind, 3 bytes of 0, CRC, tag, length of the payload, slot u32, 7 bytes of 0: with gRPC's 5, the payload begins at a multiple of 64
	frameFields = 52 // of them those that say something
)

// message is what crosses a stream: the codec knows it beside protobuf.
type message struct {
	out mem.Buffer // to send

	kind  byte // received
	value uint64
	cause []byte
	frame *received // filled in if the kind is kindFrame or kindShared
	from  *memory   // where payloads of kindShared are
}

// received is a frame whose payload lies where gRPC read it to.
type received struct {
	allreduce.Frame
	data mem.BufferSlice // holds the memory of the payload
}

// release gives the memory back.
func (r *received) release() {
	r.data.Free()
	r.data, r.Payload = r.data[:0], r.Payload[:0]
}

// valueMessage encodes everything but frames.
func valueMessage(kind byte, value uint64, cause []byte) *message {
	b := make([]byte, 8, valueHeader+len(cause))
	b[0] = kind
	b = binary.LittleEndian.AppendUint64(b, value)
	return &message{out: mem.SliceBuffer(append(b, cause...))}
}

// frameMessage copies the frame, the only copy on this side, into a buffer that gRPC gives back to the pool once it is written.
func frameMessage(f *allreduce.Frame) *message {
	n := f.Payload.Len()
	buf := buffers.Get(frameHeader + n)
	b := appendHeader((*buf)[:0], kindFrame, f, n, 0)
	for _, piece := range f.Payload {
		b = append(b, piece...)
	}
	*buf = b
	return &message{out: mem.NewBuffer(buf, buffers)}
}

// sharedMessage says where the frame's payload is.
func sharedMessage(f *allreduce.Frame, slot int) *message {
	return &message{out: mem.SliceBuffer(appendHeader(make([]byte, 0, frameHeader), kindShared, f, f.Payload.Len(), slot))}
}

func appendHeader(b []byte, kind byte, f *allreduce.Frame, n, slot int) []byte {
	b = append(b, kind, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, f.CRC)
	b = f.Tag.Append(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = binary.LittleEndian.AppendUint32(b, uint32(slot))
	return append(b, make([]byte, frameHeader-frameFields)...)
}

var errMessage = errors.New("ring message cannot be read")

func (m *message) parse(data mem.BufferSlice) error {
	size := data.Len()
	if size < valueHeader {
		return fmt.Errorf("%w: %d bytes, want at least %d", errMessage, size, valueHeader)
	}
	if len(data[0].ReadOnlyData()) < min(size, frameHeader) {
		data = mem.BufferSlice{mem.SliceBuffer(data.Materialize())} // cut where our sender does not cut
	}
	head := data[0].ReadOnlyData()
	m.kind, m.value = head[0], binary.LittleEndian.Uint64(head[8:])
	switch m.kind {
	case kindFrame:
		return m.frame.parse(data, size)
	case kindShared:
		return m.frame.parseShared(head, m.from)
	case kindCredit, kindBeat:
		return nil
	case kindEnd:
		m.cause = data.Materialize()[valueHeader:]
		return nil
	}
	return fmt.Errorf("%w: kind %d", errMessage, m.kind)
}

// parseShared finds the payload in memory that it shares with the peer.
func (r *received) parseShared(head []byte, from *memory) error {
	if len(head) != frameHeader || from == nil {
		return fmt.Errorf("%w: shared frame of %d bytes, want %d, and shared memory", errMessage, len(head), frameHeader)
	}
	n, slot := binary.LittleEndian.Uint32(head[44:]), binary.LittleEndian.Uint32(head[48:])
	if n > allreduce.MaxPayload || slot >= window {
		return fmt.Errorf("%w: payload of %d bytes in slot %d, at most %d in %d slots", errMessage, n, slot, allreduce.MaxPayload, window)
	}
	r.CRC, r.Tag = binary.LittleEndian.Uint32(head[4:]), allreduce.ParseTag(head[8:])
	r.Payload = append(r.Payload, from.slot(int(slot))[:n])
	return nil
}

// parse keeps the buffers, the first of which holds all of the header.
func (r *received) parse(data mem.BufferSlice, size int) error {
	if size < frameHeader {
		return fmt.Errorf("%w: frame of %d bytes, want at least %d", errMessage, size, frameHeader)
	}
	head := data[0].ReadOnlyData()
	if n := int(binary.LittleEndian.Uint32(head[44:])); n != size-frameHeader || n > allreduce.MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes in a message of %d, at most %d", errMessage, n, size, allreduce.MaxPayload)
	}
	r.CRC, r.Tag = binary.LittleEndian.Uint32(head[4:]), allreduce.ParseTag(head[8:])
	data.Ref()
	r.data = append(r.data[:0], data...)
	for i, b := range data {
		piece := b.ReadOnlyData()
		if i == 0 {
			piece = piece[frameHeader:]
		}
		r.Payload = append(r.Payload, piece)
	}
	return nil
}

// rawCodec passes our messages through and leaves all others to protobuf, so that one server can offer both.
type rawCodec struct{}

// Name appears in the content type of streams that ask for the codec.
func (rawCodec) Name() string { return "ringleader-raw" }

// Marshal implements encoding.CodecV2.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*message); ok {
		return mem.BufferSlice{m.out}, nil
	}
	return encoding.GetCodecV2(proto.Name).Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*message); ok {
		return m.parse(data)
	}
	return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
}
