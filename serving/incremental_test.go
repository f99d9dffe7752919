package serving

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
)

// active are the users with an action in (from, to].
func active(d *dataset.Dataset, from, to int64) (ids []string) {
	for u := range d.Users() {
		if q := d.User(u); slices.ContainsFunc(q.TimeMS, func(t int64) bool { return t > from && t <= to }) {
			ids = append(ids, q.ID)
		}
	}
	return ids
}

// Day after day, only users with a new action are computed, the others' vectors are those of before, and the files are those that computing everybody gives.
func TestDaily(t *testing.T) {
	d, out := small(t), mem.New()
	o := untrained(t, d, out)
	begin := o.AsOfMS
	first := mustRun(t, o)
	before := users(t, out, &first.Manifest)
	for range 3 {
		o.AsOfMS += day
		r := mustRun(t, o)
		want := active(d, o.AsOfMS-day, o.AsOfMS)
		if r.Made != len(want) || r.Kept != r.Users-len(want) || r.Made == 0 || r.Kept == 0 || r.Volatile.Previous == "" {
			t.Fatalf("%d users made, %d kept; %d had an action", r.Made, r.Kept, len(want))
		}
		after := users(t, out, &r.Manifest)
		for i, id := range before.ids {
			j, ok := slices.BinarySearch(after.ids, id)
			if !ok {
				t.Fatalf("user %s is gone", id)
			}
			changed := slices.Contains(want, id)
			if same := slices.Equal(after.vector(j), before.vector(i)); same == changed || (after.asOfMS[j] == before.asOfMS[i]) == changed {
				t.Errorf("user %s, active %t: vectors equal %t, as of %d and %d", id, changed, same, before.asOfMS[i], after.asOfMS[j])
			}
		}
		before = after
		elsewhere := o
		elsewhere.Out = mem.New()
		if full := mustRun(t, elsewhere); full.Made != full.Users || hashes(full) != hashes(r) {
			t.Errorf("computed in full: %d users made\n%s\nwant %s", full.Made, hashes(full), hashes(r))
		}
	}
	// Reads as of a time see nothing later, and the past may still be added to.
	for ms, want := range map[int64]int64{begin: begin, begin + 2*day - 1: begin + day, begin + 1000*day: begin + 3*day} {
		if m, err := AsOf(t.Context(), out, ms); err != nil || m.AsOfMS != want {
			t.Errorf("as of %d: %+v, %v; want that of %d", ms, m, err, want)
		}
	}
	if _, err := AsOf(t.Context(), out, begin-1); !errors.Is(err, checkpoints.ErrNotExist) {
		t.Errorf("as of a time before all: %v", err)
	}
	var notes []string
	o.Note = func(text string) { notes = append(notes, text) }
	o.AsOfMS = begin - day
	past := mustRun(t, o)
	if told := strings.Contains(strings.Join(notes, ""), "goes on naming the later generation as-of-"); past.Current || past.Kept != 0 || current(t, out).AsOfMS != begin+3*day || !told {
		t.Errorf("a generation of the past: %+v, current %s, notes %q", past, current(t, out).Generation, notes)
	}
	if m, err := AsOf(t.Context(), out, begin-1); err != nil || m.AsOfMS != begin-day {
		t.Errorf("as of a time before the first: %+v, %v", m, err)
	}
}

// What a model reads of a user may change without a new action: actions that arrive late, items with other vectors. Users that are gone are gone.
func TestChangedData(t *testing.T) {
	const items = 40
	vectors := dataset.Vectors{Rows: items, Cols: 8, Data: make([]float32, items*8)}
	for i := range items {
		vectors.Row(i)[i%8] = 1
	}
	sequence := func(id string, item ...int32) dataset.Sequence {
		s := dataset.Sequence{ID: id, Item: item}
		for i := range item {
			s.TimeMS, s.Action = append(s.TimeMS, int64(i)*day), append(s.Action, 0)
			s.Surface, s.Duration = append(s.Surface, 0), append(s.Duration, 1)
		}
		return s
	}
	write := func(v dataset.Vectors, late ...dataset.Sequence) *dataset.Dataset {
		dir := t.TempDir()
		w, err := dataset.NewWriter(dir, dataset.Meta{Name: "late", CutMS: 50 * day, EvalDays: 14, Types: []string{"buy"}, Positive: []bool{true},
			Surfaces: []string{"home"}, Durations: true, Source: []string{"late"}})
		check(t, err)
		for i := range items {
			check(t, w.Item(string(rune('A'+i)), "", ""))
		}
		for _, s := range late {
			check(t, w.User(s))
		}
		check(t, w.User(sequence("x", make([]int32, 60)...))) // for the time range
		check(t, w.Vectors(v, "test"))
		_, err = w.Close()
		check(t, err)
		return open(t, dir)
	}
	out := mem.New()
	o := untrained(t, write(vectors, sequence("a", 1, 2, 3), sequence("b", 4, 5), sequence("c", 6), sequence("d", 7, 7)), out)
	o.AsOfMS = 40 * day
	first := mustRun(t, o)
	before := users(t, out, &first.Manifest)

	late := sequence("b", 4, 5)
	late.TimeMS[0]++
	other := dataset.Vectors{Rows: items, Cols: 8, Data: slices.Clone(vectors.Data)}
	other.Row(6)[0] += .5
	o.Data = write(other, sequence("a", 1, 2, 3), late, sequence("c", 6), sequence("e", 1))
	r := mustRun(t, o)
	after := users(t, out, &r.Manifest)
	if !slices.Equal(after.ids, []string{"a", "b", "c", "e", "x"}) || r.Made != 3 || r.Kept != 2 {
		t.Fatalf("users %v, %d made, %d kept", after.ids, r.Made, r.Kept)
	}
	want := newReference(t, o, o.AsOfMS)
	for i, id := range after.ids {
		near(t, id, after.vector(i), want.users[id])
	}
	if slices.Equal(before.vector(1), after.vector(1)) || slices.Equal(before.vector(2), after.vector(2)) {
		t.Error("late actions or other item vectors change nothing")
	}
}

// Vectors of two models never mix.
func TestOtherModel(t *testing.T) {
	d, out := small(t), mem.New()
	o := untrained(t, d, out)
	old := mustRun(t, o)
	there := objects(t, out)
	o.AsOfMS += day
	for _, c := range []struct {
		want  []string
		spoil func(o *Options)
	}{
		{[]string{"mem:: another model's embeddings: state 000000000000feed of job ", ", this is state 000000000000beef of job ", "only a full run"},
			func(o *Options) { o.State = 0xBEEF }},
		{[]string{"numerics class cpu/", ", this is another"}, func(o *Options) { o.Device = renamed{o.Device} }},
		{[]string{`action types ["buy" "hide" "view"], this data set has ["buy" "view" "hide"]`}, func(o *Options) { o.Data = permuted(t, o.Data) }},
	} {
		o := o
		c.spoil(&o)
		if err := mustFail(t, o, c.want...); !errors.Is(err, ErrOther) {
			t.Errorf("%v is no ErrOther", err)
		}
		o.Out, o.From = mem.New(), out
		mustFail(t, o, c.want...)
		o.Out, o.From, o.Full = out, nil, true
		if !same(objects(t, out), there) {
			t.Error("a refused run left something")
		}
	}
	// Asked for explicitly, everything is made anew, and the place is the new model's.
	other := o
	other.State, other.Full = 0xBEEF, true
	other.AsOfMS = old.AsOfMS - day
	r := mustRun(t, other)
	if r.Made != r.Users || !r.Current {
		t.Errorf("%d made of %d, current %t", r.Made, r.Users, r.Current)
	}
	if _, err := AsOf(t.Context(), out, old.AsOfMS); err != nil {
		t.Error(err)
	}
	if m, err := AsOf(t.Context(), out, old.AsOfMS); err != nil || m.State != other.State.String() {
		t.Errorf("as of a time of both models: %+v, %v", m, err)
	}
	mustFail(t, o, "another model's embeddings")
	for name, content := range there {
		if now := out.Bytes(name); string(now) != string(content) {
			t.Errorf("%s changed", name)
		}
	}
}

type renamed struct{ device.Device }

func (renamed) Class() string { return "another" }

// permuted is the data set with two action types exchanged.
func permuted(t *testing.T, d *dataset.Dataset) *dataset.Dataset {
	t.Helper()
	dir, meta := t.TempDir(), d.Meta()
	meta.Types, meta.Positive = []string{"buy", "view", "hide"}, []bool{true, true, false}
	w, err := dataset.NewWriter(dir, meta)
	check(t, err)
	for i := range meta.Items {
		check(t, w.Item(d.Item(i)))
	}
	for u := range meta.Users {
		q := d.User(u)
		q.Action = slices.Clone(q.Action)
		for i, a := range q.Action {
			q.Action[i] = []int32{0, 2, 1}[a]
		}
		check(t, w.User(q))
	}
	check(t, w.Vectors(d.Vectors(), meta.Vectors))
	_, err = w.Close()
	check(t, err)
	return open(t, dir)
}

// An earlier generation saves time only: from another place, damaged, or none, the files are the same.
func TestFrom(t *testing.T) {
	d, from := small(t), mem.New()
	o := untrained(t, d, from)
	old := mustRun(t, o)
	o.AsOfMS += day
	o.Out = mem.New()
	want := mustRun(t, o)
	var notes []string
	o.Note = func(text string) { notes = append(notes, text) }
	o.From = from
	for _, c := range []struct {
		damage func()
		note   string
		kept   func(all int) bool
	}{
		{func() {}, "", func(n int) bool { return n > 30 }},
		{func() { from.Set(old.Generation+"/"+partName(1), []byte("PAR1")) }, "users of a damaged part are computed", func(n int) bool { return n > 16 && n <= 44 }},
		{func() { check(t, from.Delete(t.Context(), old.Generation+"/"+partName(2))) }, partName(2), func(n int) bool { return n > 8 && n <= 28 }},
		{func() { from.Set(old.Generation+"/"+ManifestName, []byte("{")) }, "all vectors are computed", func(n int) bool { return n == 0 }},
	} {
		c.damage()
		notes = nil
		out := mem.New()
		o.Out = out
		r := mustRun(t, o)
		if !c.kept(r.Kept) || hashes(r) != hashes(want) || !strings.Contains(strings.Join(notes, "\n"), c.note) || c.note == "" && len(notes) > 0 {
			t.Errorf("%d kept of %d, files equal %t, notes %q, want %q", r.Kept, r.Users, hashes(r) == hashes(want), notes, c.note)
		}
	}
	o.Out, o.From = mem.New(), mem.New()
	mustFail(t, o, "embed: mem:: open embeddings.json: does not exist")
	o.From = from
	from.Set(ManifestName, []byte("{}"))
	mustFail(t, o, "version 0: this program reads version 1")
}
