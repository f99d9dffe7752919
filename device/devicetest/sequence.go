package devicetest

import (
	"fmt"
	"math"

	"github.com/ringleader-dev/ringleader/device"
)

func gather(e *env) {
	for _, s := range [][4]int{{0, 5, 3, 0}, {1, 1, 1, 0}, {20, 7, 33, 0}, {20, 7, 33, 3}} {
		n, rows, cols, gap := s[0], s[1], s[2], s[3]
		src, dst, index := e.normal(rows, cols), e.normal(n, cols), e.ints(n, rows)
		copied, added := make([]float32, n*cols), make([]float32, n*cols)
		for i := range copied {
			copied[i] = src.v[int(index[i/cols])*cols+i%cols]
			added[i] = dst.v[i] + copied[i]
		}
		srcm, at := e.mat(src, gap), buf(e, index)
		a, b := e.mat(junk(n, cols), gap), e.mat(dst, gap)
		e.lane.Gather(a, srcm, at)
		e.lane.GatherAdd(b, srcm, at)
		same(e, "gather", e.get(a), copied)
		same(e, "gather and add", e.get(b), added)
	}
}

// scatterAdd: the order of additions is part of the contract, so the bits are.
func scatterAdd(e *env) {
	for _, s := range [][4]int{{0, 5, 3, 0}, {1, 1, 1, 0}, {60, 7, 33, 0}, {60, 7, 33, 3}} {
		n, rows, cols, gap := s[0], s[1], s[2], s[3]
		src, dst, index := e.normal(n, cols), e.normal(rows, cols), e.ints(n, rows)
		m := e.mat(dst, gap)
		e.lane.ScatterAdd(m, e.mat(src, gap), buf(e, index))
		for i, v := range src.v {
			dst.v[int(index[i/cols])*cols+i%cols] += v
		}
		same(e, "scatter", e.get(m), dst.v)
	}
}

func encodeTime(e *env) {
	day := 86400.0
	e.encodeTime("absolute", []float64{900, 3600, day, 7 * day, 365 * day}, 2000, 1.5e12)
	e.encodeTime("relative", []float64{1, 1.61, 44.7, 2.419e6}, 0, 3e10)
	e.encodeTime("no periods", nil, 0, 1e6)
	dst := e.mat(junk(0, 5), 0)
	e.lane.EncodeTime(dst, buf(e, []int64{}), buf(e, []float64{1, 2}), buf(e, make([]float32, 4)), 1)
	same(e, "no times", e.get(dst), nil)
}

func (e *env) encodeTime(name string, periods []float64, from, span float64) {
	const scale = 0.1
	times := []int64{int64(from), 1, 999, 1000}
	for range 20 {
		times = append(times, int64(from+e.rng.Float64()*span))
	}
	n, p := len(times), len(periods)
	phases, dphases, dy := e.floats(2*p, 3), e.floats(2*p, 1), e.normal(n, 2*p+1)
	f := wide(phases)
	forward := func() []float64 {
		y := make([]float64, 0, n*(2*p+1))
		for _, ms := range times {
			t := float64(ms) / 1000
			for i, period := range periods {
				angle := 2 * math.Pi * math.Mod(t, period) / period
				y = append(y, math.Cos(angle+f[2*i]), math.Sin(angle+f[2*i+1]))
			}
			y = append(y, scale*math.Log1p(t))
		}
		return y
	}
	tb, pb, fb := buf(e, times), buf(e, periods), buf(e, phases)
	dst, grad := e.mat(junk(n, 2*p+1), 3), buf(e, dphases)
	e.lane.EncodeTime(dst, tb, pb, fb, scale)
	e.lane.EncodeTimeBackward(grad, e.mat(dy, 0), tb, pb, fb)
	e.near(name, e.get(dst), forward)
	e.near(name+" dphases", read(e, grad), func() []float64 {
		return plus(wide(dphases), gradient(func() float64 { return dot(forward(), wide(dy.v)) }, f))
	})
}

// segments of the given lengths.
func (e *env) segments(lengths ...int) device.Segments {
	host := []int32{0}
	for _, n := range lengths {
		host = append(host, host[len(host)-1]+int32(n))
	}
	return device.Segments{Host: host, Dev: buf(e, host)}
}

func tokens(s device.Segments) int { return int(s.Host[len(s.Host)-1]) }

// attentionOf is causal self-attention by its definition; lse is T x heads.
func attentionOf(qkv []float64, seg []int32, heads, width int) (out, lse []float64) {
	total, d := int(seg[len(seg)-1]), width/heads
	out, lse = make([]float64, total*width), make([]float64, total*heads)
	at := func(token, part, head int) []float64 {
		lo := token*3*width + part*width + head*d
		return qkv[lo : lo+d]
	}
	for s := range len(seg) - 1 {
		for i := int(seg[s]); i < int(seg[s+1]); i++ {
			for h := range heads {
				var sum float64
				for j := int(seg[s]); j <= i; j++ {
					p := math.Exp(dot(at(i, 0, h), at(j, 1, h)) / math.Sqrt(float64(d)))
					sum += p
					for c, v := range at(j, 2, h) {
						out[i*width+h*d+c] += p * v
					}
				}
				for c := range d {
					out[i*width+h*d+c] /= sum
				}
				lse[i*heads+h] = math.Log(sum)
			}
		}
	}
	return out, lse
}

func attention(e *env) {
	e.attention(e.segments(0), 4, 1, 0, 0)
	e.attention(e.segments(1), 6, 3, 0, 0)
	e.attention(e.segments(3, 0, 1, 7), 6, 1, 0, 0)
	e.attention(e.segments(3, 0, 1, 7), 6, 2, 5, 0)
}

// attentionLong has segments longer than any block, and one of exactly a block.
func attentionLong(e *env) { e.attention(e.segments(150, 2, 64, 65), 32, 4, 0, 24) }

// attention differentiates all of qkv, or only a sample.
func (e *env) attention(seg device.Segments, width, heads, gap, some int) {
	n := tokens(seg)
	name := fmt.Sprintf("segments %v, width %d, %d heads: ", seg.Host, width, heads)
	qkv, dout := e.normal(n, 3*width), e.normal(n, width)
	f, g := wide(qkv.v), wide(dout.v)
	forward := func() float64 {
		out, _ := attentionOf(f, seg.Host, heads, width)
		return dot(out, g)
	}
	m, out, lse := e.mat(qkv, gap), e.mat(junk(n, width), gap), buf(e, junk(n, heads).v)
	dqkv := e.mat(junk(n, 3*width), gap)
	e.lane.Attention(out, m, lse, seg, heads)
	e.lane.AttentionBackward(dqkv, e.mat(dout, gap), out, m, lse, seg, heads)
	e.near(name+"out", e.get(out), func() []float64 { out, _ := attentionOf(f, seg.Host, heads, width); return out })
	e.near(name+"lse", read(e, lse), func() []float64 { _, lse := attentionOf(f, seg.Host, heads, width); return lse })
	if some == 0 {
		e.near(name+"dqkv", e.get(dqkv), func() []float64 { return gradient(forward, f) })
		return
	}
	s := e.sample(some, len(f))
	e.near(name+"dqkv", s.of(e.get(dqkv)), func() []float64 { return s.gradient(forward, f) })
}
