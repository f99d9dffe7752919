package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/job"
)

// golden are losses, gradients and updates of an independent implementation, testdata/golden/make.py.
type golden struct {
	What    job.What      `json:"what"`
	Meta    dataset.Meta  `json:"meta"`
	Batch   dataset.Batch `json:"batch"`
	Tensors []struct {
		Name  string `json:"name"`
		Shape []int  `json:"shape"`
	} `json:"tensors"` // of a flat vector, in order
	Cases []struct {
		Name  string   `json:"name"`
		Loss  job.Loss `json:"loss"`
		Value float64  `json:"value"` // sum over users
		Users int      `json:"users"`
	} `json:"cases"`
	Training struct {
		Loss   job.Loss  `json:"loss"`
		Steps  int64     `json:"steps"`
		Values []float64 `json:"values"` // mean over users, before each update
		Norms  []float64 `json:"norms"`  // before clipping
	} `json:"training"`
	data map[string][]float32
}

func readGolden(t *testing.T) *golden {
	t.Helper()
	dir := filepath.Join("testdata", "golden")
	text, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{data: map[string][]float32{}}
	if err := json.Unmarshal(text, g); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := safetensors.NewReader(file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Entries() {
		x := make(safetensors.Float32s, e.Len())
		if err := r.Read(x); err != nil {
			t.Fatal(err)
		}
		g.data[e.Name] = x
	}
	return g
}

// open is the model of a loss, with the golden parameters.
func (g *golden) open(t *testing.T, l job.Loss) *setup {
	t.Helper()
	w := g.What
	w.Loss = l
	m, err := New(w, g.Meta)
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{m: m, vectors: g.data["vectors"], logQ: g.data["log_q"]}
	s.params = g.ordered(t, m, "start")
	s.open(t)
	return s
}

// ordered is a flat vector of the file in the order of the model, found by the tensors' names.
func (g *golden) ordered(t *testing.T, m *Model, name string) []float32 {
	t.Helper()
	at := map[string]int{}
	end := 0
	for _, x := range g.Tensors {
		at[x.Name] = end
		end += Tensor{Shape: x.Shape}.Len()
	}
	flat := g.data[name]
	if len(flat) != end || end != m.Size() || len(at) != len(m.Tensors()) {
		t.Fatalf("%s: %d elements of %d in %d tensors, want %d in %d", name, len(flat), end, len(at), m.Size(), len(m.Tensors()))
	}
	out := make([]float32, m.Size())
	for _, x := range m.Tensors() {
		from, ok := at[x.Name]
		if !ok {
			t.Fatalf("%s: no tensor %s", name, x.Name)
		}
		copy(out[x.Offset:x.Offset+x.Len()], flat[from:])
	}
	return out
}

// Loss and gradient of every objective and its variants are those of PyTorch in float64.
func TestGoldenGradients(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Cases {
		t.Run(c.Name, func(t *testing.T) {
			s := g.open(t, c.Loss)
			grad, res := s.gradient(t, &g.Batch)
			if math.Abs(res.Loss-c.Value) > tolerance*c.Value || res.Users != c.Users {
				t.Errorf("loss %v of %d users, want %v of %d", res.Loss, res.Users, c.Value, c.Users)
			}
			mustBeNear(t, s.m, grad, g.ordered(t, s.m, "gradient "+c.Name), tolerance)
		})
	}
	if len(g.Cases) < 12 {
		t.Errorf("only %d cases", len(g.Cases))
	}
}

// Of every tensor, the comparison with the golden gradients sees one that is a thousandth too large, and blames no other.
func TestGoldenGradientsTellAThousandth(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Cases {
		s := g.open(t, c.Loss)
		grad, _ := s.gradient(t, &g.Batch)
		want := g.ordered(t, s.m, "gradient "+c.Name)
		for _, x := range s.m.Tensors() {
			part := grad[x.Offset : x.Offset+x.Len()]
			right := slices.Clone(part)
			scale(part, 1.001)
			if off := farFrom(s.m, grad, want, tolerance); len(off) != 1 || !strings.HasPrefix(off[0], x.Name+": ") {
				t.Errorf("%s: with the gradient of %s times 1.001, wrong are %q", c.Name, x.Name, off)
			}
			copy(part, right)
		}
	}
}

// Three updates, across the end of the warm-up and clipped, lead to the parameters of PyTorch in float64.
func TestGoldenTraining(t *testing.T) {
	g := readGolden(t)
	s := g.open(t, g.Training.Loss)
	n := s.m.Size()
	st := s.state(t)
	grad := s.upload(t, "grad", make([]float32, n))
	for k, value := range g.Training.Values {
		device.Zero(s.lane, grad)
		res, err := s.run.Gradient(t.Context(), st.Params, grad, &g.Batch, nil)
		if err != nil {
			t.Fatal(err)
		}
		if loss := res.Loss / float64(res.Users); math.Abs(loss-value) > tolerance*value {
			t.Errorf("step %d: loss %v, want %v", k, loss, value)
		}
		mean := s.download(t, grad)
		scale(mean, float32(1/float64(res.Users)))
		norm, err := s.m.Update(device.OneLane(s.lane), &st, s.upload(t, "grad", mean), int64(k), g.Training.Steps)
		if err != nil {
			t.Fatal(err)
		}
		if want := g.Training.Norms[k]; math.Abs(norm-want) > tolerance*want {
			t.Errorf("step %d: norm %v, want %v", k, norm, want)
		}
	}
	end := s.download(t, st.Params)
	want := g.ordered(t, s.m, "end")
	mustBeNear(t, s.m, end, want, tolerance)
	for _, x := range s.m.Tensors() { // what did not move could not be wrong
		var moved float64
		for i := x.Offset; i < x.Offset+x.Len(); i++ {
			moved = max(moved, math.Abs(float64(want[i])-float64(s.params[i])))
		}
		if moved < 1e-3 {
			t.Errorf("%s: moved by %.3g only", x.Name, moved)
		}
	}
}

// With products of bfloat16, loss and gradients are near those of float64, and not those of float32.
func TestGoldenBFloat16(t *testing.T) {
	g := readGolden(t)
	g.What.Precision = precisionBFloat16
	for _, c := range g.Cases {
		t.Run(c.Name, func(t *testing.T) {
			s := g.open(t, c.Loss)
			grad, res := s.gradient(t, &g.Batch)
			if d := math.Abs(res.Loss - c.Value); d > .02*c.Value || d < tolerance*c.Value {
				t.Errorf("loss %v, want about %v", res.Loss, c.Value)
			}
			// One element may be far off where roundings add up; the direction may not.
			if cos := cosine(grad, g.ordered(t, s.m, "gradient "+c.Name)); cos < .995 {
				t.Errorf("the cosine between the gradients is %v", cos)
			}
		})
	}
}
