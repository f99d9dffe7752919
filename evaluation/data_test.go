package evaluation

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(t.Context(), dataset.Dir(dir), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func synthetic(t *testing.T, o synth.Options) *dataset.Dataset {
	t.Helper()
	dir := t.TempDir()
	if _, err := synth.Write(dir, o); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

// action is one action of a data set made by hand; its time is in days from the cut.
type action struct {
	item int32
	day  float64
	kind int32 // 0 buy, 1 view, which is no positive
}

const toyCut = 1_700_000_000_000

// toy is a data set made by hand, of which nobody, or nearly everybody, is held out.
func toy(t *testing.T, items int, heldout float64, users ...[]action) *dataset.Dataset {
	t.Helper()
	dir := t.TempDir()
	w, err := dataset.NewWriter(dir, dataset.Meta{
		Name: "toy", CutMS: toyCut, EvalDays: 14, Holdout: heldout,
		Types: []string{"buy", "view"}, Positive: []bool{true, false}, Source: []string{"toy"},
	})
	if err != nil {
		t.Fatal(err)
	}
	v := dataset.Vectors{Rows: items, Cols: 1, Data: make([]float32, items)}
	for i := range items {
		v.Data[i] = 1
		check(t, w.Item(string(rune('a'+i)), "", ""))
	}
	for u, actions := range users {
		s := dataset.Sequence{ID: string(rune('A' + u))}
		for _, a := range actions {
			s.Item, s.Action = append(s.Item, a.item), append(s.Action, a.kind)
			s.TimeMS = append(s.TimeMS, toyCut+int64(a.day*dayMS))
		}
		check(t, w.User(s))
	}
	check(t, w.Vectors(v, "toy"))
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tabled scores rows by a table.
type tabled [][]float64

func (s tabled) scores(which []int, dst [][]float64) error {
	for j, k := range which {
		copy(dst[j], s[k])
	}
	return nil
}

// evaluated is what a scorer reaches.
func evaluated(t *testing.T, p *population, s scorer, threads int) Result {
	t.Helper()
	r, err := evaluate(t.Context(), p, s, threads)
	check(t, err)
	return p.result(r)
}
