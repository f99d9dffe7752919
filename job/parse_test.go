package job_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader/job"
)

const minimal = "what: {data: d, steps: 10}\nhow: {store: s}\n"

func parse(t *testing.T, doc string, set ...string) job.Spec {
	t.Helper()
	s, err := job.Parse([]byte(doc), "/jobs", set...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseFillsInDefaults(t *testing.T) {
	got := parse(t, minimal)
	want, err := job.Default("small")
	if err != nil {
		t.Fatal(err)
	}
	want.What.Data, want.What.Steps, want.How.Store = "/jobs/d", 10, "/jobs/s"
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	m := got.What.Model
	if m.Layers != 2 || m.Width != 128 || m.Dim != 128 || m.Heads != 4 || m.FFN != 512 || m.Window != 64 {
		t.Errorf("preset small: %+v", m)
	}
	if got.What.Shards != 24 || got.How.Workers != (job.Workers{Min: 1, Max: 24}) || got.How.Deadlines.Hang != job.Duration(2*time.Second) {
		t.Errorf("defaults: %+v", got)
	}
}

func TestPresetsAreValid(t *testing.T) {
	sizes := map[string][5]int{
		"tiny": {1, 32, 128, 32, 16}, "small": {2, 128, 512, 128, 64},
		"pinnerformer": {6, 768, 3072, 256, 256}, "seed": {6, 768, 3072, 256, 255},
	}
	for _, name := range job.Presets() {
		m := parse(t, minimal, "what.model.preset="+name).What.Model
		if got := [5]int{m.Layers, m.Width, m.FFN, m.Dim, m.Window}; got != sizes[name] || m.Preset != name {
			t.Errorf("%s: %v, want %v", name, got, sizes[name])
		}
	}
	w := parse(t, minimal, "what.model.preset=pinnerformer").What
	if w.UsersPerShard != 128 || w.Negatives != (job.Negatives{InBatch: 5000, Random: 8192}) {
		t.Errorf("pinnerformer: %+v", w)
	}
}

// A value that is written down is never replaced, zero included, wherever the preset stands.
func TestPresetNeverOverridesGivenValues(t *testing.T) {
	s := parse(t, `
what:
  data: d
  epochs: 2
  users_per_shard: 3
  optimizer: {clip: 0, weight_decay: 0, lr: 0.5}
  negatives: {random: 0}
  model: {dropout: 0, layers: 1, ffn: 300, preset: small}
how: {store: s, checkpoint: {every: 0}}
`)
	m, o := s.What.Model, s.What.Optimizer
	if m.Dropout != 0 || m.Layers != 1 || m.FFN != 300 || o.Clip != 0 || o.WeightDecay != 0 || o.LR != .5 || o.Beta2 != .98 {
		t.Errorf("model %+v, optimizer %+v", m, o)
	}
	if s.What.Negatives != (job.Negatives{InBatch: 256}) || s.What.UsersPerShard != 3 || s.How.Checkpoint != (job.Checkpoint{Every: 0, Keep: 3}) {
		t.Errorf("%+v", s)
	}
	if s := parse(t, minimal, "what.model.width=64", "what.model.dim=64"); s.What.Model.FFN != 256 {
		t.Errorf("ffn %d does not follow the width", s.What.Model.FFN)
	}
	if s := parse(t, minimal, "what.shards=5"); s.How.Workers.Max != 5 {
		t.Errorf("workers.max %d does not follow the shards", s.How.Workers.Max)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"what.optimizer.lr=.nan", `what.optimizer.lr is ".nan"; want a number`},
		{"what.optimizer.lr=NaN", "what.optimizer.lr is NaN; want more than 0, at most 1"},
		{"what.optimizer.lr=0", "what.optimizer.lr is 0; want more than 0"},
		{"what.optimizer.lr=-1", "what.optimizer.lr is -1"},
		{"what.optimizer.lr=+Inf", "what.optimizer.lr is +Inf"},
		{"what.optimizer.name=sgd", `what.optimizer.name is "sgd"; allowed: adamw, adam`},
		{"what.optimizer.schedule=step", "allowed: cosine, constant"},
		{"what.optimizer.beta2=1", "what.optimizer.beta2 is 1; want at least 0, less than 1"},
		{"what.optimizer.momentum=1", `unknown key "momentum" under what.optimizer (allowed: name, lr, beta1`},
		{"what.optimiser.lr=1", `unknown key "optimiser" under what; did you mean optimizer?`},
		{"wat.seed=1", `unknown key "wat" at the top; did you mean what? (allowed: name, what, how)`},
		{"what.seed.x=1", "what.seed is a group of keys; want one value"},
		{"what.model=1", `what.model is "1"; want keys: preset, layers`},
		{"what.seed=-1", `what.seed is "-1"; want a whole number, 0 to`},
		{"what.seed=1.5", `what.seed is "1.5"; want a whole number`},
		{"what.shards=1e2", `what.shards is "1e2"; want a whole number`},
		{"what.shards=0", "what.shards is 0; want 1 to 4096"},
		{"what.users_per_shard=99999999999999999999", "want a whole number"},
		{"how.workers.min=0", "how.workers.min is 0; want 1 to"},
		{"how.workers.max=0", "how.workers.max is 0; want 1 to"},
		{"how.workers.max=25", "25 workers for 24 shards"},
		{"how.workers.min=25", "how.workers.min is 25; want at most how.workers.max, which is 24"},
		{"what.model.preset=huge", `what.model.preset is "huge"; allowed: pinnerformer, seed, small, tiny`},
		{"what.model.heads=3", "what.model.heads is 3; want a divisor of what.model.width, which is 128"},
		{"what.model.dim=64", `what.model.init is "identity", which wants what.model.width and what.model.dim equal; they are 128 and 64`},
		{"what.model.ffn=255", "what.model.ffn at least twice"},
		{"what.model.init=zero", "allowed: identity, normal"},
		{"what.model.dropout=1", "what.model.dropout is 1"},
		{"what.model.temperature=0.001", "at least 0.01"},
		{"what.model.drop_features.gap_time=yes", "want true or false"},
		{"what.loss.objective=bce", "allowed: dense_all_action_exact, dense_all_action, all_action, sasrec, next"},
		{"what.loss.newest_weight=two", "allowed: one, equal"},
		{"what.loss.positions=4", "what.loss.positions is 4; want 0 for the objective dense_all_action_exact"},
		{"what.loss.weights=x", "allowed: seed, pairs"},
		{"what.loss.logq=true", "allowed: on, off, corrected"},
		{"what.loss.horizon_days=0", "what.loss.horizon_days is 0"},
		{"what.negatives.in_batch=-1", "what.negatives.in_batch is -1"},
		{"what.precision=float16", "allowed: float32, bfloat16"},
		{"what.reduction=exact8", "allowed: exact64, exact32, exact16, float32, bfloat16"},
		{"what.mixed=maybe", "allowed: refuse, allow"},
		{"what.isa=sse", "allowed: avx2, avx512, avx512_bf16, amx"},
		{"what.epochs=3", "what.steps is 10 and what.epochs is 3; want exactly one"},
		{"what.steps=0", "what.steps is 0 and what.epochs is 0; want exactly one"},
		{"what.steps=-4", "what.steps is -4"},
		{"what.data=", "what.data is missing"},
		{"how.store=s4://bucket", `how.store has scheme "s4"; allowed: file, s3`},
		{"what.data_digest=xyz", "64 hex digits"},
		{"how.device=tpu", `how.device is "tpu"; allowed: cpu, cuda`},
		{"how.deadlines.hang=2", `how.deadlines.hang is "2"; want a number and a unit`},
		{"how.deadlines.hang=1ms", "how.deadlines.hang is 1ms; want 100ms to 1h0m0s"},
		{"how.checkpoint.keep=0", "how.checkpoint.keep is 0"},
		{"how.checkpoint.keep_every=150", "how.checkpoint.keep_every is 150; want a multiple of how.checkpoint.every, which is 100"},
		{"how.verify.every=-1", "how.verify.every is -1; want 0 to 1099511627776"},
		{"how.checkpoint.keep_best=2", "how.checkpoint.keep_best is 2; want how.evaluate.every, which is 0, to be a multiple of how.checkpoint.every, which is 100"},
		{"how.stop_at=-1", "how.stop_at is -1"},
		{"how.priority=5000", "how.priority is 5000"},
		{"name=", "name is \"\""},
		{"nonsense", "want field=value"},
	} {
		_, err := job.Parse([]byte(minimal), "/jobs", c.line)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got  %v\n want %s", c.line, err, c.want)
		}
		s := parse(t, minimal)
		before := s
		if err := job.Set(&s, c.line); err == nil || s != before {
			t.Errorf("Set %s: error %v, changed %t", c.line, err, s != before)
		}
	}
}

// TestReductions: all are allowed, but words of 16 bits have no room for the sum of many shards.
func TestReductions(t *testing.T) {
	for _, c := range []struct {
		reduction, shards string
		ok                bool
	}{{"exact64", "4096", true}, {"exact32", "4096", true}, {"float32", "4096", true}, {"bfloat16", "4096", true}, {"exact16", "256", true}, {"exact16", "257", false}} {
		_, err := job.Parse([]byte(minimal), "/jobs", "what.reduction="+c.reduction, "what.shards="+c.shards, "how.workers.max=1")
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), `what.reduction is "exact16" with what.shards 257; want at most 256 shards`) {
			t.Errorf("%s with %s shards: %v", c.reduction, c.shards, err)
		}
	}
}

// Workers whose arithmetic differs cannot check each other's gradients.
func TestVerifyNeedsOneClass(t *testing.T) {
	if _, err := job.Parse([]byte(minimal), "/jobs", "how.verify.every=2"); err != nil {
		t.Error(err)
	}
	_, err := job.Parse([]byte(minimal), "/jobs", "how.verify.every=2", "what.mixed=allow")
	if err == nil || !strings.Contains(err.Error(), "how.verify.every is 2 with what.mixed: allow") {
		t.Errorf("verified by workers of any class: %v", err)
	}
}

func TestParseRefusesDocuments(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"line of an unknown key", "what:\n  data: d\n  sede: 1\n", `line 3: unknown key "sede" under what; did you mean seed?`},
		{"line of a bad value", minimal + "name: \"a\\nb\"\n", "line 3: name is"},
		{"empty", "", "what.data is missing"},
		{"twice", "name: a\nname: b\n", "line 2: name is given twice"},
		{"list", "[1, 2]", "line 1: is a list; want keys: name, what, how"},
		{"value missing", "what:\n  seed:\n", "line 2: what.seed is empty; want one value"},
		{"alias", "name: &a x\nhow: {store: *a}\n", "line 2: how.store is an alias"},
		{"merge", "how:\n  <<: {store: x}\n", `line 2: unknown key "<<" under how`},
		{"two documents", minimal + "---\n" + minimal, "second document"},
		{"no YAML", "what: [", "parse job file"},
		{"tab", "what:\n\tdata: x", "parse job file"},
		{"long", strings.Repeat("# comment\n", 200_000), "want at most 1048576"},
		{"password", strings.Replace(minimal, "store: s", "store: 's3://me:secret@h/b'", 1), "how.store has a user or password"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := job.Parse([]byte(c.doc), "/jobs")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestParseReportsEverythingAtOnce(t *testing.T) {
	_, err := job.Parse([]byte("what:\n  steps: 5\n  optimizer:\n    lr: 0\n    beta1: 2\nhow:\n  workers: {max: 99}\n"), "/jobs")
	for _, want := range []string{
		"what.data is missing", "line 4: what.optimizer.lr", "line 5: what.optimizer.beta1", "line 7: how.workers.max is 99",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	_, err = job.Parse([]byte("nmae: x\nwhat: {seed: x, model: {preset: y}}\n"), "/jobs", "a=1", "b")
	for _, want := range []string{`did you mean name?`, "what.seed", "what.model.preset", "--set a=1: unknown key", `set "b": want field=value`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if n := strings.Count(fmt.Sprint(err), "preset"); n != 1 {
		t.Errorf("the preset is blamed %d times: %v", n, err)
	}
}

func TestSet(t *testing.T) {
	s := parse(t, minimal, "what.optimizer.lr=0.01", "name=a=b", "what.model.drop_features.item=true", "how.deadlines.hang=1m30s", "what.seed=18_446_744_073_709_551_615")
	if s.What.Optimizer.LR != .01 || s.Name != "a=b" || !s.What.Model.Drop.Item || s.How.Deadlines.Hang != job.Duration(90*time.Second) || s.What.Seed != math.MaxUint64 {
		t.Errorf("%+v", s)
	}
	if err := job.Set(&s, "what.steps=0", "what.epochs=4", "how.workers.max=2"); err != nil {
		t.Fatal(err)
	}
	if s.What.Epochs != 4 || s.What.Steps != 0 || s.How.Workers.Max != 2 || s.What.Optimizer.LR != .01 {
		t.Errorf("%+v", s)
	}
	if err := job.Set(&s, "what.model.preset=tiny"); err == nil || !strings.Contains(err.Error(), "single sizes") {
		t.Errorf("preset of a complete job changed: %v", err)
	}
}

func TestStoreMayBeLeftOut(t *testing.T) {
	if s := parse(t, "what: {data: d, steps: 1}"); s.How.Store != "" {
		t.Errorf("store %q", s.How.Store)
	}
}

func TestPlaces(t *testing.T) {
	for given, want := range map[string]string{
		"x": "/jobs/x", "../x": "/x", "/x": "/x", "s3://b/x": "s3://b/x", "file:///x": "file:///x",
	} {
		s := parse(t, minimal, "what.data="+given, "how.store="+given)
		if s.What.Data != want || s.How.Store != want {
			t.Errorf("%s: data %s, store %s, want %s", given, s.What.Data, s.How.Store, want)
		}
	}
}

func TestValidateNamesFields(t *testing.T) {
	s := parse(t, minimal)
	s.What.Optimizer.Eps = math.NaN()
	var f *job.FieldError
	if err := s.Validate(); !errors.As(err, &f) || f.Field != "what.optimizer.eps" {
		t.Errorf("got %v", err)
	}
}

// Every field can be written in a job file, under the name that JSON uses.
func TestFieldsHaveNames(t *testing.T) {
	var walk func(reflect.Type, string)
	walk = func(typ reflect.Type, path string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			y, j := f.Tag.Get("yaml"), strings.TrimSuffix(f.Tag.Get("json"), ",omitzero")
			if y == "" || y != j {
				t.Errorf("%s.%s: yaml %q, json %q", path, f.Name, y, j)
			}
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, path+"."+f.Name)
			}
		}
	}
	walk(reflect.TypeFor[job.Spec](), "Spec")
}
