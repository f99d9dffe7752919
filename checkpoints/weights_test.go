package checkpoints_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
)

func weights(t *testing.T, params []checkpoints.Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := checkpoints.WriteWeights(&b, params); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readWeights(b []byte, model []checkpoints.Tensor) ([]checkpoints.Tensor, error) {
	return checkpoints.ReadWeights(bytes.NewReader(b), int64(len(b)), model)
}

// Weights come back bit by bit, in the model's order whatever the file's, and make a state that can be stored.
func TestWeights(t *testing.T) {
	st := tiny(4)
	other := slices.Clone(st.Params)
	slices.Reverse(other)
	for _, order := range [][]checkpoints.Tensor{st.Params, other} {
		params, err := readWeights(weights(t, order), tiny(9).Params)
		if err != nil {
			t.Fatal(err)
		}
		start := checkpoints.Start(st.Job, params)
		want := checkpoints.Start(st.Job, st.Params)
		wantState(t, start, want)
		if start.Step != 0 || start.Scalars != (checkpoints.Scalars{Beta1Power: 1, Beta2Power: 1}) || start.Moment2[0].Data[0] != 0 {
			t.Errorf("state at step %d with %+v", start.Step, start.Scalars)
		}
		store := mem.New()
		loaded, _, err := checkpoints.Load(t.Context(), store, mustSave(t, store, "", start))
		if err != nil {
			t.Fatal(err)
		}
		wantState(t, loaded, want)
	}
}

func TestWrongWeights(t *testing.T) {
	model := tiny(1).Params
	for want, change := range map[string]func([]checkpoints.Tensor) []checkpoints.Tensor{
		`"bias" is missing, the model has it with shape [5]`: func(p []checkpoints.Tensor) []checkpoints.Tensor { return slices.Delete(p, 1, 2) },
		`"embed.weight" is F32 [2 3], the model has F32 [3 2]`: func(p []checkpoints.Tensor) []checkpoints.Tensor {
			p[0].Shape = []int{2, 3}
			return p
		},
		`"more" is F32 [1], the model has none of that name`: func(p []checkpoints.Tensor) []checkpoints.Tensor {
			return append(p, checkpoints.Tensor{Name: "more", Shape: []int{1}, Data: []float32{1}})
		},
		`; "x" is F32 [5], the model has none`: func(p []checkpoints.Tensor) []checkpoints.Tensor { p[1].Name = "x"; return p },
	} {
		_, err := readWeights(weights(t, change(tiny(1).Params)), model)
		wantError(t, err, checkpoints.ErrCorrupt, want)
	}
	f, err := safetensors.NewFile(nil, safetensors.Tensor{Name: "embed.weight", Shape: []int{3, 2}, Data: make(safetensors.Float16s, 6)})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := readWeights(b.Bytes(), model); err == nil || !strings.Contains(err.Error(), `"embed.weight" is F16 [3 2]`) {
		t.Errorf("error %v", err)
	}
	good := weights(t, model)
	for _, b := range [][]byte{nil, good[:len(good)-1], append(good, 0), []byte("not safetensors at all")} {
		if _, err := readWeights(b, model); err == nil {
			t.Errorf("%d bytes of %d are accepted", len(b), len(good))
		}
	}
}
