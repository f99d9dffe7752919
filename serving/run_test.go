package serving

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/checkpoints/safetensors"
	"github.com/ringleader-dev/ringleader/dataset/synth"
)

// Users get the model's own embedding of their newest actions, and those who have not come yet get none; both formats hold the same.
func TestRun(t *testing.T) {
	d, out := small(t), mem.New()
	o := untrained(t, d, out)
	o.AsOfMS = synth.StartMS + 4*day // some have not come yet
	r := mustRun(t, o)
	want, got := newReference(t, o, o.AsOfMS), users(t, out, &r.Manifest)
	if !slices.Equal(got.ids, want.ids()) || len(got.ids) == d.Users() || r.Users != len(got.ids) || r.Made != r.Users || !r.Current {
		t.Fatalf("%d users %v\nwant %v; report %+v", r.Users, got.ids, want.ids(), r)
	}
	for i, id := range got.ids {
		if got.asOfMS[i] != want.times[id] {
			t.Errorf("user %s as of %d, want %d", id, got.asOfMS[i], want.times[id])
		}
		near(t, id, got.vector(i), want.users[id])
	}
	all := matrixOf(t, out, r, usersMatrix, r.Users)
	if !slices.Equal(all, got.vectors) {
		t.Errorf("%s differs from the parts", usersMatrix)
	}
	items := matrixOf(t, out, r, itemsMatrix, d.Meta().Items)
	for i := range d.Meta().Items {
		near(t, "item", items[i*r.Dim:(i+1)*r.Dim], want.items[i*r.Dim:(i+1)*r.Dim])
	}
	if text := out.Bytes(r.Generation + "/" + ManifestName); !bytes.Equal(text, out.Bytes(ManifestName)) {
		t.Errorf("the current manifest is not that of %s", r.Generation)
	}
	// With the first action alone most parts are empty, and are read again all the same.
	o.AsOfMS = d.Meta().FirstMS
	first := mustRun(t, o)
	check(t, out.Delete(t.Context(), first.Generation+"/"+ManifestName))
	if again := mustRun(t, o); first.Users != 1 || again.Found != 1 || hashes(again) != hashes(first) || len(users(t, out, &again.Manifest).ids) != 1 {
		t.Errorf("as of the first action: %+v\nthen %+v", first, again)
	}
	o.AsOfMS = synth.StartMS - 1
	mustFail(t, o, "as of 2023-12-31T23:59:59.999Z: no user has an action by then; want a time from 2024-01-01T")
}

// near compares with embeddings that were computed in another batch, whose last bits may differ.
func near(t *testing.T, name string, got []uint16, want []float32) {
	t.Helper()
	for k, h := range got {
		if x := safetensors.FromHalf(h); math.Abs(float64(x-want[k])) > math.Abs(float64(want[k]))*0x1p-11+2e-6 {
			t.Fatalf("%s, lane %d: %g, want %g", name, k, x, want[k])
		}
	}
}

func matrixOf(t *testing.T, store *mem.Store, r *Report, name string, rows int) []uint16 {
	t.Helper()
	file := store.Bytes(r.Generation + "/" + name)
	f, err := safetensors.NewReader(bytes.NewReader(file), int64(len(file)))
	check(t, err)
	if e := f.Entries(); len(e) != 1 || e[0].Name != "vectors" || !slices.Equal(e[0].Shape, []int{rows, r.Dim}) {
		t.Fatalf("%s: %+v, want vectors %d x %d", name, e, rows, r.Dim)
	}
	x := make(safetensors.Float16s, rows*r.Dim)
	check(t, f.Read(x))
	return x
}

// The same bytes on any number of threads, and however often the run is ended and started again.
func TestSameBytes(t *testing.T) {
	d := small(t)
	out := mem.New()
	o := untrained(t, d, out)
	o.Threads = 1
	want := mustRun(t, o)
	if len(want.Files) != 4+3 || want.Found != 0 {
		t.Fatalf("%d files, %d users found", len(want.Files), want.Found)
	}
	all := objects(t, out)
	for _, threads := range []int{2, 5} {
		out := mem.New()
		o := untrained(t, d, out)
		o.Threads = threads
		if mustRun(t, o); !same(objects(t, out), all) {
			t.Errorf("%d threads: other files", threads)
		}
	}
	// Ended inside of each part.
	out = mem.New()
	o = untrained(t, d, out)
	for _, at := range []int{1, 17, 33, 49} {
		ctx, cancel := context.WithCancel(t.Context())
		o.Progress = func(p Progress) {
			if p.Done == at {
				cancel()
			}
		}
		if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("ended at %d users: %v", at, err)
		}
		if _, err := ReadManifest(t.Context(), out, ""); !errors.Is(err, checkpoints.ErrNotExist) {
			t.Fatalf("ended at %d users: there is a current generation: %v", at, err)
		}
	}
	r := mustRun(t, o)
	if r.Found != 48 || r.Made != r.Users-48 {
		t.Errorf("%d users found, %d made of %d; want 3 parts of 16 found", r.Found, r.Made, r.Users)
	}
	if !same(objects(t, out), all) {
		t.Error("ended four times: other files")
	}
	before := out.Bytes(ManifestName)
	if r = mustRun(t, o); r.Found != r.Users || r.Made != 0 || !bytes.Equal(out.Bytes(ManifestName), before) {
		t.Errorf("once more: %d found, %d made", r.Found, r.Made)
	}
}

// Whatever fails, readers have a whole generation; the run that follows completes the new one with the same bytes.
func TestEveryOperationFails(t *testing.T) {
	d := synthetic(t, synth.Options{Users: 12, Items: 40, Dim: 8, Actions: 8})
	before := mem.New()
	o := untrained(t, d, before)
	o.PartUsers = 5
	old := mustRun(t, o)
	o.AsOfMS += 5 * day
	var puts []bool // of each operation
	var want map[string][]byte
	run := func(fail int, late bool) bool {
		out := mem.New()
		for name, content := range objects(t, before) {
			out.Set(name, content)
		}
		for _, name := range []string{ManifestName, old.Generation + "/" + ManifestName} {
			out.Set(name, before.Bytes(name))
		}
		o := o
		o.Out = out
		out.Inject(func(op mem.Op) mem.Fault {
			if fail == 0 {
				puts = append(puts, op.Kind == "put")
			}
			if op.N == fail {
				return mem.Fault{Err: checkpoints.ErrUnavailable, Late: late}
			}
			return mem.Fault{}
		})
		_, err := Run(t.Context(), o)
		out.Inject(nil)
		if fail > 0 && !errors.Is(err, checkpoints.ErrUnavailable) {
			t.Fatalf("operation %d: %v", fail, err)
		}
		check(t, current(t, out).verify(t.Context(), out))
		mustRun(t, o)
		if now := current(t, out); now.AsOfMS != o.AsOfMS {
			t.Fatalf("operation %d: current is %s", fail, now.Generation)
		}
		if want == nil {
			want = objects(t, out)
		}
		return same(objects(t, out), want)
	}
	run(0, false)
	if len(puts) < 20 {
		t.Fatalf("%d operations", len(puts))
	}
	for i, put := range puts {
		if !run(i+1, false) || put && !run(i+1, true) {
			t.Errorf("operation %d failed: other files", i+1)
		}
	}
}

// What is damaged is made anew, and told.
func TestDamage(t *testing.T) {
	d, out := small(t), mem.New()
	o := untrained(t, d, out)
	r := mustRun(t, o)
	all := objects(t, out)
	var notes []string
	o.Note = func(text string) { notes = append(notes, text) }
	flip := func(name string) {
		content := out.Bytes(name)
		content[len(content)/2] ^= 4
		out.Set(name, content)
	}
	dir := r.Generation + "/"
	for _, c := range []struct {
		damage func()
		want   string
		found  int
	}{
		{func() { flip(dir + partName(1)) }, partName(1) + " is made anew", r.Users - 16},
		{func() { check(t, out.Delete(t.Context(), dir+partName(2))) }, partName(2) + " is made anew", r.Users - 16},
		{func() { flip(dir + partName(0) + sumSuffix); flip(dir + itemsTable) }, partName(0) + " is made anew", r.Users - 16},
		{func() { flip(dir + usersMatrix) }, usersMatrix, r.Users},
		{func() { out.Set(dir+ManifestName, []byte("{")) }, "is completed anew", r.Users},
	} {
		notes = nil
		c.damage()
		again := mustRun(t, o)
		if text := strings.Join(notes, "\n"); !strings.Contains(text, c.want) || again.Found != c.found || !same(objects(t, out), all) {
			t.Errorf("%d found, want %d; notes %s, want %s", again.Found, c.found, text, c.want)
		}
	}
}

func TestNotFinite(t *testing.T) {
	o := untrained(t, small(t), mem.New())
	for i := range o.Params {
		data := slices.Clone(o.Params[i].Data)
		data[0] = float32(math.NaN())
		o.Params[i].Data = data
	}
	mustFail(t, o, "embed: user user0000", "of the embedding is NaN: want finite numbers")
	o.Params = o.Params[1:]
	mustFail(t, o, "tensors; the job's model has")
	o.Threads = -1
	mustFail(t, o, "-1 threads: want at least 1")
}
