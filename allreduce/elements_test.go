package allreduce

import (
	"testing"
)

// Seal sets a frame's checksum, for tests that forge frames.
func Seal(f Frame) Frame {
	f.CRC = checksum(nil, &f)
	return f
}

func TestAddBytes(t *testing.T) {
	for _, length := range []int{0, 1, 511, 512, 513, 2000} {
		src := make([]int64, length)
		for i := range src {
			src[i] = int64(i) * 0x123456789
		}
		for offset := range 9 {
			b := make([]byte, offset, offset+8*length)
			b = append(b, bytesOf(src)...)[offset:]
			dst := make([]int64, length)
			for i := range dst {
				dst[i] = -5
			}
			addBytes(dst, b)
			for i, v := range dst {
				if v != src[i]-5 {
					t.Fatalf("length %d, offset %d: element %d is %d, want %d", length, offset, i, v, src[i]-5)
				}
			}
		}
	}
}

func TestPartitionCoversEverythingOnce(t *testing.T) {
	for members := 1; members <= 9; members++ {
		for n := range 60 {
			for chunk := 1; chunk < 8; chunk++ {
				p := partition{n: n, members: members, chunk: chunk}
				end := 0
				for s := range members {
					for c := range p.chunks(s) {
						lo, hi := p.at(s, c)
						if lo != end || hi < lo || hi-lo > chunk {
							t.Fatalf("%+v: segment %d chunk %d is %d..%d, want it to begin at %d", p, s, c, lo, hi, end)
						}
						end = hi
					}
				}
				if end != n {
					t.Fatalf("%+v: covers %d", p, end)
				}
			}
		}
	}
}

func TestTagEncoding(t *testing.T) {
	want := Tag{Job: 1 << 63, Generation: 2 << 40, Step: 3 << 50, Bucket: 4 << 24, Hop: 5 << 16, Chunk: 6 << 8}
	b := want.Append(nil)
	if len(b) != TagBytes {
		t.Fatalf("tag of %d bytes: want %d", len(b), TagBytes)
	}
	if got := ParseTag(b); got != want {
		t.Errorf("tag %v became %v", want, got)
	}
}
