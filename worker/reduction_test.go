package worker

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/memlink"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

// made are gradients that need no data: a function of step, shard and element. Magnitudes differ between blocks, elements and steps; some blocks are without a
// gradient most of the time, and at jump all are a hundred times as large.
type made struct {
	ops   device.Lane
	spans []model.Span
	after func(span int) // called when a span has been completed; may be nil
}

const (
	madeShards = 9
	jump       = 3
)

func madeGradient(n int, step ringleader.Step, s ringleader.Shard) []float32 {
	rng := rand.New(rand.NewPCG(uint64(step), uint64(s)))
	g := make([]float32, n)
	for i := range g {
		b := i / exact.BlockElements
		v := rng.NormFloat64() * math.Ldexp(1, -(b*7+i%13)%30)
		if step == jump {
			v *= 100
		}
		if b%5 != 2 || (int(step)+b)%4 == 0 {
			g[i] = float32(v)
		}
	}
	return g
}

func (m *made) Gradient(ctx context.Context, _, grad device.F32, step ringleader.Step, s ringleader.Shard, final model.Final) (ShardResult, error) {
	g := madeGradient(grad.N, step, s)
	for i, span := range m.spans {
		device.Upload(m.ops, grad.Slice(span.Lo, span.Hi), g[span.Lo:span.Hi])
		final(i)
		if m.after != nil {
			m.after(i)
		}
		if err := ctx.Err(); err != nil {
			return ShardResult{}, err
		}
	}
	return ShardResult{Result: model.Result{Users: 3, Loss: 1}, Visits: 3, Ledger: uint64(s)}, nil
}

func (*made) Close() {}

// madeEngine is an engine over made gradients, of a model of a few thousand parameters.
func madeEngine(t *testing.T, reduction string, lanes, bucket int, after func(span int)) *Engine {
	t.Helper()
	spec, err := job.Default("tiny")
	noError(t, err)
	what := spec.What
	what.Reduction, what.Shards, what.Model.Init, what.Optimizer.LR = reduction, madeShards, "normal", 1e-3
	m, err := model.NewEncoded(what, 8)
	noError(t, err)
	dev, err := cpu.Open(cpu.Options{Lanes: lanes})
	noError(t, err)
	open := func(ops device.Lane) (Gradients, error) { return &made{ops, m.Spans(), after}, nil }
	e, err := openEngine(EngineConfig{What: what, Model: m, Steps: 100, Device: dev, Open: open}, bucket)
	noError(t, err)
	t.Cleanup(func() { e.Close(); noError(t, dev.Close()) })
	noError(t, e.Initialise())
	return e
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// member makes steps with others, and notes which took a second pass.
type member struct {
	*Engine
	group   *allreduce.Group
	shards  []ringleader.Shard
	widened []ringleader.Step
}

func (m *member) step(ctx context.Context, tr *exact.Trailer) error {
	for wide := false; ; wide = true {
		tr.Reset()
		m.Begin(Pass{Wide: wide})
		early := make(chan error, 1)
		go func() { early <- m.SumEarly(ctx, m.group) }()
		err := m.Compute(ctx, tr, m.shards)
		if err = errors.Join(err, <-early); err != nil {
			return err
		}
		if err := m.Reduce(ctx, m.group, tr); err != nil {
			return err
		}
		if again, err := m.Verify(tr); err != nil {
			return err
		} else if !again {
			return m.Update(tr)
		}
		m.widened = append(m.widened, m.Engine.step+1)
	}
}

// gangOf deals the shards to n members at random, who have lanes as chance has it.
func gangOf(t *testing.T, rng *rand.Rand, reduction string, n, bucket int) []*member {
	t.Helper()
	links := make([][2]*memlink.Link, n)
	for r := range links {
		links[r][0], links[r][1] = memlink.Pair()
	}
	gang := make([]*member, n)
	for r := range gang {
		cfg := allreduce.DefaultConfig()
		cfg.Generation, cfg.Rank, cfg.Size = 1, ringleader.Rank(r), n
		var next, prev allreduce.Link
		if n > 1 {
			next, prev = links[r][0], links[(r+n-1)%n][1]
		}
		group, err := allreduce.NewGroup(cfg, next, prev)
		noError(t, err)
		t.Cleanup(func() { group.Close(nil) })
		gang[r] = &member{Engine: madeEngine(t, reduction, 1+rng.IntN(3), bucket, nil), group: group}
	}
	for _, s := range rng.Perm(madeShards) {
		r := rng.IntN(n)
		gang[r].shards = append(gang[r].shards, ringleader.Shard(s))
	}
	return gang
}

// train makes steps and returns the state's digest, which all members agree on.
func train(t *testing.T, gang []*member, steps int) ringleader.Digest {
	t.Helper()
	var all errgroup.Group
	for _, m := range gang {
		all.Go(func() error {
			tr := m.NewTrailer(len(gang))
			for range steps {
				if err := m.step(t.Context(), tr); err != nil {
					return err
				}
			}
			return nil
		})
	}
	noError(t, all.Wait())
	for r, m := range gang {
		if got, want := m.Digest(false), gang[0].Digest(false); got != want || !slices.Equal(m.widened, gang[0].widened) {
			t.Fatalf("rank %d has state %s after second passes of %v, rank 0 %s after %v", r, got, m.widened, want, gang[0].widened)
		}
	}
	return gang[0].Digest(false)
}

// TestSameBits: whoever has which shards, in whatever order, on however many lanes, with buckets of any size, the state is the same, and so are the steps that take a second pass.
func TestSameBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 12))
	for _, reduction := range []string{"exact64", "exact32", "exact16"} {
		alone := gangOf(t, rng, reduction, 1, 1<<20)
		want, widened := train(t, alone, 6), alone[0].widened
		if narrow := reduction != "exact64"; narrow != slices.Contains(widened, 1) || narrow != slices.Contains(widened, jump+1) {
			t.Errorf("%s: steps %v took a second pass, want the first one and the jump among them if words are narrow", reduction, widened)
		}
		for range 3 {
			n, bucket := 2+rng.IntN(3), exact.BlockElements*(1+rng.IntN(20))
			gang := gangOf(t, rng, reduction, n, bucket)
			if got := train(t, gang, 6); got != want || !slices.Equal(gang[0].widened, widened) {
				t.Errorf("%s: %d members, buckets of %d: state %s, alone %s; second passes %v, alone %v", reduction, n, bucket, got, want, gang[0].widened, widened)
			}
		}
	}
}

// TestErrorBound: the mean is within the codec's bound of the true one.
func TestErrorBound(t *testing.T) {
	for _, reduction := range []string{"exact64", "exact32", "exact16", "float32", "bfloat16"} {
		m := gangOf(t, rand.New(rand.NewPCG(1, 1)), reduction, 1, 4*exact.BlockElements)[0]
		tr := m.NewTrailer(1)
		for step := range ringleader.Step(3) {
			noError(t, m.step(t.Context(), tr))
			n := m.model.Size()
			got, sum, largest := make([]float32, n), make([]float64, n), make([]float64, n)
			device.Download(m.lanes[0].ops, got, m.lanes[0].grad) // the mean that Update read, before it was clipped
			for s := range ringleader.Shard(madeShards) {
				for i, v := range madeGradient(n, step, s) {
					sum[i] += float64(v)
					b := i / exact.BlockElements * exact.BlockElements
					largest[b] = max(largest[b], math.Abs(float64(v)))
				}
			}
			for i, v := range got {
				b := i / exact.BlockElements * exact.BlockElements
				bound := boundOf(reduction, largest[b], sum[i])
				if d := math.Abs(float64(v)*float64(tr.ValidUsers()) - sum[i]); !(d <= bound) {
					t.Fatalf("%s, step %d, element %d: the sum is off by %g, want at most %g", reduction, step, i, d, bound)
				}
			}
		}
	}
}

// boundOf is how far a sum may be from the true one: each shard's rounding, and that of the sum and the mean to float32. A block's exponent is at most room + 1 bits above its
// largest element of the step, or of the one before.
func boundOf(reduction string, largest, sum float64) float64 {
	last := 3 * math.Abs(sum) * 0x1p-24
	narrow := func(words, room int) float64 {
		e := math.Ceil(math.Log2(largest)) + float64(room) + 3 // steps differ by less than 4
		return madeShards*math.Exp2(max(e, exact.MinExponent+1)-float64(exact.Fraction(words, madeShards))-1) + last
	}
	switch reduction {
	case "exact64":
		return madeShards*0x1p-49 + last
	case "exact32":
		return narrow(32, room32)
	case "exact16":
		return narrow(16, room16)
	case "float32":
		return madeShards*largest*madeShards*0x1p-24 + last
	default:
		return madeShards*largest*madeShards*0x1p-9 + last
	}
}

// TestForkedExponents: a job may go on from the state of one that had no exponents, and the other way round.
func TestForkedExponents(t *testing.T) {
	from, to := madeEngine(t, "exact64", 1, 1<<20, nil), madeEngine(t, "exact32", 1, 1<<20, nil)
	st, err := from.snapshot()
	noError(t, err)
	if st.Exponents != nil {
		t.Errorf("%d exponents in a state of exact64", len(st.Exponents))
	}
	noError(t, to.load(st))
	st, err = to.snapshot()
	noError(t, err)
	if !slices.Equal(st.Exponents, exact.FirstExponents(exact.Blocks(to.model.Size()))) {
		t.Errorf("exponents %v, want those of the first step", st.Exponents)
	}
	noError(t, from.load(st))
	if st.Digest() != to.Digest(false) {
		t.Errorf("the engine's digest is %s, the state's %s", to.Digest(false), st.Digest())
	}
}

// TestComputeGivesUp: what is half done when ctx ends is left undone, and leaves nothing behind.
func TestComputeGivesUp(t *testing.T) {
	for _, reduction := range []string{"exact64", "exact32", "bfloat16"} {
		ctx, cancel := context.WithCancel(t.Context())
		spans, stopAt := 0, 0
		after := func(int) {
			if spans++; spans == stopAt {
				cancel()
			}
		}
		e, fresh := madeEngine(t, reduction, 1, exact.BlockElements, after), madeEngine(t, reduction, 1, exact.BlockElements, nil)
		stopAt = e.sum.all() + 2 // in the middle of the second shard
		e.Begin(Pass{})
		if err := e.Compute(ctx, e.NewTrailer(1), []ringleader.Shard{4, 2, 7}); !errors.Is(err, context.Canceled) || spans != stopAt {
			t.Errorf("%s: after %d spans of three shards of %d: %v, want it to end at %d", reduction, spans, e.sum.all(), err, stopAt)
		}
		for _, e := range []*Engine{e, fresh} {
			group, err := allreduce.NewGroup(allreduce.DefaultConfig(), nil, nil)
			noError(t, err)
			m := &member{Engine: e, group: group, shards: []ringleader.Shard{4, 2, 7}}
			noError(t, m.step(t.Context(), m.NewTrailer(1)))
			group.Close(nil)
		}
		if got, want := e.Digest(false), fresh.Digest(false); got != want {
			t.Errorf("%s: state %s after a step that was begun twice, want %s", reduction, got, want)
		}
	}
}

// tapped is a codec that tells what travels.
type tapped struct {
	codec[int64]
	sent chan uint32
}

func (c tapped) ring(ctx context.Context, group *allreduce.Group, step ringleader.Step, bucket uint32, part []int64) error {
	c.sent <- bucket
	return c.codec.ring(ctx, group, step, bucket, part)
}

// TestSumEarly: what is complete of a lane's last shard travels while the rest of it is computed; nothing travels before.
func TestSumEarly(t *testing.T) {
	var s *sums[int64]
	var spans int // completed, of both shards
	sent, order := make(chan uint32, 1000), []uint32(nil)
	after := func(span int) {
		if spans++; spans <= s.all() { // the first shard
			if n := s.complete(); n != 0 {
				t.Errorf("%d buckets are complete after %d spans of the first of two shards", n, spans)
			}
			return
		}
		for span+1 < s.all() && len(order) < s.after[span+1] { // with the last one the rest may be left to Reduce
			order = append(order, <-sent)
		}
	}
	e := madeEngine(t, "exact64", 1, exact.BlockElements, after)
	s = e.sum.(*sums[int64])
	s.codec = tapped{s.codec, sent}
	group, err := allreduce.NewGroup(allreduce.DefaultConfig(), nil, nil)
	noError(t, err)
	m := &member{Engine: e, group: group, shards: []ringleader.Shard{4, 2}}
	noError(t, m.step(t.Context(), m.NewTrailer(1)))
	group.Close(nil)
	if early := s.after[s.all()-1]; early < len(s.buckets)/2 {
		t.Errorf("%d of %d buckets are complete before the last span", early, len(s.buckets))
	}
	for close(sent); len(sent) > 0; {
		order = append(order, <-sent)
	}
	for i, b := range s.buckets {
		if len(order) != len(s.buckets) || order[i] != uint32(b.number) {
			t.Fatalf("buckets travelled in the order %v, want %v", order, s.buckets)
		}
	}
}
