package serving

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
	"github.com/ringleader-dev/ringleader/dataset"
)

// hash is over what the model reads of the seat's batch.
func (c *crew) hash(s *seat) uint64 {
	b, little := &s.batch, binary.LittleEndian
	s.input = s.input[:0]
	for i, item := range b.Item {
		s.input = little.AppendUint64(s.input, c.inputs[item])
		s.input = little.AppendUint64(s.input, uint64(b.TimeMS[i]))
		s.input = little.AppendUint32(s.input, uint32(b.Action[i]))
		if len(b.Surface) > 0 {
			s.input = little.AppendUint32(s.input, uint32(b.Surface[i]))
		}
		if len(b.Duration) > 0 {
			s.input = little.AppendUint32(s.input, math.Float32bits(b.Duration[i]))
		}
	}
	return xxhash.Sum64(s.input)
}

// itemHashes are those of the items' content vectors.
func itemHashes(v dataset.Vectors) []uint64 {
	hashes := make([]uint64, v.Rows)
	var row []byte
	for i := range hashes {
		row = row[:0]
		for _, x := range v.Row(i) {
			row = binary.LittleEndian.AppendUint32(row, math.Float32bits(x))
		}
		hashes[i] = xxhash.Sum64(row)
	}
	return hashes
}

// toHalves rounds an embedding.
func toHalves(dst []uint16, src []float32) error {
	bad := slices.IndexFunc(src, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) })
	if bad >= 0 {
		return fmt.Errorf("lane %d of the embedding is %g: want finite numbers; so are the state's parameters", bad, src[bad])
	}
	for i, x := range src {
		dst[i] = safetensors.ToHalf(x)
	}
	return nil
}
