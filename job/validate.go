package job

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Validate checks a complete job. The error joins one *FieldError for each thing that is wrong.
func (s *Spec) Validate() error { return errors.Join(s.problems()...) }

func (s *Spec) problems() []error {
	c := &checker{}
	if n := utf8.RuneCountInString(s.Name); n < 1 || n > 100 || !printable(s.Name) {
		c.fail("name", "is %q; want 1 to 100 printable characters", clip(s.Name))
	}
	c.what(&s.What)
	c.model(&s.What.Model)
	c.loss(&s.What)
	c.optimizer(&s.What.Optimizer)
	c.how(&s.How, &s.What)
	return c.errs
}

// printable refuses what a terminal or JSON would not give back as it is.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

type checker struct{ errs []error }

func (c *checker) fail(field, format string, args ...any) {
	c.errs = append(c.errs, &FieldError{field, fmt.Sprintf(format, args...)})
}

func (c *checker) whole(field string, x int64, low, high int64) {
	if x < low || x > high {
		c.fail(field, "is %d; want %d to %d", x, low, high)
	}
}

func (c *checker) choice(field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		c.fail(field, "is %q; allowed: %s", clip(value), strings.Join(allowed, ", "))
	}
}

// number fails NaN too: it is in no range.
func (c *checker) number(field string, x float64, ok bool, want string) {
	if !ok || math.IsNaN(x) || math.IsInf(x, 0) {
		c.fail(field, "is %g; want %s", x, want)
	}
}

func (c *checker) place(field, value, example string) {
	if value == "" {
		c.fail(field, "is missing; want a folder or URL, as in %s", example)
		return
	}
	if len(value) > 4096 || !printable(value) {
		c.fail(field, "is %q; want at most 4096 printable characters", clip(value))
		return
	}
	if !strings.Contains(value, "://") {
		return
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		c.fail(field, "is no URL that can be read; want one as in %s", example) // the error would repeat a password
	case u.User != nil:
		c.fail(field, "has a user or password in its URL, which would travel with the job; want credentials in the workers' own environment")
	case u.Scheme != "file" && u.Scheme != "s3":
		c.fail(field, "has scheme %q; allowed: file, s3, or a plain path", clip(u.Scheme))
	case u.Scheme == "s3" && u.Host == "":
		c.fail(field, "is %q, which names no bucket; want one as in %s", clip(value), example)
	case u.Scheme == "file" && (u.Host != "" || u.Path == ""):
		c.fail(field, "is %q, which names no folder of this machine; want one as in file:///srv/retail, or a plain path", clip(value))
	}
}

func (c *checker) what(w *What) {
	c.place("what.data", w.Data, "s3://bucket/retail")
	if d := w.DataDigest; d != "" && (len(d) != 64 || strings.Trim(d, "0123456789abcdef") != "") {
		c.fail("what.data_digest", "is %q; want the 64 hex digits of the data set's digest, or nothing", clip(d))
	}
	c.whole("what.shards", int64(w.Shards), 1, maxShards)
	c.whole("what.users_per_shard", int64(w.UsersPerShard), 1, 1<<16)
	c.whole("what.steps", w.Steps, 0, maxSteps)
	c.whole("what.epochs", w.Epochs, 0, 1<<20)
	if (w.Steps != 0) == (w.Epochs != 0) {
		c.fail("what.steps", "is %d and what.epochs is %d; want exactly one of them given", w.Steps, w.Epochs)
	}
	c.choice("what.precision", w.Precision, "float32", "bfloat16")
	c.choice("what.reduction", w.Reduction, "exact64", "exact32", "exact16", "float32", "bfloat16")
	if w.Reduction == "exact16" && w.Shards > maxShards16 {
		c.fail("what.reduction", "is \"exact16\" with what.shards %d; want at most %d shards, for the sum of more leaves a shard too few of 16 bits", w.Shards, maxShards16)
	}
	c.choice("what.mixed", w.Mixed, "refuse", "allow")
	if w.ISA != "" {
		c.choice("what.isa", w.ISA, "avx2", "avx512", "avx512_bf16", "amx")
	}
}

const (
	maxShards = 1 << 12 // a trailer has lanes for every shard
	maxSteps  = 1 << 40

	maxShards16 = 1 << 8 // with exact16: a shard's elements have 7 bits and a sign
)

func (c *checker) model(m *Model) {
	c.choice("what.model.preset", m.Preset, Presets()...)
	c.whole("what.model.layers", int64(m.Layers), 1, 64)
	c.whole("what.model.width", int64(m.Width), 1, 1<<13)
	c.whole("what.model.heads", int64(m.Heads), 1, 1<<8)
	c.whole("what.model.ffn", int64(m.FFN), 1, 1<<15)
	c.whole("what.model.dim", int64(m.Dim), 1, 1<<12)
	c.whole("what.model.window", int64(m.Window), 1, 1<<13)
	c.whole("what.model.action_dim", int64(m.ActionDim), 1, 1<<10)
	c.whole("what.model.surface_dim", int64(m.SurfaceDim), 1, 1<<10)
	c.whole("what.model.item_hidden", int64(m.ItemHidden), 1, 1<<15)
	c.number("what.model.dropout", m.Dropout, m.Dropout >= 0 && m.Dropout < 1, "at least 0, less than 1")
	c.number("what.model.temperature", m.Temperature, m.Temperature >= .01 && m.Temperature <= 10, "at least 0.01, at most 10")
	c.choice("what.model.init", m.Init, "identity", "normal")
	if m.Heads > 0 && m.Width > 0 && m.Width%m.Heads != 0 {
		c.fail("what.model.heads", "is %d; want a divisor of what.model.width, which is %d", m.Heads, m.Width)
	}
	if m.Init == "identity" {
		c.identity(m)
	}
}

// identity is what the identity start needs and can be told without the data: GELU(x) - GELU(-x) = x takes two inner lanes a lane.
func (c *checker) identity(m *Model) {
	if m.Width != m.Dim {
		c.fail("what.model.init", "is \"identity\", which wants what.model.width and what.model.dim equal; they are %d and %d", m.Width, m.Dim)
	}
	if m.FFN < 2*m.Width {
		c.fail("what.model.init", "is \"identity\", which wants what.model.ffn at least twice what.model.width; they are %d and %d", m.FFN, m.Width)
	}
}

func (c *checker) loss(w *What) {
	l, n := &w.Loss, &w.Negatives
	c.objective(l, w.Model.Window)
	c.number("what.loss.horizon_days", l.HorizonDays, l.HorizonDays > 0 && l.HorizonDays <= 3650, "more than 0, at most 3650")
	c.choice("what.loss.logq", l.LogQ, "on", "off", "corrected")
	c.whole("what.negatives.in_batch", int64(n.InBatch), 0, 1<<20)
	c.whole("what.negatives.random", int64(n.Random), 0, 1<<20)
	if n.InBatch > 0 && w.UsersPerShard == 1 {
		c.fail("what.negatives.in_batch", "is %d with what.users_per_shard 1; want 0, or shards of at least 2 users: in-batch negatives are what a shard's other users want", n.InBatch)
	}
	if n.InBatch == 0 && n.Random == 0 {
		c.fail("what.negatives", "has in_batch 0 and random 0; want at least one negative: what a positive is compared with, and what logq is about")
	}
}

// objective refuses switches that would do nothing.
func (c *checker) objective(l *Loss, window int) {
	c.choice("what.loss.objective", l.Objective, Objectives()...)
	c.choice("what.loss.weights", l.Weights, "seed", "pairs")
	c.choice("what.loss.newest_weight", l.NewestWeight, "one", "equal")
	if !slices.Contains(Objectives(), l.Objective) {
		return
	}
	if l.Weights == "pairs" && l.Objective != "dense_all_action_exact" {
		c.fail("what.loss.weights", "is \"pairs\"; want seed for the objective %s: no user of it has positions with unlike numbers of targets", l.Objective)
	}
	if l.NewestWeight == "equal" && l.Objective != "dense_all_action_exact" && l.Objective != "sasrec" {
		c.fail("what.loss.newest_weight", "is \"equal\"; want one for the objective %s: it does not train every position of a user", l.Objective)
	}
	if l.Objective == "dense_all_action" {
		c.whole("what.loss.positions", int64(l.Positions), 1, int64(max(window, 1)))
	} else if l.Positions != 0 {
		c.fail("what.loss.positions", "is %d; want 0 for the objective %s: only dense_all_action draws positions", l.Positions, l.Objective)
	}
}

func (c *checker) optimizer(o *Optimizer) {
	c.choice("what.optimizer.name", o.Name, "adamw", "adam")
	if o.Name == "adam" && o.WeightDecay != 0 {
		c.fail("what.optimizer.weight_decay", "is %g; want 0 for the optimizer adam, or adamw, which decays weights apart from the gradient", o.WeightDecay)
	}
	c.number("what.optimizer.lr", o.LR, o.LR > 0 && o.LR <= 1, "more than 0, at most 1")
	c.number("what.optimizer.beta1", o.Beta1, o.Beta1 >= 0 && o.Beta1 < 1, "at least 0, less than 1")
	c.number("what.optimizer.beta2", o.Beta2, o.Beta2 >= 0 && o.Beta2 < 1, "at least 0, less than 1")
	c.number("what.optimizer.eps", o.Eps, o.Eps >= 1e-16 && o.Eps <= .01, "at least 1e-16, at most 0.01")
	c.number("what.optimizer.weight_decay", o.WeightDecay, o.WeightDecay >= 0 && o.WeightDecay <= 1, "at least 0, at most 1")
	c.choice("what.optimizer.schedule", o.Schedule, "cosine", "constant")
	c.number("what.optimizer.warmup", o.Warmup, o.Warmup >= 0 && o.Warmup < 1, "a fraction of the steps: at least 0, less than 1")
	c.number("what.optimizer.clip", o.Clip, o.Clip >= 0 && o.Clip <= 1e6, "a norm, at most 1e6, or 0 for none")
}

func (c *checker) how(h *How, w *What) {
	shards := w.Shards
	if h.Store != "" { // whoever submits or runs the job knows whether there is a default
		c.place("how.store", h.Store, "s3://bucket/checkpoints")
	}
	c.whole("how.evaluate.every", h.Evaluate.Every, 0, maxSteps)
	c.whole("how.verify.every", h.Verify.Every, 0, maxSteps)
	if h.Verify.Every > 0 && w.Mixed == "allow" {
		c.fail("how.verify.every", "is %d with what.mixed: allow; want 0, for workers that differ in their last bits cannot check each other", h.Verify.Every)
	}
	c.retention(&h.Checkpoint, h.Evaluate.Every)
	c.whole("how.workers.min", int64(h.Workers.Min), 1, maxShards)
	c.whole("how.workers.max", int64(h.Workers.Max), 1, maxShards)
	if h.Workers.Max > shards && shards > 0 {
		c.fail("how.workers.max", "is %d: %d workers for %d shards; want at most one worker a shard", h.Workers.Max, h.Workers.Max, shards)
	}
	if h.Workers.Min > h.Workers.Max {
		c.fail("how.workers.min", "is %d; want at most how.workers.max, which is %d", h.Workers.Min, h.Workers.Max)
	}
	c.choice("how.device", h.Device, "cpu", "cuda")
	c.whole("how.priority", int64(h.Priority), -1000, 1000)
	c.whole("how.stop_at", h.StopAt, 0, maxSteps)
	if w.Steps > 0 && h.StopAt > w.Steps && h.StopAt <= maxSteps {
		c.fail("how.stop_at", "is %d; want at most what.steps, which is %d, or 0 to run to the end", h.StopAt, w.Steps)
	}
	c.duration("how.deadlines.hang", h.Deadlines.Hang, time.Hour)
	c.duration("how.deadlines.store", h.Deadlines.Store, time.Hour)
	c.duration("how.deadlines.holder", h.Deadlines.Holder, 24*time.Hour)
	c.duration("how.deadlines.assemble", h.Deadlines.Assemble, time.Hour)
}

// retention wants that what is to be kept exists: a checkpoint at every step that is kept for good, and at every one that is evaluated.
func (c *checker) retention(k *Checkpoint, evaluate int64) {
	c.whole("how.checkpoint.every", k.Every, 0, maxSteps)
	c.whole("how.checkpoint.keep", int64(k.Keep), 1, 1<<10)
	c.whole("how.checkpoint.keep_every", k.KeepEvery, 0, maxSteps)
	c.whole("how.checkpoint.keep_best", int64(k.KeepBest), 0, 1<<10)
	multiple := func(x int64) bool { return k.Every > 0 && x > 0 && x%k.Every == 0 }
	if k.KeepEvery > 0 && !multiple(k.KeepEvery) {
		c.fail("how.checkpoint.keep_every", "is %d; want a multiple of how.checkpoint.every, which is %d", k.KeepEvery, k.Every)
	}
	if k.KeepBest > 0 && !multiple(evaluate) {
		c.fail("how.checkpoint.keep_best", "is %d; want how.evaluate.every, which is %d, to be a multiple of how.checkpoint.every, which is %d", k.KeepBest, evaluate, k.Every)
	}
}

func (c *checker) duration(field string, d Duration, most time.Duration) {
	if least := 100 * time.Millisecond; time.Duration(d) < least || time.Duration(d) > most {
		c.fail(field, "is %s; want %s to %s", d, least, most)
	}
}
