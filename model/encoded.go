package model

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/job"
)

// EncodedShard is a shard whose tokens have been encoded elsewhere, with items that have been embedded elsewhere.
type EncodedShard struct {
	Step, Shard uint64     // what dropout is keyed by
	Lengths     []int      // tokens of each user, at least 1
	Tokens      device.Mat // T x the width that NewEncoded was told
	Items       device.Mat // I x D, unit rows, which take no gradient; the first Pool are the negatives, of log Q 0
	Pool        int
	Positive    []int32 // T: the row of Items that each token is to predict
}

// NewEncoded builds the part of a model that is behind the encoding of tokens, for tokens of a given width: there is no feature but the
// position, no item tower, and the loss is that of EncodedGradient. It is what every implementation of a transformer has in common.
func NewEncoded(w job.What, width int) (*Model, error) {
	if width < 1 {
		return nil, fmt.Errorf("build model: encoded tokens of width %d: want at least 1", width)
	}
	m := &Model{what: w, sizes: sizesOf(&w.Model)}
	m.sizes.encoded = width
	m.features.position = !w.Model.Drop.Position
	if err := m.validate(nil); err != nil {
		return nil, fmt.Errorf("build model: %w", err)
	}
	m.lay()
	return m, nil
}

// EncodedGradient is Gradient for a model of NewEncoded, whose runner has no item vectors: the sum over users of the mean over a user's
// tokens of -log softmax of its positive among itself and the pool.
func (r *Runner) EncodedGradient(ctx context.Context, params, grad device.F32, b *EncodedShard, final Final) (Result, error) {
	if err := r.checkEncoded(params, grad, b); err != nil {
		return Result{}, fmt.Errorf("compute gradient: %w", err)
	}
	r.in.readEncoded(b.Lengths)
	r.goal.aimEncoded(b)
	if err := r.makeRoom(true); err != nil {
		return Result{}, fmt.Errorf("compute gradient: %w", err)
	}
	r.ws.tokens = b.Tokens
	r.ws.items = towerSpace{unit: b.Items} // without y, their gradient is not wanted
	res := Result{Users: len(b.Lengths), Tokens: b.Tokens.Rows}
	p := pass{Runner: r, params: params, grad: grad, rate: float32(r.m.what.Model.Dropout), step: b.Step, shard: b.Shard}
	if err := p.descend(ctx, final, &res); err != nil {
		return Result{}, fmt.Errorf("compute gradient of step %d, shard %d: %w", b.Step, b.Shard, err)
	}
	return res, nil
}

func (r *Runner) checkEncoded(params, grad device.F32, b *EncodedShard) error {
	if params.N != r.m.length || grad.N != r.m.length {
		return fmt.Errorf("parameters of %d elements, gradient of %d: want %d", params.N, grad.N, r.m.length)
	}
	tokens := 0
	for u, n := range b.Lengths {
		if n < 1 || n > r.m.sizes.window {
			return fmt.Errorf("user %d has %d tokens: want 1 to %d", u, n, r.m.sizes.window)
		}
		tokens += n
	}
	if want := r.m.sizes.encoded; want == 0 || b.Tokens.Rows != tokens || b.Tokens.Cols != want {
		return fmt.Errorf("encoded tokens %d x %d: want %d x %d", b.Tokens.Rows, b.Tokens.Cols, tokens, want)
	}
	if b.Pool < 1 || b.Pool > b.Items.Rows || b.Items.Cols != r.m.sizes.dim {
		return fmt.Errorf("pool of %d in %d x %d items: want 1 to all, of %d columns", b.Pool, b.Items.Rows, b.Items.Cols, r.m.sizes.dim)
	}
	if len(b.Positive) != tokens {
		return fmt.Errorf("%d positives: want one for each of %d tokens", len(b.Positive), tokens)
	}
	return checkBelow("positive", b.Positive, b.Items.Rows)
}

// readEncoded is read where only positions are left to tell.
func (in *inputs) readEncoded(lengths []int) {
	in.offset, in.recency = append(in.offset[:0], 0), in.recency[:0]
	for u, n := range lengths {
		for i := range n {
			in.recency = append(in.recency, int32(n-1-i))
		}
		in.offset = append(in.offset, in.offset[u]+int32(n))
	}
}

// aimEncoded gives each token its one positive.
func (g *goal) aimEncoded(b *EncodedShard) {
	g.lo, g.hi, g.weight, g.positive = g.lo[:0], g.hi[:0], g.weight[:0], append(g.positive[:0], b.Positive...)
	for _, n := range b.Lengths {
		for range n {
			at := int32(len(g.lo))
			g.lo, g.hi, g.weight = append(g.lo, at), append(g.hi, at+1), append(g.weight, 1/float32(n))
		}
	}
	g.pool = b.Pool
	g.poolBias, g.posBias = zeros(g.poolBias, b.Pool), zeros(g.posBias, len(b.Positive))
	g.mask = zeros(g.mask, len(b.Lengths)*((b.Pool+31)/32))
}

// zeros are n of them, in memory that may be there already.
func zeros[T any](x []T, n int) []T {
	x = slices.Grow(x[:0], n)[:n]
	clear(x)
	return x
}
