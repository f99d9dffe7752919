package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ringleader-dev/ringleader/device"
)

// lossInvTau is one over the temperature: that of training at its start.
const lossInvTau = 10

// lossProblem is a shard's loss with made-up embeddings, on the host. Half as many items as are in the pool are not in it; positives are any.
type lossProblem struct {
	positions, targets, pool, items, dim int

	u, v                      []float32 // unit rows: a token's, an item's
	poolBias, posBias, weight []float32
	offsets, positive, lo, hi []int32
	mask                      []uint32
}

func newLossProblem(seed uint64, users, positions, targets, pool, dim int) *lossProblem {
	rng := rand.New(rand.NewPCG(seed, 3))
	p := &lossProblem{positions: positions, targets: targets, pool: pool, items: pool + (pool+1)/2, dim: dim, offsets: []int32{0}}
	p.u, p.v = unitRows(rng, users*positions, dim), unitRows(rng, p.items, dim)
	p.poolBias = normals(rng, pool)
	words := (pool + 31) / 32
	p.mask = make([]uint32, users*words)
	for user := range users {
		first := int32(len(p.positive))
		for range positions + targets - 1 {
			item := rng.Int32N(int32(p.items))
			p.positive = append(p.positive, item)
			if int(item) < pool {
				p.mask[user*words+int(item)/32] |= 1 << (item % 32)
			}
		}
		for m := range int32(positions) {
			p.lo, p.hi = append(p.lo, first+m), append(p.hi, first+m+int32(targets))
			p.weight = append(p.weight, 1/float32(positions*targets))
		}
		p.offsets = append(p.offsets, int32((user+1)*positions))
	}
	p.posBias = normals(rng, len(p.positive))
	return p
}

func unitRows(rng *rand.Rand, rows, cols int) []float32 {
	x := normals(rng, rows*cols)
	for r := range rows {
		row := x[r*cols : (r+1)*cols]
		norm := math.Sqrt(dot64(row, row))
		for i := range row {
			row[i] = float32(float64(row[i]) / norm)
		}
	}
	return x
}

func dot64(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func (p *lossProblem) user(m int) []float32 { return p.u[m*p.dim : (m+1)*p.dim] }
func (p *lossProblem) item(i int) []float32 { return p.v[i*p.dim : (i+1)*p.dim] }

func (p *lossProblem) masked(m, n int) bool {
	return p.mask[m/p.positions*((p.pool+31)/32)+n/32]>>(n%32)&1 != 0
}

// token adds what token m contributes, by docs/model.md section 3 and in float64: to du, its own row, and, unless it is nil, to all items' rows di.
func (p *lossProblem) token(m int, du, di []float64) (loss float64) {
	scores, most := make([]float64, p.pool), math.Inf(-1)
	for n := range scores {
		if scores[n] = math.Inf(-1); !p.masked(m, n) {
			scores[n] = lossInvTau*dot64(p.user(m), p.item(n)) + float64(p.poolBias[n])
		}
		most = max(most, scores[n])
	}
	if math.IsInf(most, -1) {
		return 0 // without a negative, a positive is certain
	}
	var sum, g float64
	for _, s := range scores {
		sum += math.Exp(s - most)
	}
	z := most + math.Log(sum)
	pull := func(item int, by float64) {
		for i, x := range p.item(item) {
			du[i] += by * float64(x)
		}
		if di != nil {
			for i, x := range p.user(m) {
				di[item*p.dim+i] += by * float64(x)
			}
		}
	}
	for j := p.lo[m]; j < p.hi[m]; j++ {
		item := int(p.positive[j])
		ahead := z - lossInvTau*dot64(p.user(m), p.item(item)) - float64(p.posBias[j])
		r := float64(p.weight[m]) / (1 + math.Exp(-ahead))
		loss += float64(p.weight[m]) * (max(ahead, 0) + math.Log1p(math.Exp(-math.Abs(ahead))))
		g += r
		pull(item, -lossInvTau*r)
	}
	for n, s := range scores {
		if s > math.Inf(-1) {
			pull(n, lossInvTau*g*math.Exp(s-z))
		}
	}
	return loss
}

// lossErrors are the largest deviations from float64, relative to the largest element.
type lossErrors struct {
	Loss  float64 `json:"loss"`
	Users float64 `json:"users"` // the gradient of tokens
	Items float64 `json:"items"` // the gradient of items
	// Balance: scores are bilinear, so that sum <u, dL/du>, sum <v, dL/dv> and -dL/dlog tau are one number.
	Balance float64 `json:"balance"`
}

func (e lossErrors) String() string {
	return fmt.Sprintf("loss %.1e, users %.1e, items %.1e, balance %.1e", e.Loss, e.Users, e.Items, e.Balance)
}

func (e lossErrors) worst() float64 { return max(e.Loss, e.Users, e.Items, e.Balance) }

func (e lossErrors) max(o lossErrors) lossErrors {
	return lossErrors{max(e.Loss, o.Loss), max(e.Users, o.Users), max(e.Items, o.Items), max(e.Balance, o.Balance)}
}

// smallErrors computes a small problem on the device, and all of it in float64.
func (o *lossBench) smallErrors(dev device.Device) (e lossErrors, err error) {
	p := newLossProblem(7, 3, min(o.positions, 37), min(o.targets, 5), min(o.pool, 300), o.dim)
	s, err := openLossShard(dev, p, o.dtype)
	if err != nil {
		return e, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.compute(); err != nil {
		return e, err
	}
	if e, err = s.errors(); err != nil {
		return e, err
	}
	loss, du, di := 0., make([]float64, len(p.u)), make([]float64, len(p.v))
	for m := range p.weight {
		loss += p.token(m, du[m*p.dim:(m+1)*p.dim], di)
	}
	e.Loss = math.Abs(get(s, s.out)[0]-loss) / loss
	e.Users, e.Items = deviation(get(s, s.du.Data), du), deviation(get(s, s.di.Data), di)
	return e, s.lane.Sync()
}

// sampledTokens are enough to meet every block of a kernel's grid that is wrong as a whole, and cheap beside the rest.
const sampledTokens = 16

// errors compares some tokens' gradients, and what all gradients have in common.
func (s *lossShard) errors() (e lossErrors, err error) {
	out, du, di := get(s, s.out), get(s, s.du.Data), get(s, s.di.Data)
	if err := s.lane.Sync(); err != nil {
		return e, err
	}
	var got []float32
	var want []float64
	for i := range sampledTokens {
		m := i * (len(s.weight) - 1) / (sampledTokens - 1)
		row := make([]float64, s.dim)
		s.token(m, row, nil)
		got, want = append(got, du[m*s.dim:(m+1)*s.dim]...), append(want, row...)
	}
	e.Users = deviation(got, want)
	var users, items, size float64
	for m := range s.weight {
		x := dot64(s.user(m), du[m*s.dim:(m+1)*s.dim])
		users, size = users+x, size+math.Abs(x)
	}
	for i := range s.items {
		items += dot64(s.item(i), di[i*s.dim:(i+1)*s.dim])
	}
	e.Balance = max(math.Abs(users-items), math.Abs(users+out[1])) / size
	return e, nil
}

// deviation is NaN if anything is.
func deviation(got []float32, want []float64) float64 {
	var worst, largest float64
	for i, w := range want {
		worst, largest = max(worst, math.Abs(float64(got[i])-w)), max(largest, math.Abs(w))
	}
	return worst / largest
}
