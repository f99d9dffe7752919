package model

import (
	"testing"

	"github.com/ringleader-dev/ringleader/device"
)

// BenchmarkGradient is one shard of the preset small: four users with full windows.
func BenchmarkGradient(b *testing.B) {
	meta := tinyMeta()
	meta.VectorDim, meta.Items = 128, 17000
	s := newSetup(b, preset(b, "small"), meta)
	batch := randomBatch(random(1), s.m, 64, 64, 64, 64)
	params, grad := s.upload(b, "params", s.params), s.upload(b, "grad", make([]float32, s.m.Size()))
	for b.Loop() {
		if _, err := s.run.Gradient(b.Context(), params, grad, batch, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(batch.Item)*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkUpdate is the update that follows.
func BenchmarkUpdate(b *testing.B) {
	meta := tinyMeta()
	meta.VectorDim = 128
	s := newSetup(b, preset(b, "small"), meta)
	n := s.m.Size()
	st := s.state(b)
	grad := s.upload(b, "grad", make([]float32, n))
	b.SetBytes(int64(4 * device.F32{N: n}.Bytes()))
	for b.Loop() {
		if _, err := s.m.Update(device.OneLane(s.lane), &st, grad, 5, 100); err != nil {
			b.Fatal(err)
		}
	}
}
