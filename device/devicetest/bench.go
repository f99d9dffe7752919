package devicetest

import (
	"testing"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/exact"
)

// Sizes of a shard of the demonstration.
const (
	benchTokens = 400
	benchWidth  = 128
	benchHidden = 512
	benchPool   = 512
	benchItems  = 640
)

// Bench measures the main operators at the size of a small job's shard.
func Bench(b *testing.B, open func(t testing.TB) device.Device) {
	d := openDevice(b, open)
	for name, op := range benchmarks(newEnv(b, d, place{})) {
		b.Run(name, func(b *testing.B) {
			l := openLane(b, d)
			for b.Loop() {
				op(l)
			}
			if err := l.Sync(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func benchmarks(e *env) map[string]func(l device.Lane) {
	const t, h, f = benchTokens, benchWidth, benchHidden
	x, y, wide1, wide2 := e.mat(e.normal(t, h), 0), e.mat(e.normal(t, h), 0), e.mat(e.normal(t, f), 0), e.mat(e.normal(t, f), 0)
	w, dw, bias := e.mat(e.normal(f, h), 0), e.mat(e.normal(f, h), 0), buf(e, e.floats(f, 1))
	hidden, down := e.mat(e.normal(t, f), 0), e.mat(e.normal(h, f), 0)
	gamma, dgamma, mean, rstd := buf(e, e.floats(h, 1)), buf(e, e.floats(h, 1)), buf(e, e.floats(t, 1)), buf(e, e.floats(t, 1))
	norm := device.Norm{Y: e.mat(junk(t, h), 0), Gamma: gamma, Beta: gamma, Mean: mean, RStd: rstd}
	qkv, dqkv, lse := e.mat(e.normal(t, 3*h), 0), e.mat(e.normal(t, 3*h), 0), buf(e, e.floats(t*4, 1))
	seg := e.segments(64, 64, 40, 64, 24, 64, 64, 16)
	periods := make([]float64, 32)
	for i := range periods {
		periods[i] = 1 + float64(i*i*i)
	}
	times, pb, phases, lanes := buf(e, make([]int64, t)), buf(e, periods), buf(e, e.floats(64, 1)), e.mat(e.normal(t, 65), 0)
	const n = 1 << 20
	p, m, v, g, acc, bad := buf(e, e.floats(n, 1)), buf(e, e.floats(n, 1)), buf(e, make([]float32, n)), buf(e, e.floats(n, 1)), buf(e, make([]int64, n)), buf(e, make([]int64, 3))
	words, exponents := buf(e, make([]int16, n)), buf(e, make([]int8, exact.Blocks(n)))
	e.lane.RaiseExponents(exponents, g)
	sums := buf(e, make([]uint64, 2))
	loss := e.problem(shape{segments: []int{64, 64, 40, 64, 24, 64, 64, 16}, positives: []int{64, 64, 64, 64, 64, 64, 64, 64}, dim: h, pool: benchPool, items: benchItems})
	args, out := loss.args(e, 0), buf(e, make([]float64, 2))
	du, di := e.mat(junk(t, h), 0), e.mat(junk(benchItems, h), 0)
	return map[string]func(l device.Lane){
		"Linear":            func(l device.Lane) { l.Linear(wide1, x, w, bias) },
		"LinearBackward":    func(l device.Lane) { l.LinearBackward(y, dw, bias, wide1, x, w, device.Mat{}) },
		"Add":               func(l device.Lane) { l.Add(y, x, y) },
		"LinearGELU":        func(l device.Lane) { l.LinearGELU(wide2, hidden, x, w, bias, device.Dropping{}) },
		"LinearGELUDropout": func(l device.Lane) { l.LinearGELU(wide2, hidden, x, w, bias, device.Dropping{Key: 7, Rate: 0.1}) },
		"LinearAdd":         func(l device.Lane) { l.LinearAdd(y, x, wide1, down, gamma, device.Dropping{}, norm) },
		"LinearSlope":       func(l device.Lane) { l.LinearBackward(wide2, device.Mat{}, device.F32{}, x, wide1, down, hidden) },
		"LayerNorm":         func(l device.Lane) { l.LayerNorm(x, norm) },
		"LayerNormBackward": func(l device.Lane) { l.LayerNormBackward(y, dgamma, dgamma, x, x, gamma, mean, rstd) },
		"L2Norm":            func(l device.Lane) { l.L2Norm(y, mean, x) },
		"Dropout":           func(l device.Lane) { l.Dropout(y, x, device.Dropping{Key: 7, Rate: 0.1}) },
		"EncodeTime":        func(l device.Lane) { l.EncodeTime(lanes, times, pb, phases, 0.1) },
		"Attention":         func(l device.Lane) { l.Attention(y, qkv, lse, seg, 4) },
		"AttentionBackward": func(l device.Lane) { l.AttentionBackward(dqkv, x, y, qkv, lse, seg, 4) },
		"DenseAllAction":    func(l device.Lane) { l.DenseAllAction(out, du, di, args) },
		"ToFixed":           func(l device.Lane) { l.ToFixed(acc, g, 1024, bad) },
		"FromFixed":         func(l device.Lane) { l.FromFixed(p, acc, 7) },
		"ToBlocks16":        func(l device.Lane) { l.ToBlocks16(words, g, exponents, 9, bad) },
		"FromBlocks16":      func(l device.Lane) { l.FromBlocks16(p, words, exponents, 9, 7) },
		"SquaredNorm":       func(l device.Lane) { l.SquaredNorm(g) },
		"AdamW": func(l device.Lane) {
			l.AdamW(p, m, v, g, device.AdamW{LR: 1e-3, Beta1: .9, Beta2: .98, Eps: 1e-8, Correction1: 1, Correction2: 1, Scale: 1}, device.Hashes{Size: n, Sums: sums})
		},
		"Hash": func(l device.Lane) { l.Hash(p, 0) },
	}
}
