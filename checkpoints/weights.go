package checkpoints

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
)

// WriteWeights writes parameters as one safetensors file, which any program of the ecosystem reads.
func WriteWeights(w io.Writer, params []Tensor) error {
	st := State{Params: params}
	f, err := safetensors.NewFile(map[string]string{"format": "pt"}, st.modelTensors()...)
	if err == nil {
		_, err = f.WriteTo(w)
	}
	if err != nil {
		return fmt.Errorf("write weights: %w", err)
	}
	return nil
}

// ReadWeights reads the parameters of a model from a safetensors file of size bytes: float32, each by its name, in any order. The data of model is
// not looked at; the result has its order. The error tells all that is missing, too much or of another type or shape.
func ReadWeights(r io.Reader, size int64, model []Tensor) ([]Tensor, error) {
	file, err := safetensors.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("read weights: %w", err)
	}
	if err := matchWeights(file.Entries(), model); err != nil {
		return nil, fmt.Errorf("read weights: %w: %w", ErrCorrupt, err)
	}
	at := map[string][]float32{}
	for _, e := range file.Entries() {
		at[e.Name] = make([]float32, e.Len())
		if err := file.Read(safetensors.Float32s(at[e.Name])); err != nil {
			return nil, fmt.Errorf("read weights: %w", err)
		}
	}
	params := make([]Tensor, 0, len(model))
	for _, p := range model {
		params = append(params, Tensor{Name: p.Name, Shape: slices.Clone(p.Shape), Data: at[p.Name]})
	}
	return params, nil
}

// maxTold bounds how many differences an error tells.
const maxTold = 10

func matchWeights(have []safetensors.Entry, model []Tensor) error {
	var wrong []string
	wanted := map[string]bool{}
	for _, p := range model {
		wanted[p.Name] = true
		i := slices.IndexFunc(have, func(e safetensors.Entry) bool { return e.Name == p.Name })
		switch {
		case i < 0:
			wrong = append(wrong, fmt.Sprintf("%q is missing, the model has it with shape %v", p.Name, p.Shape))
		case have[i].Type != safetensors.F32 || !slices.Equal(have[i].Shape, p.Shape):
			wrong = append(wrong, fmt.Sprintf("%q is %s %v, the model has F32 %v", p.Name, have[i].Type, have[i].Shape, p.Shape))
		}
	}
	for _, e := range have {
		if !wanted[e.Name] {
			wrong = append(wrong, fmt.Sprintf("%q is %s %v, the model has none of that name", e.Name, e.Type, e.Shape))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	if more := len(wrong) - maxTold; more > 0 {
		wrong = append(wrong[:maxTold], fmt.Sprintf("and %d more", more))
	}
	return errors.New(strings.Join(wrong, "; "))
}

// Start is the state of a job at step 0 with given parameters: nothing is trained, the moments are zero.
func Start(job ringleader.Digest, params []Tensor) *State {
	st := &State{Job: job, Params: params, Scalars: Scalars{Beta1Power: 1, Beta2Power: 1}}
	for _, p := range params {
		zero := func() Tensor { return Tensor{Name: p.Name, Shape: p.Shape, Data: make([]float32, len(p.Data))} }
		st.Moment1, st.Moment2 = append(st.Moment1, zero()), append(st.Moment2, zero())
	}
	return st
}
