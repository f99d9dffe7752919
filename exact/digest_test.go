package exact_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/exact"
)

func TestWordHash(t *testing.T) {
	// Computed by another program.
	for _, c := range []struct {
		word uint32
		i    uint64
		want uint64
	}{{0, 1, 0x0f031d6376151084}, {5, 9, 0x060406901bb8d005}, {math.MaxUint32, 1 << 40, 0x68b4d246bf69ca2e}} {
		if got := exact.WordHash(c.word, c.i); got != c.want {
			t.Errorf("hash of word %d at %d: %016x, want %016x", c.word, c.i, got, c.want)
		}
	}
}

func TestHashesOfPartsAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	words := make([]uint32, 1000)
	floats := make([]float32, len(words))
	for i := range words {
		words[i] = rng.Uint32()
		floats[i] = math.Float32frombits(words[i]) // NaN and all
	}
	whole := exact.HashWords(words, 100)
	if f := exact.HashFloats(floats, 100); f != whole {
		t.Errorf("hash of floats %016x, of their words %016x", f, whole)
	}
	for range 50 {
		cut := rng.IntN(len(words) + 1)
		if sum := exact.HashWords(words[cut:], 100+uint64(cut)) + exact.HashFloats(floats[:cut], 100); sum != whole {
			t.Errorf("cut at %d: %016x, want %016x", cut, sum, whole)
		}
	}
	words[500] ^= 1
	if exact.HashWords(words, 100) == whole {
		t.Errorf("a flipped bit does not show")
	}
	words[500] ^= 1
	words[1], words[2] = words[2], words[1]
	if exact.HashWords(words, 100) == whole {
		t.Errorf("swapped words do not show")
	}
	if exact.HashFloats([]float32{0}, 0) == exact.HashFloats([]float32{float32(math.Copysign(0, -1))}, 0) {
		t.Errorf("0 and -0 do not differ")
	}
}

func TestFinishDigestDependsOnAll(t *testing.T) {
	seen := map[ringleader.Digest]bool{}
	for sum := range uint64(8) {
		for step := range ringleader.Step(8) {
			for job := range ringleader.Digest(8) {
				seen[exact.FinishDigest(sum, step, job)] = true
			}
		}
	}
	if len(seen) != 512 {
		t.Errorf("%d digests of 512 states", len(seen))
	}
}

// The values are in manifests and logs: they must not change. This one was computed by another program.
func TestDigestIsStable(t *testing.T) {
	sum := exact.HashFloats([]float32{1, 2, 3}, 0)
	if got, want := exact.FinishDigest(sum, 4, 5).String(), "8619965096e54d79"; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}
