package serving

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(t.Context(), dataset.Dir(dir), t.TempDir())
	check(t, err)
	t.Cleanup(func() { check(t, d.Close()) })
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

// small has users in several parts of 16; most have fewer actions than a window holds.
func small(t *testing.T) *dataset.Dataset {
	return synthetic(t, synth.Options{Users: 60, Items: 40, Dim: 8, Actions: 12})
}

const day = 24 * 60 * 60 * 1000

// untrained are options for the tiny model as it starts.
func untrained(t *testing.T, d *dataset.Dataset, out checkpoints.Store) Options {
	t.Helper()
	spec, err := job.Default("tiny")
	check(t, err)
	m, err := model.New(spec.What, d.Meta())
	check(t, err)
	flat := make([]float32, m.Size())
	check(t, m.Init(flat))
	dev, err := cpu.Open(cpu.Options{Lanes: 2})
	check(t, err)
	t.Cleanup(func() { check(t, dev.Close()) })
	o := Options{
		Data: d, Job: spec.What, State: 0xFEED, Step: 7, Device: dev, Out: out, AsOfMS: d.Meta().CutMS, Scratch: t.TempDir(), PartUsers: 16,
		Program: "test", Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	}
	for _, p := range m.Tensors() {
		o.Params = append(o.Params, checkpoints.Tensor{Name: p.Name, Shape: p.Shape, Data: flat[p.Offset : p.Offset+p.Len()]})
	}
	return o
}

func mustRun(t *testing.T, o Options) *Report {
	t.Helper()
	o.Progress = rising(t)
	r, err := Run(t.Context(), o)
	check(t, err)
	check(t, r.verify(t.Context(), o.Out))
	return r
}

// rising wants progress to rise, to the end.
func rising(t *testing.T) func(Progress) {
	last := 0
	t.Cleanup(func() {
		if last == 0 {
			t.Error("no progress was told")
		}
	})
	return func(p Progress) {
		if p.Done <= last || p.Done > p.Total || p.Found > p.Done {
			t.Errorf("progress %+v after %d", p, last)
		}
		last = p.Done
	}
}

// hashes are what a generation's manifest lists.
func hashes(r *Report) string {
	var b strings.Builder
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%s %d %s\n", f.Name, f.Size, f.SHA256)
	}
	return b.String()
}

// users reads the users' parts of a generation.
func users(t *testing.T, store checkpoints.Store, m *Manifest) *part {
	t.Helper()
	all := &part{dim: m.Dim}
	for _, f := range m.Files {
		if !strings.HasPrefix(f.Name, usersPrefix) {
			continue
		}
		p, _, err := fetch(t.Context(), store, m.Generation+"/"+f.Name, f.SHA256, m.Dim)
		check(t, err)
		all.ids, all.asOfMS = append(all.ids, p.ids...), append(all.asOfMS, p.asOfMS...)
		all.inputs, all.vectors = append(all.inputs, p.inputs...), append(all.vectors, p.vectors...)
	}
	return all
}

// reference computes embeddings with the model alone, users in one batch and the last actions found by hand.
type reference struct {
	users map[string][]float32
	times map[string]int64
	items []float32
	dim   int
}

func newReference(t *testing.T, o Options, asOfMS int64) *reference {
	t.Helper()
	m, err := model.New(o.Job, o.Data.Meta())
	check(t, err)
	lane, err := o.Device.NewLane(nil)
	check(t, err)
	defer func() { check(t, lane.Close()) }()
	upload := func(x []float32) device.F32 {
		b, err := device.Alloc[float32](o.Device, len(x))
		check(t, err)
		t.Cleanup(func() { o.Device.Free(b.Addr) })
		device.Upload(lane, b, x)
		return b
	}
	var flat []float32
	for _, p := range o.Params {
		flat = append(flat, p.Data...)
	}
	v := o.Data.Vectors()
	params, vectors := upload(flat), upload(v.Data)
	run, err := m.NewRunner(o.Device, lane, device.Matrix(vectors, v.Rows, v.Cols), nil)
	check(t, err)
	defer run.Close()
	r := &reference{users: map[string][]float32{}, times: map[string]int64{}, items: make([]float32, v.Rows*m.Dim()), dim: m.Dim()}
	check(t, run.Items(params, r.items))

	b := dataset.Batch{Offset: []int32{0}}
	var ids []string
	for u := range o.Data.Users() {
		q := o.Data.User(u)
		n := 0
		for n < len(q.TimeMS) && q.TimeMS[n] <= asOfMS {
			n++
		}
		if n == 0 {
			continue
		}
		lo := max(0, n-o.Job.Model.Window)
		b.Item, b.TimeMS, b.Action = append(b.Item, q.Item[lo:n]...), append(b.TimeMS, q.TimeMS[lo:n]...), append(b.Action, q.Action[lo:n]...)
		b.Surface, b.Duration = append(b.Surface, q.Surface[lo:n]...), append(b.Duration, q.Duration[lo:n]...)
		b.User, b.Offset = append(b.User, int32(u)), append(b.Offset, int32(len(b.Item)))
		ids = append(ids, q.ID)
		r.times[q.ID] = q.TimeMS[n-1]
	}
	out := make([]float32, len(ids)*r.dim)
	check(t, run.Users(params, &b, out))
	for i, id := range ids {
		r.users[id] = out[i*r.dim : (i+1)*r.dim]
	}
	return r
}

func (r *reference) ids() []string { return slices.Sorted(maps.Keys(r.users)) }

// mustFail runs and wants an error that says all of the texts.
func mustFail(t *testing.T, o Options, texts ...string) error {
	t.Helper()
	_, err := Run(t.Context(), o)
	if err == nil {
		t.Fatalf("no error; want %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Fatalf("%v: want %q", err, text)
		}
	}
	return err
}

// current is what a reader of a store begins with.
func current(t *testing.T, store checkpoints.Store) *Manifest {
	t.Helper()
	m, err := ReadManifest(context.Background(), store, "")
	check(t, err)
	return m
}

// objects are the contents of a store, but for the manifests, which say how a generation was made.
func objects(t *testing.T, store *mem.Store) map[string][]byte {
	t.Helper()
	list, err := store.List(t.Context(), "")
	check(t, err)
	all := map[string][]byte{}
	for _, o := range list {
		if !strings.HasSuffix(o.Name, ManifestName) {
			all[o.Name] = store.Bytes(o.Name)
		}
	}
	return all
}

func same(a, b map[string][]byte) bool { return maps.EqualFunc(a, b, bytes.Equal) }
