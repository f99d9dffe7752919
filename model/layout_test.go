package model

import (
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/job"
)

// preset is a job as the job file's preset fills it in.
func preset(t testing.TB, name string) job.What {
	t.Helper()
	s, err := job.Default(name)
	if err != nil {
		t.Fatal(err)
	}
	return s.What
}

// The published network, part by part, for item vectors of 256, 5 action types and 4 surfaces.
func TestParameterCount(t *testing.T) {
	meta := tinyMeta()
	meta.Items, meta.VectorDim, meta.Types, meta.Positive, meta.Surfaces = 8192, 256, []string{"a", "b", "c", "d", "e"}, make([]bool, 5), []string{"w", "x", "y", "z"}
	const h, d, v, in = 768, 256, 256, 412 + 32 + 16 // model inputs: 256+1+25+65+65 = 412, action 32, surface 16
	parts := []struct {
		prefix string
		want   int
	}{
		{"embeddings.", 5*32 + 4*16},
		{"encodings.", 24 + 64 + 64},
		{"input.", in*h + h},
		{"position.", 256 * h},
		{"blocks.", 6 * (4*h*h + 2*h*4*h + 4*h + 5*h + 4*h)}, // attention, FFN; biases 4H and 5H, two norms
		{"norm.", 2 * h},
		{"output.", h*4*h + 4*h + 4*h*d + d},
		{"items.", v*1024 + 1024 + 1024*d + d},
		{"log_temperature", 1},
	}
	m, err := New(preset(t, "pinnerformer"), meta)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, p := range parts {
		got := 0
		for _, x := range m.Tensors() {
			if strings.HasPrefix(x.Name, p.prefix) {
				got += x.Len()
			}
		}
		if got != p.want {
			t.Errorf("%s: %d parameters, want %d", p.prefix, got, p.want)
		}
		total += p.want
	}
	if m.Size() != total || total != 46_754_425 {
		t.Errorf("%d parameters, want %d", m.Size(), total)
	}
}

// Tensors are dense and in order, and cover the flat vector; decay is for the matrices of linear maps.
func TestTensors(t *testing.T) {
	m, err := New(tinyWhat(), tinyMeta())
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	var decay []string
	for _, x := range m.Tensors() {
		if x.Offset != at {
			t.Errorf("%s at %d, want %d", x.Name, x.Offset, at)
		}
		at += x.Len()
		if x.Decay {
			decay = append(decay, x.Name)
		}
	}
	if at != m.Size() {
		t.Errorf("tensors end at %d of %d", at, m.Size())
	}
	want := []string{"input.weight"}
	for _, b := range []string{"blocks.0.", "blocks.1."} {
		want = append(want, b+"attention.qkv.weight", b+"attention.output.weight", b+"ffn.up.weight", b+"ffn.down.weight")
	}
	want = append(want, "output.up.weight", "output.down.weight", "items.up.weight", "items.down.weight")
	if !slices.Equal(decay, want) {
		t.Errorf("decay of %v, want %v", decay, want)
	}
}

func TestMissingColumns(t *testing.T) {
	meta := tinyMeta()
	meta.Surfaces, meta.Durations = nil, false
	m, err := New(tinyWhat(), meta)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(m.Notes(), "\n")
	if len(m.Notes()) != 2 || !strings.Contains(notes, "surface") || !strings.Contains(notes, "duration") {
		t.Errorf("notes %q", notes)
	}
	full, err := New(tinyWhat(), tinyMeta())
	if err != nil {
		t.Fatal(err)
	}
	if len(full.Notes()) != 0 {
		t.Errorf("notes %q for complete data", full.Notes())
	}
	if lost := full.inputWidth() - m.inputWidth(); lost != 2+1 {
		t.Errorf("the input lost %d columns, want 3", lost)
	}
}

// An error names the field, its value and what is allowed.
func TestNewRefuses(t *testing.T) {
	for want, change := range map[string]func(*job.What, *dataset.Meta){
		"model.heads 3: want a divisor of what.model.width 8":             func(w *job.What, _ *dataset.Meta) { w.Model.Heads = 3 },
		"model.layers 0: want at least 1":                                 func(w *job.What, _ *dataset.Meta) { w.Model.Layers = 0 },
		"model.dropout 1: want at least 0, below 1":                       func(w *job.What, _ *dataset.Meta) { w.Model.Dropout = 1 },
		"model.temperature 0.001: want at least 0.01":                     func(w *job.What, _ *dataset.Meta) { w.Model.Temperature = .001 },
		`loss.logq "maybe": want on or off or corrected`:                  func(w *job.What, _ *dataset.Meta) { w.Loss.LogQ = "maybe" },
		`loss.objective "bce": want dense_all_action`:                     func(w *job.What, _ *dataset.Meta) { w.Loss.Objective = "bce" },
		`loss.newest_weight "": want one or equal`:                        func(w *job.What, _ *dataset.Meta) { w.Loss.NewestWeight = "" },
		"loss.positions 3: want at least 1 for":                           func(w *job.What, _ *dataset.Meta) { w.Loss.Positions = 3 },
		"loss.positions 0: want at least 1 for":                           func(w *job.What, _ *dataset.Meta) { w.Loss.Objective = objectiveDense },
		"negatives.random 21: the data set has 20 items":                  func(w *job.What, _ *dataset.Meta) { w.Negatives.Random = 21 },
		"loss.horizon_days 3000: the data set's actions":                  func(w *job.What, _ *dataset.Meta) { w.Loss.HorizonDays = 3000 },
		"optimizer.weight_decay 0.01: want 0 for":                         func(w *job.What, _ *dataset.Meta) { w.Optimizer.Name = optimizerAdam },
		`loss.weights "": want seed or pairs`:                             func(w *job.What, _ *dataset.Meta) { w.Loss.Weights = "" },
		"negatives: 0 in_batch, 0 random":                                 func(w *job.What, _ *dataset.Meta) { w.Negatives = job.Negatives{} },
		`precision "float16": want float32 or bfloat16`:                   func(w *job.What, _ *dataset.Meta) { w.Precision = "float16" },
		`model.init "xavier": want identity or normal`:                    func(w *job.What, _ *dataset.Meta) { w.Model.Init = "xavier" },
		"optimizer.beta2 1: want at least 0, below 1":                     func(w *job.What, _ *dataset.Meta) { w.Optimizer.Beta2 = 1 },
		`optimizer.name "sgd": want adamw`:                                func(w *job.What, _ *dataset.Meta) { w.Optimizer.Name = "sgd" },
		"what.model.init identity: what.model.width 8: want what.model.d": func(w *job.What, _ *dataset.Meta) { w.Model.Init = initIdentity },
		"want at least the data set's vector_dim 50":                      func(w *job.What, m *dataset.Meta) { w.Model.Init = initIdentity; m.VectorDim = 50 },
		"want at least twice the data set's vector_dim 5":                 func(w *job.What, _ *dataset.Meta) { w.Model.Init = initIdentity },
		"model.drop_features: every feature is off": func(w *job.What, _ *dataset.Meta) {
			w.Model.Drop = job.Drop{Item: true, Action: true, Surface: true, Duration: true, Absolute: true, Relative: true, Gap: true}
		},
	} {
		w, meta := tinyWhat(), tinyMeta()
		change(&w, &meta)
		if _, err := New(w, meta); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

func TestPresetsBuild(t *testing.T) {
	for _, name := range job.Presets() {
		meta := tinyMeta()
		meta.VectorDim, meta.Items = 24, 8192
		m, err := New(preset(t, name), meta)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %d parameters", name, m.Size())
	}
}
