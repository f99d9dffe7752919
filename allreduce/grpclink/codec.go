package grpclink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

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
)

const (
	valueHeader = 16 // kind, 7 bytes of 0, value
	frameHeader = 48 // kind, 3 bytes of 0, CRC, tag, length of the payload
)

// message is what crosses a stream: the codec knows it beside protobuf.
type message struct {
	out mem.Buffer // to send

	kind  byte // received
	value uint64
	cause []byte
	frame *allreduce.Frame // filled in if the kind is kindFrame; its payload's memory is used again
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
	buf := buffers.Get(frameHeader + len(f.Payload))
	b := append((*buf)[:0], kindFrame, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, f.CRC)
	b = f.Tag.Append(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Payload)))
	*buf = append(b, f.Payload...)
	return &message{out: mem.NewBuffer(buf, buffers)}
}

var errMessage = errors.New("ring message cannot be read")

func (m *message) parse(data mem.BufferSlice) error {
	r := data.Reader()
	defer r.Close()
	var h [frameHeader]byte
	size := data.Len()
	if size < valueHeader {
		return fmt.Errorf("%w: %d bytes, want at least %d", errMessage, size, valueHeader)
	}
	if _, err := io.ReadFull(r, h[:valueHeader]); err != nil {
		return err
	}
	m.kind, m.value = h[0], binary.LittleEndian.Uint64(h[8:])
	switch m.kind {
	case kindFrame:
		return m.parseFrame(r, &h, size)
	case kindCredit, kindBeat:
		return nil
	case kindEnd:
		m.cause = make([]byte, size-valueHeader)
		_, err := io.ReadFull(r, m.cause)
		return err
	}
	return fmt.Errorf("%w: kind %d", errMessage, m.kind)
}

// parseFrame copies the payload, the only copy on this side, out of gRPC's buffers.
func (m *message) parseFrame(r io.Reader, h *[frameHeader]byte, size int) error {
	if size < frameHeader {
		return fmt.Errorf("%w: frame of %d bytes, want at least %d", errMessage, size, frameHeader)
	}
	if _, err := io.ReadFull(r, h[valueHeader:]); err != nil {
		return err
	}
	n := int(binary.LittleEndian.Uint32(h[44:]))
	if n != size-frameHeader || n > allreduce.MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes in a message of %d, at most %d", errMessage, n, size, allreduce.MaxPayload)
	}
	f := m.frame
	f.CRC, f.Tag = binary.LittleEndian.Uint32(h[4:]), allreduce.ParseTag(h[8:])
	if cap(f.Payload) < n {
		f.Payload = make([]byte, n)
	}
	f.Payload = f.Payload[:n]
	_, err := io.ReadFull(r, f.Payload)
	return err
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
