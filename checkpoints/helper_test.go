package checkpoints_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var spec = []byte(`{"what":{"seed":7}}`)

// tiny is a small state whose every word differs with the step.
func tiny(step ringleader.Step) *checkpoints.State {
	shapes := []struct {
		name  string
		shape []int
	}{{"embed.weight", []int{3, 2}}, {"bias", []int{5}}, {"temperature", []int{}}}
	st := &checkpoints.State{Job: 0x0123456789abcdef, Step: step}
	value := float32(step)
	for _, list := range []*[]checkpoints.Tensor{&st.Params, &st.Moment1, &st.Moment2} {
		for _, s := range shapes {
			n := 1
			for _, d := range s.shape {
				n *= d
			}
			data := make([]float32, n)
			for i := range data {
				value += 0.25
				data[i] = value
			}
			*list = append(*list, checkpoints.Tensor{Name: s.name, Shape: s.shape, Data: data})
		}
	}
	st.Params[1].Data[3] = float32(math.NaN())
	st.Params[1].Data[4] = float32(math.Copysign(0, -1))
	st.Scalars = checkpoints.Scalars{Beta1Power: 0.9 / float64(step+1), Beta2Power: 0.999 / float64(step+1), Ledger: 1<<63 + uint64(step), Users: 40, Tokens: 1 << 40}
	return st
}

// narrow is a state of a job whose gradients have exponents.
func narrow(step ringleader.Step) *checkpoints.State {
	st := tiny(step)
	st.Exponents = []int8{-17}
	return st
}

// manifest describes a state and its files.
func manifest(st *checkpoints.State, files []checkpoints.FileInfo) *checkpoints.Manifest {
	return &checkpoints.Manifest{Job: st.Job, Step: st.Step, State: st.Digest(), Numerics: "amd64/avx512", Libraries: map[string]string{"onednn": "3.1"},
		Files: files, Volatile: checkpoints.Volatile{Host: "host-a", Time: time.Unix(1_800_000_000, 5).UTC(), Generation: 4, Program: "v1.2.3"}}
}

// save writes a whole checkpoint and returns its directory.
func save(t *testing.T, store checkpoints.Store, under string, st *checkpoints.State, maxPart int64) (string, error) {
	t.Helper()
	parts, err := checkpoints.Plan(st, spec, maxPart)
	if err != nil {
		t.Fatal(err)
	}
	dir := under + checkpoints.Dir(st.Step, st.Digest())
	files, err := checkpoints.WriteParts(t.Context(), store, dir, parts)
	if err != nil {
		return dir, err
	}
	_, err = checkpoints.WriteManifest(t.Context(), store, dir, manifest(st, files))
	return dir, err
}

func mustSave(t *testing.T, store checkpoints.Store, under string, st *checkpoints.State) string {
	t.Helper()
	dir, err := save(t, store, under, st, 64)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantState compares bit by bit.
func wantState(t *testing.T, have, want *checkpoints.State) {
	t.Helper()
	if err := have.Match(want.Params); err != nil {
		t.Fatal(err)
	}
	for k, lists := range [][2][]checkpoints.Tensor{{have.Params, want.Params}, {have.Moment1, want.Moment1}, {have.Moment2, want.Moment2}} {
		for i := range lists[1] {
			for j, w := range lists[1][i].Data {
				if h := lists[0][i].Data[j]; math.Float32bits(h) != math.Float32bits(w) {
					t.Fatalf("list %d, %s[%d] is %x, want %x", k, lists[1][i].Name, j, math.Float32bits(h), math.Float32bits(w))
				}
			}
		}
	}
	if have.Job != want.Job || have.Step != want.Step || have.Scalars != want.Scalars || !slices.Equal(have.Exponents, want.Exponents) {
		t.Fatalf("have job %s, step %d, %+v, exponents %d; want %s, %d, %+v, %d", have.Job, have.Step, have.Scalars, have.Exponents, want.Job, want.Step, want.Scalars, want.Exponents)
	}
}

func wantError(t *testing.T, err, want error, texts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Fatalf("error %q does not say %q", err, text)
		}
	}
}

// names lists a store.
func names(t *testing.T, s *mem.Store) []string {
	t.Helper()
	infos, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, info := range infos {
		list = append(list, info.Name)
	}
	return list
}
