package grpclink

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"

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

// TestSharedFrameRefused: a frame cannot point beyond the memory, or into memory that is not there.
func TestSharedFrameRefused(t *testing.T) {
	shared, file, _, err := newMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := &allreduce.Frame{Payload: allreduce.Payload{make([]byte, 100)}}
	parse := func(m *message, from *memory) error {
		got := message{frame: new(received), from: from}
		return got.parse(mem.BufferSlice{m.out})
	}
	if err := parse(sharedMessage(f, window-1), shared); err != nil {
		t.Errorf("good frame: %v", err)
	}
	for name, m := range map[string]*message{
		"slot":   sharedMessage(f, window),
		"length": {out: mem.SliceBuffer(appendHeader(nil, kindShared, f, allreduce.MaxPayload+1, 0))},
		"size":   {out: mem.SliceBuffer(append(appendHeader(nil, kindShared, f, 1, 0), 0))},
	} {
		if err := parse(m, shared); err == nil {
			t.Errorf("frame with wrong %s was taken", name)
		}
	}
	if err := parse(sharedMessage(f, 0), nil); err == nil {
		t.Error("frame in memory that is not shared was taken")
	}
}
