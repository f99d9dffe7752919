package dataset_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func write(t *testing.T, o synth.Options) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := synth.Write(dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustOpen(t *testing.T, src dataset.Source, cache string) *dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(ctx, src, cache)
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

// all is everything that a data set returns.
func all(d *dataset.Dataset) (users []dataset.Sequence, items [][3]string, v dataset.Vectors) {
	for u := range d.Users() {
		users = append(users, d.User(u))
	}
	for i := range d.Meta().Items {
		id, text, interest := d.Item(i)
		items = append(items, [3]string{id, text, interest})
	}
	return users, items, d.Vectors()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for name, plain := range map[string]bool{"all columns": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			m := dataset.Meta{Name: "x", CutMS: 5, EvalDays: 1, Types: []string{"a", "b"}, Positive: []bool{true, false}}
			users := []dataset.Sequence{
				{ID: "anna", Item: []int32{0, 1, 0}, TimeMS: []int64{1, 1, 9}, Action: []int32{0, 1, 1}},
				{ID: "béla", Item: []int32{1}, TimeMS: []int64{-7}, Action: []int32{0}},
			}
			if !plain {
				m.Surfaces, m.Durations = []string{"s", "t"}, true
				users[0].Surface, users[0].Duration = []int32{0, 1, 0}, []float32{0, .5, 3e9}
				users[1].Surface, users[1].Duration = []int32{1}, []float32{1}
			}
			dir := t.TempDir()
			w, err := dataset.NewWriter(dir, m)
			if err != nil {
				t.Fatal(err)
			}
			want := dataset.Vectors{Rows: 2, Cols: 3, Data: []float32{1, 2, 3, -1, 0, 1e-20}}
			for _, err := range []error{w.User(users[0]), w.User(users[1]), w.Item("i0", "text", ""), w.Item("i1", "", "topic"), w.Vectors(want, "by hand")} {
				if err != nil {
					t.Fatal(err)
				}
			}
			meta, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			d := mustOpen(t, dataset.Dir(dir), t.TempDir())
			gotUsers, items, v := all(d)
			if !reflect.DeepEqual(gotUsers, users) {
				t.Errorf("users %v, want %v", gotUsers, users)
			}
			if !reflect.DeepEqual(items, [][3]string{{"i0", "text", ""}, {"i1", "", "topic"}}) || !reflect.DeepEqual(v, want) {
				t.Errorf("items %v, vectors %v", items, v)
			}
			if got := d.Meta(); !reflect.DeepEqual(got, meta) || got.Users != 2 || got.Items != 2 || got.Actions != 4 || got.FirstMS != -7 || got.LastMS != 9 || got.VectorDim != 3 {
				t.Errorf("meta %+v", got)
			}
			if bad := dataset.Check(ctx, dataset.Dir(dir)); len(bad) != 0 {
				t.Errorf("check: %v", bad)
			}
		})
	}
}

func TestWriterRefuses(t *testing.T) {
	m := dataset.Meta{Name: "x", Types: []string{"a"}, Positive: []bool{true}, Durations: true}
	w, err := dataset.NewWriter(t.TempDir(), m)
	if err != nil {
		t.Fatal(err)
	}
	good := dataset.Sequence{ID: "b", Item: []int32{0}, TimeMS: []int64{1}, Action: []int32{0}, Duration: []float32{1}}
	short := good
	short.Duration = nil
	if w.User(short) == nil {
		t.Error("columns of different lengths: no error")
	}
	if err := w.User(good); err != nil {
		t.Fatal(err)
	}
	if w.User(good) == nil {
		t.Error("the same user again: no error")
	}
	if w.Item("", "", "") == nil {
		t.Error("an item without id: no error")
	}
	if _, err := w.Close(); err == nil {
		t.Error("a data set without items and vectors: no error")
	}
}

// onlyMeta is a store that has lost everything but dataset.json.
type onlyMeta struct{ dataset.Source }

func (s onlyMeta) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if name != dataset.MetaName {
		return nil, errors.New("gone: " + name)
	}
	return s.Source.Open(ctx, name)
}

func TestSecondOpenReadsTheCacheAlone(t *testing.T) {
	src, cache := dataset.Dir(write(t, synth.Options{})), t.TempDir()
	users, items, vectors := all(mustOpen(t, src, cache))
	again, itemsAgain, vectorsAgain := all(mustOpen(t, onlyMeta{src}, cache))
	if !reflect.DeepEqual(users, again) || !reflect.DeepEqual(items, itemsAgain) || !reflect.DeepEqual(vectors, vectorsAgain) {
		t.Error("the cache holds something else")
	}
	if _, err := dataset.Open(ctx, onlyMeta{src}, t.TempDir()); err == nil || !strings.Contains(err.Error(), "gone: ") {
		t.Errorf("without cache and files: error %v", err)
	}
}

func TestManyOpenAtOnce(t *testing.T) {
	src, cache := dataset.Dir(write(t, synth.Options{})), t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			d, err := dataset.Open(ctx, src, cache)
			if err != nil {
				t.Error(err)
				return
			}
			if id := d.User(199).ID; id != "user000199" {
				t.Errorf("user 199 is %q", id)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	files, err := os.ReadDir(cache)
	if err != nil || len(files) != 1 {
		t.Errorf("cache holds %v (%v), want one file", files, err)
	}
}

func TestDamagedCacheIsBuiltAnew(t *testing.T) {
	src := dataset.Dir(write(t, synth.Options{}))
	for name, damage := range map[string]func([]byte) []byte{
		"bit":   func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"short": func(b []byte) []byte { return b[:len(b)-1] },
		"head":  func(b []byte) []byte { return b[:10] },
		"magic": func(b []byte) []byte { b[0]++; return b },
		"empty": func([]byte) []byte { return nil },
	} {
		cache := t.TempDir()
		want, _, _ := all(mustOpen(t, src, cache))
		path := filepath.Join(cache, mustOpen(t, src, cache).Meta().Digest+".flat")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil { // the open ones keep their mapping of the old file
			t.Fatal(err)
		}
		if err := os.WriteFile(path, damage(raw), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := all(mustOpen(t, src, cache)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: users differ", name)
		}
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ended, cancel := context.WithCancel(ctx)
	src := dataset.Dir(write(t, synth.Options{}))
	cancel()
	if _, err := dataset.Open(ended, src, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestDescribe(t *testing.T) {
	d := mustOpen(t, dataset.Dir(write(t, synth.Options{})), t.TempDir())
	s := d.Stats()
	held, evaluable, lengths := 0, 0, 0
	m := d.Meta()
	for u := range d.Users() {
		q := d.User(u)
		lengths += len(q.Item)
		if !dataset.HeldoutID(q.ID, m.Holdout) {
			continue
		}
		held++
		before, after := false, false
		for i, x := range q.TimeMS {
			before = before || x <= m.CutMS
			after = after || x > m.CutMS && x <= m.CutMS+14*24*3600*1000 && m.Positive[q.Action[i]]
		}
		if before && after {
			evaluable++
		}
	}
	if s.Heldout != held || s.Evaluable != evaluable || held == 0 || evaluable == 0 || int64(lengths) != m.Actions {
		t.Errorf("held out %d, evaluable %d: want %d, %d", s.Heldout, s.Evaluable, held, evaluable)
	}
	text := d.Describe()
	for _, want := range []string{m.Digest, "200: ", "buy (positive)", "hide ", "2024-01-01", "home, search", "synthetic: topic and noise"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
