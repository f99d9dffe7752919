package dataset_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/ringleader-dev/ringleader/dataset"
)

// users is a row of sequences as another program might write it: optional lists of optional elements of wider types.
type users struct {
	User     string     `parquet:"user,optional"`
	TimeMS   []int64    `parquet:"time_ms,list,optional"`
	Item     []*int64   `parquet:"item,list,optional"`
	Action   []int64    `parquet:"action,list"`
	Surface  []int32    `parquet:"surface,list"`
	Duration []*float64 `parquet:"duration,list"`
	Extra    string     `parquet:"extra"`
}

type items struct {
	ID   string  `parquet:"id"`
	Text *string `parquet:"text"`
}

func pointers[T any](x ...T) []*T {
	var out []*T
	for _, v := range x {
		out = append(out, &v)
	}
	return out
}

// folder is a data set that a test bends before it is sealed, or after.
type folder struct {
	rows    []users
	items   []items
	vectors dataset.Vectors
	meta    dataset.Meta
	write   func(dir string) error // replaces the file of sequences
}

func newFolder() *folder {
	return &folder{
		rows: []users{
			{User: "a", TimeMS: []int64{10, 20, 20}, Item: pointers[int64](0, 1, 2), Action: []int64{0, 1, 0}, Surface: []int32{0, 0, 0}, Duration: pointers(1.0, 2, 3)},
			{User: "b", TimeMS: []int64{15}, Item: pointers[int64](2), Action: []int64{1}, Surface: []int32{0}, Duration: pointers(0.0)},
			{User: "c", TimeMS: []int64{30, 40}, Item: pointers[int64](1, 1), Action: []int64{0, 0}, Surface: []int32{0, 0}, Duration: pointers(0.0, 1)},
		},
		items:   []items{{"i0", new(string)}, {"i1", nil}, {"i2", nil}},
		vectors: dataset.Vectors{Rows: 3, Cols: 2, Data: []float32{1, 0, 0, 1, 1, 1}},
		meta: dataset.Meta{Name: "bent", Users: 3, Items: 3, Actions: 6, FirstMS: 10, LastMS: 40, CutMS: 30, EvalDays: 14, Types: []string{"x", "y"},
			Positive: []bool{true, false}, Surfaces: []string{"s"}, Durations: true, VectorDim: 2},
	}
}

func (f *folder) seal(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, dataset.SequencesDir), 0o755))
	part := filepath.Join(dir, dataset.SequencesDir, "part-0.parquet")
	if f.write != nil {
		must(f.write(part))
	} else {
		must(parquet.WriteFile(part, f.rows))
	}
	must(parquet.WriteFile(filepath.Join(dir, dataset.ItemsName), f.items))
	var v bytes.Buffer
	must(dataset.WriteVectors(&v, f.vectors))
	must(os.WriteFile(filepath.Join(dir, dataset.VectorsName), v.Bytes(), 0o644))
	_, err := dataset.Seal(dir, f.meta)
	must(err)
	return dir
}

func TestAnotherProgramsFilesAreRead(t *testing.T) {
	d := mustOpen(t, dataset.Dir(newFolder().seal(t)), t.TempDir())
	q := d.User(0)
	if d.Users() != 3 || q.ID != "a" || q.Item[2] != 2 || q.TimeMS[1] != 20 || q.Action[1] != 1 || q.Duration[2] != 3 || len(d.User(1).Item) != 1 {
		t.Errorf("users %+v, %+v", q, d.User(1))
	}
	if bad := dataset.Check(ctx, dataset.Dir(newFolder().seal(t))); len(bad) != 0 {
		t.Errorf("check: %v", bad)
	}
}

func TestSeveralFilesAndRowGroupsWithoutOptionalColumns(t *testing.T) {
	f := newFolder()
	f.meta.Surfaces, f.meta.Durations = nil, false
	f.write = func(part string) error {
		if err := parquet.WriteFile(part, f.rows[:2], parquet.MaxRowsPerRowGroup(1)); err != nil {
			return err
		}
		return parquet.WriteFile(filepath.Join(filepath.Dir(part), "part-1.parquet"), f.rows[2:])
	}
	d := mustOpen(t, dataset.Dir(f.seal(t)), t.TempDir())
	for u, want := range f.rows {
		q := d.User(u)
		if q.ID != want.User || !slices.Equal(q.TimeMS, want.TimeMS) || len(q.Item) != len(want.Item) || q.Surface != nil || q.Duration != nil {
			t.Errorf("user %d: %+v, want %+v", u, q, want)
		}
	}
}

func TestContentThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		bend func(*folder)
		want string
	}{
		"item out of range":  {func(f *folder) { *f.rows[1].Item[0] = 3 }, `user "b": value 3 is out of range: dataset.json has 3 items`},
		"negative item":      {func(f *folder) { *f.rows[1].Item[0] = -1 }, `value -1 is out of range`},
		"unknown action":     {func(f *folder) { f.rows[2].Action[1] = 2 }, `user "c": value 2 is out of range: dataset.json has 2 action types`},
		"unknown surface":    {func(f *folder) { f.rows[2].Surface[1] = 1 }, `value 1 is out of range: dataset.json has 1 surfaces`},
		"unsorted":           {func(f *folder) { f.rows[0].TimeMS[2] = 19 }, `user "a": time_ms 19 follows 20: want times in ascending order`},
		"too late":           {func(f *folder) { f.rows[2].TimeMS[1] = 41 }, `user "c": time_ms 41 is later than last_ms 40`},
		"too early":          {func(f *folder) { f.rows[0].TimeMS[0] = 9 }, `time_ms 9 is earlier than first_ms 10`},
		"no time":            {func(f *folder) { f.rows[1].TimeMS = nil }, `user "b" without time`},
		"a time too many":    {func(f *folder) { f.rows[1].TimeMS = []int64{15, 15} }, `user "b": time_ms has 2 values, item has 1`},
		"null item":          {func(f *folder) { f.rows[0].Item[1] = nil }, `column "item": row 0 holds a null`},
		"null user":          {func(f *folder) { f.rows[1].User = "" }, `row 1 has no user`},
		"two rows of a user": {func(f *folder) { f.rows[1].User = "a" }, `user "a" has two rows`},
		"users out of order": {func(f *folder) { f.rows[1].User = "Z" }, `user "Z" follows "a"`},
		"no actions":         {func(f *folder) { f.rows[1] = users{User: "b"} }, `user "b" has no actions`},
		"negative duration":  {func(f *folder) { *f.rows[0].Duration[0] = -1 }, `value -1: want seconds`},
		"counts of users":    {func(f *folder) { f.rows = f.rows[:2] }, `sequences holds 2 users, dataset.json says 3`},
		"too many users":     {func(f *folder) { f.meta.Users = 2 }, `sequences holds 3 users, dataset.json says 2`},
		"counts of actions":  {func(f *folder) { f.meta.Actions = 7 }, `sequences holds 6 actions, dataset.json says 7`},
		"too many actions":   {func(f *folder) { f.meta.Actions = 4 }, `sequences holds 6 actions, dataset.json says 4`},
		"counts of items":    {func(f *folder) { f.items = f.items[:2] }, `items.parquet holds 2 items, dataset.json says 3`},
		"item without id":    {func(f *folder) { f.items[1].ID = "" }, `item 1 has no id`},
		"shape of vectors":   {func(f *folder) { f.vectors.Rows, f.vectors.Cols = 2, 3 }, `item_vectors.safetensors is 2 x 3, dataset.json says 3 items x vector_dim 2`},
		"vectors not finite": {func(f *folder) { f.vectors.Data[3] /= f.vectors.Data[1] }, `row 1, lane 1 is +Inf`},
		"not Parquet": {func(f *folder) {
			f.write = func(p string) error { return os.WriteFile(p, []byte("user,item\n"), 0o644) }
		}, `read sequences/part-0.parquet`},
		"missing column":        {func(f *folder) { f.write = func(p string) error { return parquet.WriteFile(p, f.items) } }, `column "user" is missing; there are: id, text`},
		"column of wrong kind":  {func(f *folder) { f.write = textTimes }, `column "time_ms" is of kind BYTE_ARRAY: want INT64`},
		"column without a list": {func(f *folder) { f.write = flatTimes }, `column "time_ms" is nested 0 deep: want 1`},
	} {
		f := newFolder()
		c.bend(f)
		dir := f.seal(t)
		cache := t.TempDir()
		if _, err := dataset.Open(ctx, dataset.Dir(dir), cache); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: open: %v, want %q", name, err, c.want)
		}
		if left, err := os.ReadDir(cache); err != nil || len(left) != 0 {
			t.Errorf("%s: left in the cache: %v %v", name, left, err)
		}
		bad := dataset.Check(ctx, dataset.Dir(dir))
		if len(bad) == 0 || !strings.Contains(bad[0].Error(), c.want) {
			t.Errorf("%s: check: %v, want %q", name, bad, c.want)
		}
	}
}

func textTimes(path string) error {
	return parquet.WriteFile(path, []struct {
		User   string   `parquet:"user"`
		TimeMS []string `parquet:"time_ms,list"`
	}{{"a", []string{"yesterday"}}})
}

func flatTimes(path string) error {
	return parquet.WriteFile(path, []struct {
		User   string `parquet:"user"`
		TimeMS int64  `parquet:"time_ms"`
	}{{"a", 1}})
}

func TestCheckFindsEveryProblem(t *testing.T) {
	f := newFolder()
	f.rows[0].TimeMS[2] = 19
	f.rows[2].TimeMS[1] = 41
	f.items[2].ID = "i0"
	f.vectors.Data[0] = -f.vectors.Data[0] / f.vectors.Data[1]
	bad := dataset.Check(ctx, dataset.Dir(f.seal(t)))
	for _, want := range []string{`user "a": time_ms 19`, `user "c": time_ms 41`, `items 0 and 2 have the same id "i0"`, `row 0, lane 0 is -Inf`} {
		found := false
		for _, err := range bad {
			found = found || strings.Contains(err.Error(), want)
		}
		if !found {
			t.Errorf("%q is not among %v", want, bad)
		}
	}
	if len(bad) != 4 {
		t.Errorf("%d problems, want 4: %v", len(bad), bad)
	}
	f = newFolder()
	f.meta.LastMS, f.meta.CutMS = 50, 51
	if bad := dataset.Check(ctx, dataset.Dir(f.seal(t))); len(bad) != 2 {
		t.Errorf("range and cut: %v, want 2 problems", bad)
	}
	f = newFolder()
	for i := range 150 {
		f.rows = append(f.rows, users{User: "c" + strings.Repeat("x", i+1)})
	}
	if bad := dataset.Check(ctx, dataset.Dir(f.seal(t))); len(bad) != 100 {
		t.Errorf("%d problems, want no more than 100", len(bad))
	}
}

func TestFilesThatAreDamaged(t *testing.T) {
	part := filepath.Join(dataset.SequencesDir, "part-0.parquet")
	for name, c := range map[string]struct {
		file   string
		damage func([]byte) []byte
		want   string
	}{
		"truncated":          {part, func(b []byte) []byte { return b[:len(b)-5] }, "fetch sequences/part-0.parquet: truncated"},
		"longer":             {part, func(b []byte) []byte { return append(b, 0) }, "more than the"},
		"a bit":              {part, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "fetch sequences/part-0.parquet: sha256"},
		"a bit of the items": {dataset.ItemsName, func(b []byte) []byte { b[10] ^= 1; return b }, "fetch items.parquet: sha256"},
		"vectors":            {dataset.VectorsName, func(b []byte) []byte { return b[:len(b)-1] }, "fetch item_vectors.safetensors: truncated"},
		"meta cut off":       {dataset.MetaName, func(b []byte) []byte { return b[:len(b)/2] }, "parse dataset.json"},
		"meta changed":       {dataset.MetaName, func(b []byte) []byte { return bytes.Replace(b, []byte(`"cut_ms": 30`), []byte(`"cut_ms": 31`), 1) }, "it was changed after it was written"},
		"unknown field":      {dataset.MetaName, func(b []byte) []byte { return bytes.Replace(b, []byte(`"cut_ms"`), []byte(`"cutms"`), 1) }, `unknown field "cutms"`},
	} {
		dir := newFolder().seal(t)
		path := filepath.Join(dir, c.file)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, c.damage(raw), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := dataset.Open(ctx, dataset.Dir(dir), t.TempDir()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if bad := dataset.Check(ctx, dataset.Dir(dir)); len(bad) == 0 || !strings.Contains(bad[0].Error(), c.want) {
			t.Errorf("%s: check: %v, want %q", name, bad, c.want)
		}
	}
	dir := newFolder().seal(t)
	if err := os.Remove(filepath.Join(dir, part)); err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Open(ctx, dataset.Dir(dir), t.TempDir()); err == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestMetaThatIsWrong(t *testing.T) {
	good, err := dataset.ReadMeta(ctx, dataset.Dir(newFolder().seal(t)))
	if err != nil {
		t.Fatal(err)
	}
	for want, bend := range map[string]func(*dataset.Meta){
		"version 2":                 func(m *dataset.Meta) { m.Version = 2 },
		"users 0":                   func(m *dataset.Meta) { m.Users = 0 },
		"items 3000000000":          func(m *dataset.Meta) { m.Items = 3e9 },
		"actions 2":                 func(m *dataset.Meta) { m.Actions = 2 },
		"first_ms 50":               func(m *dataset.Meta) { m.FirstMS = 50 },
		"years 1 to 9999":           func(m *dataset.Meta) { m.LastMS = 1 << 62 },
		"eval_days 0":               func(m *dataset.Meta) { m.EvalDays = 0 },
		"holdout 1":                 func(m *dataset.Meta) { m.Holdout = 1 },
		"actions_vocabulary":        func(m *dataset.Meta) { m.Types, m.Positive = nil, nil },
		"positive has 1":            func(m *dataset.Meta) { m.Positive = m.Positive[:1] },
		"positive has no true":      func(m *dataset.Meta) { m.Positive = []bool{false, false} },
		"vector_dim 0":              func(m *dataset.Meta) { m.VectorDim = 0 },
		"items.parquet is missing":  func(m *dataset.Meta) { m.Files = m.Files[:1] },
		"part-*.parquet is missing": func(m *dataset.Meta) { m.Files = m.Files[1:] },
		"listed twice":              func(m *dataset.Meta) { m.Files = append(m.Files, m.Files[0]) },
		`"../x"`:                    func(m *dataset.Meta) { m.Files = append(m.Files, dataset.File{Name: "../x"}) },
		"64 hex digits":             func(m *dataset.Meta) { m.Files = append([]dataset.File{}, m.Files...); m.Files[0].SHA256 = "abc" },
	} {
		m := good
		bend(&m)
		if m.Digest, err = m.ComputeDigest(); err != nil {
			t.Fatal(err)
		}
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	text, err := json.Marshal(good)
	if err != nil || !strings.Contains(string(text), `"eval_days":14`) {
		t.Errorf("%s %v", text, err)
	}
}
