package allreduce

import (
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"
)

// Seal sets a frame's checksum, for tests that forge frames.
func Seal(f Frame) Frame {
	f.CopyTo(make([]byte, f.Payload.Len()))
	return f
}

// TestFlipBeforeSending: a payload that is sent on has the checksum that it came with, whatever has happened to it since.
func TestFlipBeforeSending(t *testing.T) {
	payload := []byte("a sum that a member has received")
	for _, flip := range []byte{0, 1} {
		f := Frame{Tag: Tag{Step: 3}, Payload: Payload{payload}, sum: crc32.Checksum(payload, castagnoli), summed: true}
		payload[7] ^= flip
		sent := Frame{Tag: f.Tag, Payload: Payload{make([]byte, len(payload))}}
		f.CopyTo(sent.Payload[0])
		sent.CRC = f.CRC
		if err := sent.Check(f.Tag, len(payload)); (err != nil) != (flip != 0) {
			t.Errorf("flip %d: %v", flip, err)
		}
	}
}

// testAdd adds elements at all alignments, cut into pieces anywhere, and compares with a plain loop. Small whole numbers are exact in all types.
func testAdd[T number](t *testing.T) {
	rng := rand.New(rand.NewPCG(1, uint64(sizeOf[T]())))
	for _, length := range []int{0, 1, 31, 32, 33, 511, 512, 513, 2000} {
		src := make([]T, length)
		for i := range src {
			src[i] = T(rng.IntN(2001) - 1000)
		}
		for offset := range 9 {
			b := make([]byte, offset, offset+sizeOf[T]()*length)
			b = append(b, bytesOf(src)...)[offset:]
			var cut Payload
			for rest := b; len(rest) > 0; {
				n := 1 + rng.IntN(min(len(rest), 1<<rng.IntN(12)))
				cut, rest = append(cut, rest[:n]), rest[n:]
			}
			added, pieces, copied := make([]T, length), make([]T, length), make([]T, length)
			for i := range src {
				added[i], pieces[i] = T(i%100), T(i%100)
			}
			combineBytes(added, b, add)
			sum, result := combinePayload(pieces, cut, add)
			copySum := copyPayload(bytesOf(copied), cut)
			if want := crc32.Checksum(b, castagnoli); sum != want || copySum != want {
				t.Fatalf("%T, length %d, offset %d: checksums %08x, %08x, want %08x", src, length, offset, sum, copySum, want)
			}
			if want := crc32.Checksum(bytesOf(pieces), castagnoli); result != want {
				t.Fatalf("%T, length %d, offset %d: checksum of the sum %08x, want %08x", src, length, offset, result, want)
			}
			for i, v := range src {
				if want := v + T(i%100); added[i] != want || pieces[i] != want || copied[i] != v {
					t.Fatalf("%T, length %d, offset %d: element %d is %v in one piece, %v in many, want %v; copied %v, want %v",
						v, length, offset, i, added[i], pieces[i], want, copied[i], v)
				}
			}
		}
	}
}

func TestAdd(t *testing.T) {
	testAdd[float32](t)
	testAdd[int64](t)
	testAdd[int32](t)
	testAdd[int16](t)
}

// TestAddWraps: integers are summed modulo their size.
func TestAddWraps(t *testing.T) {
	dst, src := make([]int16, 100), make([]int16, 100)
	for i := range dst {
		dst[i], src[i] = math.MaxInt16-1, 3
	}
	add(dst, src)
	for i, v := range dst {
		if v != math.MinInt16+1 {
			t.Fatalf("element %d is %d, want %d", i, v, math.MinInt16+1)
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
