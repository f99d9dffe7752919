package grpclink

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// FuzzParse: what a peer sends is refused, or it is a message of our kinds, whose frame has the payload that came, however gRPC cut it.
func FuzzParse(f *testing.F) {
	frame := allreduce.Frame{Payload: [][]byte{[]byte("abcdefgh"), []byte("ijklmnop")}}
	for _, m := range []*message{frameMessage(&frame), valueMessage(kindBeat, 7, nil), valueMessage(kindEnd, 0, []byte{0}), rouseMessage} {
		f.Add(m.out.ReadOnlyData(), uint16(5))
	}
	f.Add([]byte{}, uint16(0))
	f.Add(bytes.Repeat([]byte{255}, 64), uint16(60))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		at := min(int(cut), len(b))
		m := message{frame: new(received)}
		if err := m.parse(mem.BufferSlice{mem.SliceBuffer(b[:at:at]), mem.SliceBuffer(b[at:])}); err != nil {
			return
		}
		switch m.kind {
		case kindFrame:
			if got := bytes.Join(m.frame.Payload, nil); !bytes.Equal(got, b[frameHeader:]) {
				t.Fatalf("payload %x, sent %x", got, b[frameHeader:])
			}
			m.frame.release()
		case kindCredit, kindBeat, kindRouse, kindEnd:
		default:
			t.Fatalf("kind %d is accepted", m.kind)
		}
	})
}
