package grpclink

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/allreduce"
)

func TestMemory(t *testing.T) {
	mine, file, name, err := newMemory()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseMemoryName(name.String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := openMemory(parsed, toRead)
	if err != nil {
		t.Fatal(err)
	}
	for slot := range window {
		copy(mine.slot(slot), []byte{byte(slot + 1)})
		mine.slot(slot)[allreduce.MaxPayload-1] = byte(slot + 9)
	}
	for slot := range window {
		if s := theirs.slot(slot); s[0] != byte(slot+1) || s[len(s)-1] != byte(slot+9) {
			t.Errorf("slot %d begins with %d and ends with %d", slot, s[0], s[len(s)-1])
		}
	}
	if err := file.Truncate(1); err == nil {
		t.Error("shared memory can be made smaller under its reader")
	}
	other := parsed
	other.nonce = bytes.Repeat([]byte{1}, nonceBytes)
	if _, err := openMemory(other, toRead); err == nil || !strings.Contains(err.Error(), "another's") {
		t.Errorf("memory with another secret: %v", err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openMemory(parsed, toRead); err == nil {
		t.Error("memory opened whose file is closed")
	}
}

// TestOpenMemoryRefuses: no other file can be taken for shared memory.
func TestOpenMemoryRefuses(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(memoryBytes); err != nil {
		t.Fatal(err)
	}
	name := memoryName{pid: os.Getpid(), fd: int(file.Fd()), nonce: make([]byte, nonceBytes)}
	if _, err := openMemory(name, toRead); err == nil || !strings.Contains(err.Error(), "seals") {
		t.Errorf("a plain file as shared memory: %v", err)
	}
	for _, s := range []string{"", "1", "1/2", "1/2/zz", "1/2/00", "a/b/c"} {
		if n, err := parseMemoryName(s); err == nil {
			t.Errorf("name %q is %v", s, n)
		}
	}
}

// TestSharedFrameRefused: a frame cannot reach beyond its slot, nor a peer send more than there is room for; what is refused ends the link.
func TestSharedFrameRefused(t *testing.T) {
	for name, c := range map[string]struct {
		sent   uint64
		length int
		want   error
	}{
		"good":   {1, 100, nil},
		"length": {1, allreduce.MaxPayload + 1, errMessage},
		"count":  {window + 1, 100, errCredit},
	} {
		shared, file, _, err := newMemory()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		binary.LittleEndian.PutUint32(shared.heads[0][44:], uint32(c.length))
		shared.sent.n.Store(c.sent)
		l := newLink(nil, pathUnix)
		l.from = queueOf(shared)
		f, err := l.Recv(t.Context())
		if !errors.Is(err, c.want) || !errors.Is(l.Err(), c.want) {
			t.Errorf("%s: %v, link %v, want %v", name, err, l.Err(), c.want)
		}
		if c.want == nil && f.Payload.Len() != c.length {
			t.Errorf("%s: payload of %d bytes, want %d", name, f.Payload.Len(), c.length)
		}
	}
}
