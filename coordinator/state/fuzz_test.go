package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"google.golang.org/protobuf/proto"
)

// FuzzDecode: an entry of the log is refused, or it is a command that says the same when it is written again. Either way Apply leaves the invariants
// alone. The body is also tried with a checksum that fits: what a disk flips is found by the checksum, what a program wrote is not.
func FuzzDecode(f *testing.F) {
	for _, c := range []any{submitted("a", "k", demand()), registered("w1"), created("a", 1, 0, "w1"), committed("a", 1, 10, "d", true, false), controlled("a", pauseAction), differed("a", 1, 3, digestA)} {
		b, err := proto.Marshal(c.(proto.Message))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Decode(body); err == nil && len(body) < 4 {
			t.Error("an entry without a checksum is accepted")
		}
		cmd, err := Decode(append(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli)), body...))
		if err != nil {
			return
		}
		again, err := Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Decode(again); err != nil || !proto.Equal(back, cmd) {
			t.Fatalf("%v became %v, %v", cmd, back, err)
		}
		m := newMachine(t, submitted("a", "key", demand()), registered("w1"), created("a", 1, 0, "w1"))
		_, _ = m.do(cmd) // refused or not: do checks the invariants
	})
}

// FuzzReadSnapshot: a snapshot is refused, or it is one that is written again as it was.
func FuzzReadSnapshot(f *testing.F) {
	s := New()
	for i, c := range []any{submitted("a", "k", demand()), registered("w1"), created("a", 1, 0, "w1")} {
		body, err := proto.Marshal(c.(proto.Message))
		if err != nil {
			f.Fatal(err)
		}
		cmd, err := Decode(append(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli)), body...))
		if err != nil {
			f.Fatal(err)
		}
		if _, err := s.Apply(uint64(i+1), cmd); err != nil {
			f.Fatal(err)
		}
	}
	var good bytes.Buffer
	if err := s.View().WriteSnapshot(&good); err != nil {
		f.Fatal(err)
	}
	whole := good.Bytes()
	f.Add(whole[len(magic)+8 : len(whole)-4])
	f.Add([]byte{})
	f.Add([]byte{0x12, 0x00})
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := ReadSnapshot(bytes.NewReader(body)); err == nil {
			t.Error("a snapshot without a header is accepted")
		}
		framed := append(binary.LittleEndian.AppendUint64([]byte(magic), uint64(len(body))), body...)
		framed = binary.LittleEndian.AppendUint32(framed, crc32.Checksum(framed, castagnoli))
		s, err := ReadSnapshot(bytes.NewReader(framed))
		if err != nil {
			return
		}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := s.View().WriteSnapshot(&again); err != nil {
			t.Fatal(err)
		}
		back, err := ReadSnapshot(&again)
		if err != nil {
			t.Fatal(err)
		}
		if hash(t, back.View()) != hash(t, s.View()) {
			t.Fatal("it is another state when it is read again")
		}
		framed[len(framed)/2] ^= 1
		if _, err := ReadSnapshot(bytes.NewReader(framed)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a flipped bit: %v", err)
		}
	})
}
