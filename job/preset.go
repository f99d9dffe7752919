package job

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// DefaultPreset is what a job file that names no preset gets: what a few CPU cores train in a minute.
const DefaultPreset = "small"

// Presets are the allowed values of what.model.preset.
func Presets() []string { return []string{"pinnerformer", "seed", "small", "tiny"} }

// Objectives are the allowed values of what.loss.objective.
func Objectives() []string {
	return []string{"dense_all_action_exact", "dense_all_action", "all_action", "sasrec", "next"}
}

// Default is a job with every default filled in for the preset. It is not valid yet: it has no data and no length.
func Default(preset string) (Spec, error) {
	what, err := defaultWhat(preset)
	if err != nil {
		return Spec{}, err
	}
	s := Spec{Name: "job", What: what, How: defaultHow()}
	s.How.Workers.Max = s.What.Shards
	return s, nil
}

func defaultWhat(preset string) (What, error) {
	w := What{
		Shards:    24, // divides among 1, 2, 3, 4, 6, 8, 12 workers
		Loss:      Loss{Objective: "dense_all_action_exact", Weights: "seed", NewestWeight: "one", HorizonDays: 28, LogQ: "on"},
		Optimizer: Optimizer{Name: "adamw", Beta1: .9, Beta2: .98, Eps: 1e-8, WeightDecay: .01, Schedule: "cosine", Warmup: .05, Clip: 1},
		Precision: "float32",
		Reduction: "exact64",
		Mixed:     "refuse",
	}
	w.Model = Model{Dropout: .1, Temperature: .1}
	m := &w.Model
	switch preset {
	case "pinnerformer", "seed": // the published sizes; what is not published is a choice made here
		m.Layers, m.Width, m.Heads, m.Dim, m.Window = 6, 768, 8, 256, 256
		m.ActionDim, m.SurfaceDim, m.ItemHidden, m.Init = 32, 16, 1024, "normal"
		w.UsersPerShard, w.Negatives, w.Optimizer.LR = 128, Negatives{InBatch: 5000, Random: 8192}, 5e-4
		if preset == "seed" {
			m.Window = 255
		}
	case "small":
		m.Layers, m.Width, m.Heads, m.Dim, m.Window = 2, 128, 4, 128, 64
		m.ActionDim, m.SurfaceDim, m.ItemHidden, m.Init = 16, 16, 512, "identity"
		w.UsersPerShard, w.Negatives, w.Optimizer.LR = 4, Negatives{InBatch: 256, Random: 256}, 1.5e-3
	case "tiny": // for tests and for looking at the machinery
		m.Layers, m.Width, m.Heads, m.Dim, m.Window = 1, 32, 2, 32, 16
		m.ActionDim, m.SurfaceDim, m.ItemHidden, m.Init = 8, 4, 128, "identity"
		w.UsersPerShard, w.Negatives, w.Optimizer.LR = 4, Negatives{InBatch: 32, Random: 32}, 2e-3
	default:
		return What{}, &FieldError{"what.model.preset", fmt.Sprintf("is %q; allowed: %s", clip(preset), strings.Join(Presets(), ", "))}
	}
	m.Preset, m.FFN = preset, ffnOf(m.Width)
	return w, nil
}

// ffnOf is the inner width that goes with a width, bounded so that a width which validation will refuse does not overflow.
func ffnOf(width int) int { return 4 * max(0, min(width, math.MaxInt32)) }

func defaultHow() How {
	return How{
		Checkpoint: Checkpoint{Every: 100, Keep: 3},
		Workers:    Workers{Min: 1},
		Device:     "cpu",
		Deadlines: Deadlines{
			Hang:     Duration(2 * time.Second),
			Store:    Duration(30 * time.Second),
			Holder:   Duration(time.Minute),
			Assemble: Duration(20 * time.Second),
		},
	}
}

// defaultPositions is how many positions of a user dense_all_action draws from a window that has as many.
const defaultPositions = 32

// complete fills in the defaults that follow from other fields, unless the job file gave a value.
func (s *Spec) complete(given map[string]int) {
	open := func(field string) bool {
		_, ok := given[field]
		return !ok
	}
	w := &s.What
	if open("what.model.ffn") {
		w.Model.FFN = ffnOf(w.Model.Width)
	}
	if open("how.workers.max") {
		s.How.Workers.Max = w.Shards
	}
	if open("what.loss.newest_weight") && w.Loss.Objective == "sasrec" {
		w.Loss.NewestWeight = "equal" // the strengthened form that PinnerFormer compares with
	}
	if open("what.loss.positions") && w.Loss.Objective == "dense_all_action" {
		w.Loss.Positions = min(defaultPositions, w.Model.Window)
	}
	if open("what.optimizer.weight_decay") && w.Optimizer.Name == "adam" {
		w.Optimizer.WeightDecay = 0
	}
}

func presetKnown(name string) bool { return slices.Contains(Presets(), name) }
