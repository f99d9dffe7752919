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
	kindRouse  = 5 // value 0: look at the shared memory
)

const (
	valueHeader = 16 // kind, 7 bytes of 0, value
	frameHeader = 59 // kind, 3 bytes of 0, CRC, tag, length of the payload, 11 bytes of 0: with gRPC's 5, the payload begins at a multiple of 64
	frameFields = 48 // of them those that say something
)

// message is what crosses a stream: the codec knows it beside protobuf.
type message struct {
	out mem.Buffer // to send

	kind  byte // received
	value uint64
	cause []byte
	frame *received // filled in if the kind is kindFrame
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

// rouseMessage is always the same.
var rouseMessage = valueMessage(kindRouse, 0, nil)

// frameMessage copies the frame, the only copy on this side, into a buffer that gRPC gives back to the pool once it is written.
func frameMessage(f *allreduce.Frame) *message {
	buf := buffers.Get(frameHeader + f.Payload.Len())
	f.CopyTo((*buf)[frameHeader:])
	putHeader(*buf, f)
	return &message{out: mem.NewBuffer(buf, buffers)}
}

// putHeader writes the header of a frame that is sealed.
func putHeader(b []byte, f *allreduce.Frame) {
	clear(b[:frameHeader])
	b[0] = kindFrame
	binary.LittleEndian.PutUint32(b[4:], f.CRC)
	f.Tag.Append(b[8:8])
	binary.LittleEndian.PutUint32(b[44:], uint32(f.Payload.Len()))
}

// parseHeader is its inverse, and returns how long the payload is.
func parseHeader(f *allreduce.Frame, b []byte) (payload int, err error) {
	f.CRC, f.Tag = binary.LittleEndian.Uint32(b[4:]), allreduce.ParseTag(b[8:])
	if payload = int(binary.LittleEndian.Uint32(b[44:])); payload > allreduce.MaxPayload {
		err = fmt.Errorf("%w: payload of %d bytes, at most %d", errMessage, payload, allreduce.MaxPayload)
	}
	return payload, err
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
	case kindCredit, kindBeat, kindRouse:
		return nil
	case kindEnd:
		m.cause = data.Materialize()[valueHeader:]
		return nil
	}
	return fmt.Errorf("%w: kind %d", errMessage, m.kind)
}

// parse keeps the buffers, the first of which holds all of the header.
func (r *received) parse(data mem.BufferSlice, size int) error {
	if size < frameHeader {
		return fmt.Errorf("%w: frame of %d bytes, want at least %d", errMessage, size, frameHeader)
	}
	n, err := parseHeader(&r.Frame, data[0].ReadOnlyData())
	if err != nil {
		return err
	}
	if n != size-frameHeader {
		return fmt.Errorf("%w: payload of %d bytes in a message of %d", errMessage, n, size)
	}
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
