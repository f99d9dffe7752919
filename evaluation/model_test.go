package evaluation

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

// untrained are options for the tiny model as it starts.
func untrained(t *testing.T, d *dataset.Dataset) Options {
	t.Helper()
	spec, err := job.Default("tiny")
	check(t, err)
	m, err := model.New(spec.What, d.Meta())
	check(t, err)
	flat := make([]float32, m.Size())
	check(t, m.Init(flat))
	dev, err := cpu.Open(cpu.Options{Lanes: 1})
	check(t, err)
	t.Cleanup(func() { check(t, dev.Close()) })
	o := Options{Data: d, Job: spec.What, Device: dev}
	for _, p := range m.Tensors() {
		n := 1
		for _, s := range p.Shape {
			n *= s
		}
		o.Params = append(o.Params, checkpoints.Tensor{Name: p.Name, Shape: p.Shape, Data: flat[p.Offset : p.Offset+n]})
	}
	return o
}

func TestRun(t *testing.T) {
	d := synthetic(t, synth.Options{Users: 200, Items: 150, Dim: 8, Actions: 40})
	o := untrained(t, d)
	r, err := Run(t.Context(), o)
	check(t, err)
	// The identity start recommends what resembles the history: already better than popularity where users have tastes.
	if r.RecallAt10 <= r.Baselines["popular"].RecallAt10 || r.Users == 0 || r.Job != o.Job.Digest().String() || len(r.Baselines) != len(baselineNames) {
		t.Errorf("%+v", r)
	}
	for name, b := range r.Baselines {
		if lead := b.ModelMinus; math.Abs(lead.RecallAt10-(r.RecallAt10-b.RecallAt10)) > 2e-6 || math.Abs(lead.NewOnly.RecallAt10-(r.NewOnly.RecallAt10-b.NewOnly.RecallAt10)) > 2e-6 {
			t.Errorf("the model's %+v minus %s's %+v: %+v", r.Result, name, b, lead)
		}
	}
	want, err := json.Marshal(r)
	check(t, err)
	for _, threads := range []int{1, 3} {
		o.Threads = threads
		again, err := Run(t.Context(), o)
		check(t, err)
		got, err := json.Marshal(again)
		check(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%d threads:\n%s\n%s", threads, got, want)
		}
	}
	o.SkipBaselines = true
	alone, err := Run(t.Context(), o)
	check(t, err)
	if alone.RecallAt10 != r.RecallAt10 || alone.NewOnly.RecallAt10 != r.NewOnly.RecallAt10 || alone.Baselines != nil {
		t.Errorf("without baselines: %+v", alone)
	}
}

// The embeddings that are compared are the model's own of each user at the cut, alone in its batch, and of each item.
func TestEmbeddings(t *testing.T) {
	d := synthetic(t, synth.Options{Users: 90, Items: 50, Dim: 8})
	o := untrained(t, d)
	p, err := prepare(&o)
	check(t, err)
	if len(p.members) <= usersAtATime {
		t.Fatalf("only %d members", len(p.members))
	}
	open, err := openEmbedder(&o, p)
	check(t, err)
	defer func() { check(t, open.close()) }()
	e, err := open.atCut(t.Context(), p)
	check(t, err)

	m, err := model.New(o.Job, d.Meta())
	check(t, err)
	lane, err := o.Device.NewLane(nil)
	check(t, err)
	defer func() { check(t, lane.Close()) }()
	v := d.Vectors()
	vectors, err := device.Alloc[float32](o.Device, len(v.Data))
	check(t, err)
	defer o.Device.Free(vectors.Addr)
	params, err := device.Alloc[float32](o.Device, m.Size())
	check(t, err)
	defer o.Device.Free(params.Addr)
	device.Upload(lane, vectors, v.Data)
	for i, tensor := range m.Tensors() {
		device.Upload(lane, params.Slice(tensor.Offset, tensor.Offset+len(o.Params[i].Data)), o.Params[i].Data)
	}
	r, err := m.NewRunner(o.Device, lane, device.Matrix(vectors, v.Rows, v.Cols), nil)
	check(t, err)
	defer r.Close()
	items := make([]float32, len(e.items))
	check(t, r.Items(params, items))
	if !slices.Equal(items, e.items) {
		t.Error("items differ")
	}
	var b dataset.Batch
	user, scores := make([]float32, e.dim), make([]float64, p.items)
	for k, member := range p.members {
		check(t, d.Windows(&b, o.Job.Model.Window, []int32{member.user}, []int64{d.Meta().CutMS}))
		check(t, r.Users(params, &b, user))
		check(t, e.scores([]int{k}, [][]float64{scores}))
		for i, s := range scores {
			want := 0.0
			for c := range user {
				want += float64(user[c]) * float64(items[i*e.dim+c])
			}
			if math.Abs(s-want) > 1e-5 {
				t.Fatalf("member %d, item %d: score %g, want %g", k, i, s, want)
			}
		}
	}
}

// Equal vectors are ties wherever they stand, and a product does not depend on how many users are asked for.
func TestDot(t *testing.T) {
	for n := range 19 {
		a, b := make([]float32, n), make([]float32, n+3)
		want := 0.0
		for i := range a {
			a[i], b[i] = float32(i)*.37-2, 1/float32(i+1)
			want += float64(a[i]) * float64(b[i])
		}
		if got := dot(a, b); math.Abs(float64(got)-want) > 1e-5 {
			t.Errorf("%d: %g, want %g", n, got, want)
		}
	}
}

func TestRunRefusesOtherModels(t *testing.T) {
	d := synthetic(t, synth.Options{Dim: 8, Users: 60})
	for _, c := range []struct {
		want  string
		spoil func(*Options)
	}{
		{"no device", func(o *Options) { o.Device = nil }},
		{"tensors; the job's model has", func(o *Options) { o.Params = o.Params[1:] }},
		{"tensor 0 is other", func(o *Options) { o.Params[0].Name = "other" }},
		{"elements; its shape", func(o *Options) { o.Params[0].Data = o.Params[0].Data[1:] }},
		{"the job's model has", func(o *Options) { o.Job.Model.Window++ }},
		{"score of item", func(o *Options) {
			for i := range o.Params {
				for j := range o.Params[i].Data {
					o.Params[i].Data[j] = float32(math.NaN())
				}
			}
		}},
	} {
		o := untrained(t, d)
		c.spoil(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}
