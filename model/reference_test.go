package model

import (
	"math"
	"slices"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

// reference is the network and its loss in float64, written from the definitions alone: one softmax for each pair, token by token,
// without any of the structure that the model uses.
type reference struct {
	m       *Model
	p       map[string][]float64 // by tensor
	vectors []float32
	logQ    []float32
	dropout bool
}

// float64s are parameters by tensor.
func float64s(m *Model, flat []float32) map[string][]float64 {
	p := map[string][]float64{}
	for _, t := range m.Tensors() {
		x := make([]float64, t.Len())
		for i := range x {
			x[i] = float64(flat[t.Offset+i])
		}
		p[t.Name] = x
	}
	return p
}

func (s *setup) reference() *reference {
	return &reference{m: s.m, p: float64s(s.m, s.params), vectors: s.vectors, logQ: s.logQ, dropout: true}
}

func normalise[T float32 | float64](x []T) {
	var n float64
	for _, v := range x {
		n += float64(v) * float64(v)
	}
	n = max(math.Sqrt(n), 1e-12)
	for i := range x {
		x[i] = T(float64(x[i]) / n)
	}
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func (r *reference) linear(name string, x []float64) []float64 {
	w, y := r.p[name+".weight"], slices.Clone(r.p[name+".bias"])
	for o := range y {
		y[o] += dot(w[o*len(x):(o+1)*len(x)], x)
	}
	return y
}

func (r *reference) layerNorm(name string, x []float64) []float64 {
	n := float64(len(x))
	mean, variance := 0.0, 0.0
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v-mean)/math.Sqrt(variance+1e-5)*r.p[name+".weight"][i] + r.p[name+".bias"][i]
	}
	return y
}

func gelu(x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / 2 * (1 + math.Erf(v/math.Sqrt2))
	}
	return y
}

func (r *reference) tower(name string, x []float64) []float64 {
	y := r.linear(name+".down", gelu(r.linear(name+".up", x)))
	normalise(y)
	return y
}

func (r *reference) vector(item int32) []float64 {
	n := r.m.sizes.vector
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(r.vectors[int(item)*n+i]) * math.Sqrt(float64(n))
	}
	return x
}

func (r *reference) item(item int32) []float64 { return r.tower("items", r.vector(item)) }

// drop is dropout of row `row` of a matrix of the shard.
func (r *reference) drop(b *dataset.Batch, place int, row int, x []float64) []float64 {
	rate := float32(r.m.what.Model.Dropout)
	if !r.dropout || rate == 0 {
		return x
	}
	key := counter.Key(r.m.what.Seed, counter.Dropout, uint64(b.Step), uint64(b.Shard), uint64(place))
	y := make([]float64, len(x))
	for i := range x {
		if float64(counter.At(key, uint64(row*len(x)+i))>>40) >= float64(rate)*(1<<24) {
			y[i] = x[i] / (1 - float64(rate))
		}
	}
	return y
}

func (r *reference) time(name string, ms int64, periods []float64) []float64 {
	t := float64(ms) / 1000
	phase := r.p["encodings."+name+".phase"]
	var y []float64
	for i, p := range periods {
		angle := 2 * math.Pi * math.Mod(t, p) / p
		y = append(y, math.Cos(angle+phase[2*i]), math.Sin(angle+phase[2*i+1]))
	}
	return append(y, .1*math.Log1p(t))
}

var long = []float64{900, 1800, 2700, 3600, 7200, 14400, 28800, 57600, 86400, 604800, 2419200, 31536000}

var short = func() []float64 {
	p := make([]float64, 32)
	for k := range p {
		p[k] = math.Exp(math.Log(28*86400) * float64(k) / 31)
	}
	return p
}()

// token is the input vector of token i of user u.
func (r *reference) token(b *dataset.Batch, u, i int) []float64 {
	f, s := r.m.what.Model.Drop, &r.m.sizes
	from, to := int(b.Offset[u]), int(b.Offset[u+1])
	var a []float64
	if !f.Item {
		a = append(a, r.vector(b.Item[i])...)
	}
	if !f.Action {
		k := int(b.Action[i])
		a = append(a, r.p["embeddings.action.weight"][k*s.actionDim:(k+1)*s.actionDim]...)
	}
	if !f.Surface && s.surfaces > 0 {
		k := int(b.Surface[i])
		a = append(a, r.p["embeddings.surface.weight"][k*s.surfaceDim:(k+1)*s.surfaceDim]...)
	}
	if !f.Duration && r.m.features.duration {
		a = append(a, .3*math.Log1p(float64(b.Duration[i])))
	}
	if !f.Absolute {
		a = append(a, r.time("absolute_time", b.TimeMS[i], long)...)
	}
	if !f.Relative {
		a = append(a, r.time("relative_time", b.TimeMS[to-1]-b.TimeMS[i], short)...)
	}
	if !f.Gap {
		gap := int64(0)
		if i > from {
			gap = b.TimeMS[i] - b.TimeMS[i-1]
		}
		a = append(a, r.time("gap_time", gap, short)...)
	}
	return a
}

// user are the embeddings at the tokens of user u.
func (r *reference) user(b *dataset.Batch, u int) [][]float64 {
	from, to := int(b.Offset[u]), int(b.Offset[u+1])
	h := r.m.sizes.width
	var x [][]float64
	for i := from; i < to; i++ {
		y := r.linear("input", r.token(b, u, i))
		if !r.m.what.Model.Drop.Position {
			for k := range y {
				y[k] += r.p["position.weight"][(to-1-i)*h+k]
			}
		}
		x = append(x, r.drop(b, 0, i, y))
	}
	for l := range r.m.sizes.layers {
		x = r.block(b, l, from, x)
	}
	for i := range x {
		x[i] = r.tower("output", r.layerNorm("norm", x[i]))
	}
	return x
}

func (r *reference) block(b *dataset.Batch, l, from int, x [][]float64) [][]float64 {
	name := "blocks." + string(rune('0'+l)) + "."
	h, heads := r.m.sizes.width, r.m.sizes.heads
	d := h / heads
	var qkv [][]float64
	for _, row := range x {
		qkv = append(qkv, r.linear(name+"attention.qkv", r.layerNorm(name+"norm1", row)))
	}
	out := make([][]float64, len(x))
	for i := range x {
		att := make([]float64, h)
		for k := range heads {
			part := func(j, which int) []float64 { return qkv[j][which*h+k*d : which*h+(k+1)*d] }
			sum := 0.0
			for j := 0; j <= i; j++ {
				w := math.Exp(dot(part(i, 0), part(j, 1)) / math.Sqrt(float64(d)))
				sum += w
				for c, v := range part(j, 2) {
					att[k*d+c] += w * v
				}
			}
			for c := range d {
				att[k*d+c] /= sum
			}
		}
		y := plus(x[i], r.drop(b, 1+3*l, from+i, r.linear(name+"attention.output", att)))
		act := r.drop(b, 2+3*l, from+i, gelu(r.linear(name+"ffn.up", r.layerNorm(name+"norm2", y))))
		out[i] = plus(y, r.drop(b, 3+3*l, from+i, r.linear(name+"ffn.down", act)))
	}
	return out
}

func plus(a, b []float64) []float64 {
	y := slices.Clone(a)
	for i := range y {
		y[i] += b[i]
	}
	return y
}

// targets are the items that each token of user u is to predict. Those of sampled objectives are drawn as TestSampledTargets checks.
func (r *reference) targets(b *dataset.Batch, u int) [][]int32 {
	from, to := b.Offset[u], b.Offset[u+1]
	out := make([][]int32, to-from)
	if r.m.what.Loss.Objective != objectiveExact {
		var g goal
		g.aim(b, r.m)
		for i := range out {
			out[i] = g.target[g.lo[int(from)+i]:g.hi[int(from)+i]]
		}
		return out
	}
	for i := range out {
		t := b.TimeMS[int(from)+i]
		for j := b.PosOffset[u]; j < b.PosOffset[u+1]; j++ {
			if p := b.PosTimeMS[j]; p > t && p <= t+int64(r.m.what.Loss.HorizonDays*24*hourMS) {
				out[i] = append(out[i], b.PosItem[j])
			}
		}
	}
	return out
}

// loss is the definition: for each user, token and target one softmax over the target and all draws of the pool that are not the user's own.
func (r *reference) loss(b *dataset.Batch) (loss float64, users int) {
	tau := max(math.Exp(r.p["log_temperature"][0]), .01)
	items := map[int32][]float64{}
	for _, list := range [][]int32{b.Negative, b.PosItem} {
		for _, i := range list {
			items[i] = r.item(i)
		}
	}
	mode := r.m.what.Loss.LogQ
	for u := range b.User {
		own := b.OwnItem[b.OwnOffset[u]:b.OwnOffset[u+1]]
		targets := r.targets(b, u)
		pairs := make([][]float64, len(targets)) // losses, by token
		any := false
		for m, e := range r.user(b, u) {
			for _, p := range targets[m] {
				a := dot(e, items[p]) / tau
				if mode == logQOn {
					a -= float64(r.logQ[p])
				}
				sum := math.Exp(a)
				for _, n := range b.Negative {
					if slices.Contains(own, n) {
						continue
					}
					s := dot(e, items[n]) / tau
					if mode != logQOff {
						s -= float64(r.logQ[n])
					}
					sum += math.Exp(s)
				}
				pairs[m] = append(pairs[m], math.Log(sum)-a)
				any = true
			}
		}
		if any {
			users++
			loss += r.average(pairs)
		}
	}
	return loss, users
}

// average is the weighted mean of a user's pair losses.
func (r *reference) average(pairs [][]float64) float64 {
	l := &r.m.what.Loss
	mean := func(tokens [][]float64) (x float64, ok bool) {
		sum, n := 0.0, 0.0
		for _, t := range tokens {
			for _, pair := range t {
				w := 1.0
				if l.Weights == weightsSeed {
					w = 1 / float64(len(t))
				}
				sum, n = sum+w*pair, n+w
			}
		}
		return sum / n, n > 0
	}
	last := len(pairs) - 1
	newest, has := mean(pairs[last:])
	rest, have := mean(pairs[:last])
	if l.NewestWeight == newestEqual && has && have {
		return (newest + rest) / 2
	}
	x, _ := mean(pairs)
	return x
}

// slope is the derivative of the loss along a direction in a tensor.
func (r *reference) slope(b *dataset.Batch, tensor string, direction []float64) float64 {
	eps := 1e-5 / math.Sqrt(dot(direction, direction))
	x, old := r.p[tensor], slices.Clone(r.p[tensor])
	at := func(step float64) float64 {
		for i := range x {
			x[i] = old[i] + step*direction[i]
		}
		loss, _ := r.loss(b)
		return loss
	}
	slope := (at(eps) - at(-eps)) / (2 * eps)
	copy(x, old)
	return slope
}
