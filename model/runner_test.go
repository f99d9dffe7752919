package model

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// countingDevice counts what is reserved.
type countingDevice struct {
	device.Device
	mallocs, live int
}

func (d *countingDevice) Malloc(bytes int) (uintptr, error) {
	d.mallocs++
	d.live++
	return d.Device.Malloc(bytes)
}

func (d *countingDevice) Free(addr uintptr) {
	d.live--
	d.Device.Free(addr)
}

// Memory is reserved when a batch is larger than all before it, never otherwise, and given back in the end.
func TestMemoryIsReused(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	counting := &countingDevice{Device: s.dev}
	run, err := s.m.NewRunner(counting, s.lane, device.Matrix(s.dev32["vectors"], s.m.sizes.items, s.m.sizes.vector), s.logQ)
	if err != nil {
		t.Fatal(err)
	}
	s.run = run
	large, small := randomBatch(random(4), s.m, 6, 6, 6, 6), randomBatch(random(4), s.m, 2, 3)
	want, _ := s.gradient(t, small)
	s.gradient(t, large)
	before := counting.mallocs
	for range 3 {
		s.gradient(t, large)
		got, _ := s.gradient(t, small)
		mustEqual(t, "gradient in reused memory", got, want)
		s.users(t, large)
	}
	if counting.mallocs != before {
		t.Errorf("%d allocations in later steps", counting.mallocs-before)
	}
	run.Close()
	if counting.live != 0 {
		t.Errorf("%d allocations left after Close", counting.live)
	}
}

// trim cuts a batch to n tokens.
func trim(b *dataset.Batch, n int) {
	b.Item, b.TimeMS, b.Action, b.Surface, b.Duration = b.Item[:n], b.TimeMS[:n], b.Action[:n], b.Surface[:n], b.Duration[:n]
}

// What would read outside of a table is refused before anything runs.
func TestGradientRefuses(t *testing.T) {
	s := newSetup(t, tinyWhat(), tinyMeta())
	params, grad := s.upload(t, "params", s.params), s.upload(t, "grad", make([]float32, s.m.Size()))
	for want, change := range map[string]func(b *dataset.Batch){
		"item 2 is 20: want 0 to 19":                  func(b *dataset.Batch) { b.Item[2] = 20 },
		"action 0 is 3: want 0 to 2":                  func(b *dataset.Batch) { b.Action[0] = 3 },
		"surface 1 is -1: want 0 to 1":                func(b *dataset.Batch) { b.Surface[1] = -1 },
		"positive 0 is 99":                            func(b *dataset.Batch) { b.PosItem[0] = 99 },
		"own positive 0 is -3":                        func(b *dataset.Batch) { b.OwnItem[0] = -3 },
		"negative 11 is 20":                           func(b *dataset.Batch) { b.Negative[11] = 20 },
		"times of the tokens of user 1 are not":       func(b *dataset.Batch) { b.TimeMS[6] = b.TimeMS[5] - 1 },
		"times of the positives of user 0 are not":    func(b *dataset.Batch) { b.PosTimeMS[1] = b.PosTimeMS[0] - 1 },
		"want one for each token":                     func(b *dataset.Batch) { b.Duration = b.Duration[1:] },
		"offsets: user 0 has 7, want 0 to 6":          func(b *dataset.Batch) { b.Offset[1] = 7 },
		"offsets: user 1 has -1":                      func(b *dataset.Batch) { trim(b, 4); b.Offset[2] = 4 },
		"offsets of 2 users: want 3":                  func(b *dataset.Batch) { b.Offset = b.Offset[:2] },
		"offsets of positives of 2 users":             func(b *dataset.Batch) { b.PosOffset[2]++ },
		"offsets of own positives of 2 users":         func(b *dataset.Batch) { b.OwnOffset = nil },
		"positives, 1 times of them":                  func(b *dataset.Batch) { b.PosTimeMS = b.PosTimeMS[:1] },
		"step 3, shard 5: the pool of negatives is e": func(b *dataset.Batch) { b.Negative = nil },
	} {
		b := randomBatch(random(4), s.m, 5, 4)
		change(b)
		if _, err := s.run.Gradient(t.Context(), params, grad, b, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	b := randomBatch(random(4), s.m, 5, 4)
	if _, err := s.run.Gradient(t.Context(), params.Slice(1, params.N), grad, b, nil); err == nil {
		t.Error("too few parameters: no error")
	}
	if _, err := s.run.Gradient(t.Context(), params, grad.Slice(1, grad.N), b, nil); err == nil {
		t.Error("too short a gradient: no error")
	}
	if err := s.run.Users(params, b, make([]float32, 3)); err == nil {
		t.Error("too little room for users: no error")
	}
	if err := s.run.Items(params, make([]float32, 3)); err == nil {
		t.Error("too little room for items: no error")
	}
	if _, err := s.m.NewRunner(s.dev, s.lane, device.Matrix(s.dev32["vectors"], 1, 5), nil); err == nil {
		t.Error("too few item vectors: no error")
	}
	bare, err := s.m.NewRunner(s.dev, s.lane, device.Matrix(s.dev32["vectors"], s.m.sizes.items, s.m.sizes.vector), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	if _, err := bare.Gradient(t.Context(), params, grad, b, nil); err == nil || !strings.Contains(err.Error(), "log Q of 0 items, want 20") {
		t.Errorf("without log Q: %v", err)
	}
	// The runner is as good as before.
	if _, err := s.run.Gradient(t.Context(), params, grad, b, nil); err != nil {
		t.Error(err)
	}
}

// lasting is a context that ends when it is looked at once too often.
type lasting struct {
	context.Context
	looks int
}

func (l *lasting) Err() error {
	if l.looks--; l.looks < 0 {
		return context.Canceled
	}
	return nil
}

// TestGradientGivesUp: whenever its context ends, a gradient does not go on for long, and the runner is as good as before.
func TestGradientGivesUp(t *testing.T) {
	what := tinyWhat()
	what.Model.Dropout, what.Model.Layers = .1, 8
	s := newSetup(t, what, tinyMeta())
	b := randomBatch(random(4), s.m, 5, 4)
	want, _ := s.gradient(t, b)
	params, grad := s.dev32["params"], s.dev32["grad"]
	operators, spans := []uint64{0}, []int{0} // by how often the context was looked at
	for err := context.Canceled; err != nil; {
		before, told := s.beat.Load(), 0
		_, err = s.run.Gradient(&lasting{t.Context(), len(operators) - 1}, params, grad, b, func(int) { told++ })
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		operators, spans = append(operators, s.beat.Load()-before), append(spans, told)
	}
	if looks := len(operators) - 2; looks < 2*what.Model.Layers {
		t.Errorf("the context was looked at %d times, want once for each block, there and back, at least", looks)
	}
	if last := spans[len(spans)-1]; last != len(s.m.Spans()) {
		t.Errorf("a gradient that lasts told of %d spans, want %d", last, len(s.m.Spans()))
	}
	most := operators[len(operators)-1] / uint64(what.Model.Layers) // no more than a block, there and back
	for i := 2; i < len(operators); i++ {
		if more := operators[i] - operators[i-1]; more > most || operators[i] < operators[i-1] || spans[i] < spans[i-1] {
			t.Errorf("after %d looks at the context %d operators have run and %d spans were told of, after %d it is %d and %d: want at most %d more operators",
				i-2, operators[i-1], spans[i-1], i-1, operators[i], spans[i], most)
		}
	}
	if got, _ := s.gradient(t, b); !slices.Equal(got, want) {
		t.Error("another gradient after one that was given up")
	}
}
