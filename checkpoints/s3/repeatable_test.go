package s3

import (
	"bytes"
	"io"
	"sync"
	"testing"
)

// TestRepeatable: attempts that overlap do not disturb the memory, and when the body has ended nobody reads it.
func TestRepeatable(t *testing.T) {
	memory := bytes.Repeat([]byte{7}, 1<<16)
	body := newRepeatable(memory)
	if have, err := io.ReadAll(body); err != nil || !bytes.Equal(have, memory) {
		t.Fatalf("read %d bytes, %v; want %d", len(have), err, len(memory))
	}
	var attempts sync.WaitGroup
	for range 3 {
		attempts.Go(func() {
			part := make([]byte, 100)
			for range 1000 {
				if _, err := body.Seek(0, io.SeekStart); err != nil {
					t.Error(err)
				}
				if n, err := body.Read(part); err != nil && err != io.EOF || bytes.Count(part[:n], []byte{7}) != n {
					t.Errorf("read %v, %v", part[:n], err)
				}
			}
		})
	}
	body.end()
	clear(memory) // as if it were used for something else
	attempts.Wait()
	if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read after the end: %d, %v", n, err)
	}
}
