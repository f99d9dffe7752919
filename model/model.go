package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/job"
)

// What the loss and the job may ask for.
const (
	objectiveExact     = "dense_all_action_exact" // every position, all positives of its horizon
	objectiveDense     = "dense_all_action"       // random positions, one positive each: PinnerFormer's
	objectiveAllAction = "all_action"             // the newest position, some positives of its horizon
	objectiveSASRec    = "sasrec"                 // every position, its next positive
	objectiveNext      = "next"                   // the newest position, its next positive

	newestOne   = "one"   // like every other position
	newestEqual = "equal" // as much as all others of the user together

	weightsSeed  = "seed"  // mean over a user's tokens of the mean over the token's horizon
	weightsPairs = "pairs" // mean over a user's pairs

	logQOn        = "on"        // negatives and positives are corrected
	logQOff       = "off"       // nothing is
	logQCorrected = "corrected" // negatives only: the positive of a pair was not sampled

	precisionFloat32  = "float32"
	precisionBFloat16 = "bfloat16" // of what matrix products read

	initNormal   = "normal"
	initIdentity = "identity"
)

// minTemperature bounds tau from below.
const minTemperature = 0.01

const dayMS = 24 * 60 * 60 * 1000

// Model is a network of a fixed shape: it holds no parameters and no memory of a device. It is safe for concurrent use.
type Model struct {
	what     job.What
	sizes    sizes
	features features
	horizon  int64 // K, milliseconds
	notes    []string
	tensors  []Tensor
	length   int // elements of the flat vector
	net      network
}

// sizes are what the shapes follow from.
type sizes struct {
	layers, width, heads, ffn, dim, window, itemHidden int // of the job
	items, vector, actions, surfaces                   int // of the data
	actionDim, surfaceDim                              int
	encoded                                            int // width of tokens that come encoded; else 0
}

// features are the inputs that are on.
type features struct {
	item, action, surface, duration, absolute, relative, gap, position bool
}

// New builds the model that a job describes for a data set. Sizes must be filled in already. A feature whose column the data set does not
// have is switched off, see Notes. The error lists everything that is wrong, by field.
func New(w job.What, meta dataset.Meta) (*Model, error) {
	m := &Model{what: w, horizon: int64(math.Round(w.Loss.HorizonDays * dayMS)), sizes: sizesOf(&w.Model)}
	m.sizes.items, m.sizes.vector, m.sizes.actions, m.sizes.surfaces = meta.Items, meta.VectorDim, len(meta.Types), len(meta.Surfaces)
	m.chooseFeatures(meta)
	if err := m.validate(&meta); err != nil {
		return nil, fmt.Errorf("build model: %w", err)
	}
	m.lay()
	return m, nil
}

func sizesOf(m *job.Model) sizes {
	return sizes{
		layers: m.Layers, width: m.Width, heads: m.Heads, ffn: m.FFN, dim: m.Dim, window: m.Window, itemHidden: m.ItemHidden,
		actionDim: m.ActionDim, surfaceDim: m.SurfaceDim,
	}
}

// Notes are what the user should know about how the job was read: features that the data set cannot fill.
func (m *Model) Notes() []string { return slices.Clone(m.notes) }

// Tensors lists the parameters in canonical order.
func (m *Model) Tensors() []Tensor {
	list := slices.Clone(m.tensors)
	for i := range list {
		list[i].Shape = slices.Clone(list[i].Shape)
	}
	return list
}

// Size is the number of parameters: the length of the flat vector.
func (m *Model) Size() int { return m.length }

// Dim is the dimension of the embeddings, D.
func (m *Model) Dim() int { return m.sizes.dim }

func (m *Model) chooseFeatures(meta dataset.Meta) {
	drop := m.what.Model.Drop
	m.features = features{
		item: !drop.Item, action: !drop.Action, surface: !drop.Surface, duration: !drop.Duration,
		absolute: !drop.Absolute, relative: !drop.Relative, gap: !drop.Gap, position: !drop.Position,
	}
	if m.features.surface && len(meta.Surfaces) == 0 {
		m.features.surface = false
		m.notes = append(m.notes, "the data set has no surfaces: the feature surface is off")
	}
	if m.features.duration && !meta.Durations {
		m.features.duration = false
		m.notes = append(m.notes, "the data set has no durations: the feature duration is off")
	}
	if m.features.absolute && meta.FirstMS < 0 {
		m.notes = append(m.notes, "the data set has actions before 1970: for the feature absolute_time they happen at its first second")
	}
}

// validate checks the job, and the data set, if there is one.
func (m *Model) validate(meta *dataset.Meta) error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	w, s, f := &m.what, &m.sizes, &m.features
	for _, x := range []struct {
		field string
		value int
	}{
		{"layers", s.layers}, {"width", s.width}, {"heads", s.heads}, {"ffn", s.ffn},
		{"dim", s.dim}, {"window", s.window}, {"item_hidden", s.itemHidden},
	} {
		bad(x.value < 1, "what.model.%s %d: want at least 1", x.field, x.value)
	}
	bad(s.heads > 0 && s.width%s.heads != 0, "what.model.heads %d: want a divisor of what.model.width %d", s.heads, s.width)
	bad(f.action && s.actionDim < 1, "what.model.action_dim %d: want at least 1, or what.model.drop_features.action", s.actionDim)
	bad(f.surface && s.surfaceDim < 1, "what.model.surface_dim %d: want at least 1, or what.model.drop_features.surface", s.surfaceDim)
	bad(m.inputWidth() == 0, "what.model.drop_features: every feature is off; want at least one")
	bad(!(w.Model.Dropout >= 0 && w.Model.Dropout < 1), "what.model.dropout %g: want at least 0, below 1", w.Model.Dropout)
	bad(!(w.Model.Temperature >= minTemperature && w.Model.Temperature <= math.MaxFloat32), "what.model.temperature %g: want at least %g", w.Model.Temperature, minTemperature)
	bad(meta != nil && (s.items < 1 || s.vector < 1 || s.actions < 1), "data set with %d items, vectors of %d, %d action types: want at least 1 of each", s.items, s.vector, s.actions)
	bad(!(w.Loss.HorizonDays > 0 && w.Loss.HorizonDays <= 36600), "what.loss.horizon_days %g: want more than 0, at most 36600", w.Loss.HorizonDays)
	bad(w.Negatives.InBatch < 0 || w.Negatives.Random < 0 || w.Negatives.InBatch+w.Negatives.Random < 1,
		"what.negatives: %d in_batch, %d random: want none negative and at least one in all", w.Negatives.InBatch, w.Negatives.Random)
	errs = append(errs,
		m.validateObjective(),
		oneOf("what.loss.logq", w.Loss.LogQ, logQOn, logQOff, logQCorrected),
		oneOf("what.model.init", w.Model.Init, initIdentity, initNormal),
		oneOf("what.precision", w.Precision, precisionFloat32, precisionBFloat16),
		validateOptimizer(&w.Optimizer),
	)
	if meta != nil {
		errs = append(errs, meta.Suits(w))
	}
	if w.Model.Init == initIdentity {
		errs = append(errs, m.validateIdentity())
	}
	return errors.Join(errs...)
}

func (m *Model) validateObjective() error {
	l := &m.what.Loss
	errs := []error{
		oneOf("what.loss.objective", l.Objective, objectiveExact, objectiveDense, objectiveAllAction, objectiveSASRec, objectiveNext),
		oneOf("what.loss.weights", l.Weights, weightsSeed, weightsPairs),
		oneOf("what.loss.newest_weight", l.NewestWeight, newestOne, newestEqual),
	}
	if dense := l.Objective == objectiveDense; dense && l.Positions < 1 || !dense && l.Positions != 0 {
		errs = append(errs, fmt.Errorf("what.loss.positions %d: want at least 1 for what.loss.objective %s, 0 for the others", l.Positions, objectiveDense))
	}
	return errors.Join(errs...)
}

func oneOf(field, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s %q: want %s", field, value, strings.Join(allowed, " or "))
}
