//go:build !lean

package importer_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/importer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// log is a small shop: rows in no order, one twice, one item ("never") without a positive before the cut.
const log = `who,when,what,kind,secs,where
zoe,2024-01-05 10:00:00,007,buy,3,app
bob,2024-01-01 09:00:00,tea,buy,1.5,web
bob,2024-01-02 09:00:00,007,view,,app
bob,2024-01-01 09:00:00,tea,buy,1.5,web
Ann,2024-01-03 00:00:00,never,view,1,
Ann,2024-01-03 00:00:00,tea,view,1,
Ann,2024-01-03 00:00:00,cup,buy,9,web
Ann,2024-01-20 12:00:00,tea,buy,2,web
zoe,2024-01-20 12:00:01,never,buy,2,web
`

// put writes a file and returns its path.
func put(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if strings.HasSuffix(name, ".gz") {
		z := gzip.NewWriter(f)
		if _, err := z.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		err = z.Close()
	} else {
		_, err = f.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func options(t *testing.T, source string) importer.Options {
	return importer.Options{
		Sources: []string{source}, Out: filepath.Join(t.TempDir(), "shop"), Now: now, User: "who", Time: "when", Item: "what", Action: "kind", Duration: "secs", Surface: "where",
		Positive: []string{"buy"}, Cut: "2024-01-10", Holdout: .5, EvalDays: 14, Threads: 1,
	}
}

// imported runs the import and opens what it made.
func imported(t *testing.T, o importer.Options) *dataset.Dataset {
	t.Helper()
	if _, err := importer.Import(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for _, err := range dataset.Check(t.Context(), dataset.Dir(o.Out)) {
		t.Errorf("check: %v", err)
	}
	d, err := dataset.Open(t.Context(), dataset.Dir(o.Out), t.TempDir())
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

func users(d *dataset.Dataset) (out []dataset.Sequence) {
	for u := range d.Users() {
		out = append(out, d.User(u))
	}
	return out
}

func ms(text string) int64 {
	t, err := time.Parse(time.DateTime, text)
	if err != nil {
		panic(err)
	}
	return t.UnixMilli()
}

func TestImport(t *testing.T) {
	var lines []string
	o := options(t, put(t, "log.csv.gz", log))
	o.Log = func(l string) { lines = append(lines, l) }
	d := imported(t, o)
	// Items by id: 007 0, cup 1, tea 2; types buy 0, view 1; surfaces (none) 0, app 1, web 2. Ids keep their zeros, ties are in the order of items.
	want := []dataset.Sequence{
		{ID: "Ann", TimeMS: []int64{ms("2024-01-03 00:00:00"), ms("2024-01-03 00:00:00"), ms("2024-01-20 12:00:00")}, Item: []int32{1, 2, 2}, Action: []int32{0, 1, 0}, Surface: []int32{2, 0, 2}, Duration: []float32{9, 1, 2}},
		{ID: "bob", TimeMS: []int64{ms("2024-01-01 09:00:00"), ms("2024-01-02 09:00:00")}, Item: []int32{2, 0}, Action: []int32{0, 1}, Surface: []int32{2, 1}, Duration: []float32{1.5, 0}},
		{ID: "zoe", TimeMS: []int64{ms("2024-01-05 10:00:00")}, Item: []int32{0}, Action: []int32{0}, Surface: []int32{1}, Duration: []float32{3}},
	}
	if got := users(d); !reflect.DeepEqual(got, want) {
		t.Errorf("users\n%v, want\n%v", got, want)
	}
	m := d.Meta()
	if !slices.Equal(m.Types, []string{"buy", "view"}) || !slices.Equal(m.Positive, []bool{true, false}) || !slices.Equal(m.Surfaces, []string{"(none)", "app", "web"}) || !m.Durations ||
		m.Name != "shop" || m.CutMS != ms("2024-01-10 00:00:00") || m.Holdout != .5 || m.EvalDays != 14 || m.Items != 3 || !slices.Equal(m.Source, []string{"log.csv.gz"}) {
		t.Errorf("meta %+v", m)
	}
	if id, _, _ := d.Item(0); id != "007" {
		t.Errorf("item 0 is %q, want 007", id)
	}
	said := strings.Join(lines, "\n")
	for _, text := range []string{"read 9 rows, dropped 1 duplicates", "timestamp, read as UTC", "3 items", "dropped 2 of 8 actions on others"} {
		if !strings.Contains(said, text) {
			t.Errorf("%q is not among\n%s", text, said)
		}
	}
}

func TestWithoutOptionalColumns(t *testing.T) {
	o := options(t, put(t, "log.csv", log))
	o.Action, o.Duration, o.Surface, o.Positive, o.Name, o.Where, o.Cut = "", "", "", nil, "x", "kind = 'buy'", ""
	d := imported(t, o)
	m := d.Meta()
	if q := d.User(0); m.Durations || m.Surfaces != nil || q.Surface != nil || q.Duration != nil || !slices.Equal(m.Types, []string{"action"}) || !m.Positive[0] {
		t.Errorf("meta %+v, user %+v", m, q)
	}
	if m.CutMS != ms("2024-01-06 12:00:01") || m.Name != "x" { // 14 days before the last action
		t.Errorf("cut %d, name %q", m.CutMS, m.Name)
	}
}

// jsonLines writes the rows in another order, in another format.
func jsonLines(t *testing.T) string {
	rows := strings.Split(strings.TrimSpace(log), "\n")[1:]
	slices.Reverse(rows)
	var b strings.Builder
	for _, row := range rows {
		f := strings.Split(row, ",")
		secs, where := "null", "null"
		if f[4] != "" {
			secs = f[4]
		}
		if f[5] != "" {
			where = `"` + f[5] + `"`
		}
		fmt.Fprintf(&b, `{"who":%q,"when":%q,"what":%q,"kind":%q,"secs":%s,"where":%s}`+"\n", f[0], f[1], f[2], f[3], secs, where)
	}
	return put(t, "log.csv.jsonl", b.String())
}

func TestSameRowsSameBytes(t *testing.T) {
	o := options(t, put(t, "log.csv", log))
	first, err := importer.Import(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*importer.Options){
		"again": func(*importer.Options) {},
		"rows in another order, of two sources, with threads": func(p *importer.Options) {
			head, rest, _ := strings.Cut(log, "\n")
			lines := strings.Split(strings.TrimSpace(rest), "\n")
			slices.Reverse(lines)
			p.Sources = []string{put(t, "log.csv", head+"\n"+strings.Join(lines[:4], "\n")), put(t, "log.csv", head+"\n"+strings.Join(lines[2:], "\n"))}
			p.Threads, p.Memory = 3, "200MB"
		},
		"JSON lines": func(p *importer.Options) { p.Sources = []string{jsonLines(t)} },
	} {
		p := o
		p.Out = filepath.Join(t.TempDir(), "shop")
		change(&p)
		m, err := importer.Import(t.Context(), p)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(m.Files, first.Files) {
			t.Errorf("%s: files %v, want %v", name, m.Files, first.Files)
		}
		if name == "again" && m.Digest != first.Digest {
			t.Errorf("digests %s and %s", m.Digest, first.Digest)
		}
	}
}

func TestTimes(t *testing.T) {
	want := []int64{ms("2024-01-01 00:00:00"), ms("2024-01-02 00:00:00") + 250}
	for name, c := range map[string]struct {
		a, b, expression string
	}{
		"seconds, fractions": {"1704067200", "1704153600.25", "t"},
		"milliseconds":       {"1704067200000", "1704153600250", "t"},
		"microseconds":       {"1704067200000000", "1704153600250999", "t"},
		"nanoseconds":        {"1704067200000000000", "1704153600250999999", "t"},
		"numbers as text":    {"1704067200000", "1704153600250", "CAST(t AS VARCHAR)"},
		"timestamps":         {"2024-01-01T00:00:00", "2024-01-02 00:00:00.25", "t"},
		"text":               {"2024-01-01", "2024-01-02 00:00:00.25", "CAST(t AS VARCHAR)"},
		"time zones":         {"2024-01-01 02:00:00+02", "2024-01-01 23:00:00.25-01:00", "CAST(t AS TIMESTAMPTZ)"},
		"a format":           {"01.01.24 00:00:00.000", "02.01.24 00:00:00.250", "strptime(t, '%d.%m.%y %H:%M:%S.%g')"},
	} {
		text := "u,t,i\na," + c.a + ",x\na," + c.b + ",x\n"
		o := importer.Options{Sources: []string{put(t, "log.csv", text)}, Out: filepath.Join(t.TempDir(), "d"), Now: now, User: "u", Time: c.expression, Item: "i", Cut: "2024-01-01"}
		if strings.Contains(c.expression, "VARCHAR") || strings.Contains(c.expression, "strptime") {
			o.CSV = "all_varchar = true"
		}
		if _, err := importer.Import(t.Context(), o); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d, err := dataset.Open(t.Context(), dataset.Dir(o.Out), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if got := d.User(0).TimeMS; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	date := importer.Options{Sources: []string{put(t, "log.csv", "u,t,i\na,2024-01-01,x\na,2024-01-03,x\n")}, Out: filepath.Join(t.TempDir(), "d"), Now: now, User: "u", Time: "t", Item: "i", Cut: "1704153600"}
	if d := imported(t, date); d.User(0).TimeMS[0] != want[0] || d.Meta().CutMS != ms("2024-01-02 00:00:00") {
		t.Errorf("dates: %v, cut %d", d.User(0).TimeMS, d.Meta().CutMS)
	}
}

func TestRefusals(t *testing.T) {
	source := put(t, "log.csv", log)
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*importer.Options){
		`user "customer"`: func(o *importer.Options) { o.User = "customer" },
		"the columns are: who, when, what, kind, sec":                           func(o *importer.Options) { o.Item = "sku" },
		`positive "bought": there is no such action type; there are: buy, view`: func(o *importer.Options) { o.Positive = []string{"bought"} },
		"positive: want at least one of the action types buy, view":             func(o *importer.Options) { o.Positive = nil },
		`time: 1 of 9 rows cannot be read as a time, such as "soon"`: func(o *importer.Options) {
			o.Time = "CASE WHEN who = 'bob' AND what = '007' THEN 'soon' ELSE '2024-01-01' END"
		},
		"time: 6 of 9 rows have no time":                              func(o *importer.Options) { o.Time = `CASE WHEN who = 'bob' THEN "when" END` },
		"user: 3 of 9 rows have no user":                              func(o *importer.Options) { o.User = "CASE WHEN who <> 'bob' THEN who END" },
		"action: 3 of 9 rows have no action":                          func(o *importer.Options) { o.Action = "CASE WHEN who <> 'bob' THEN kind END" },
		"duration: 9 of 9 rows have a duration that is negative":      func(o *importer.Options) { o.Duration = "-1" },
		"time: 2 rows are in the future, up to 2024-01-20T12:00:01Z":  func(o *importer.Options) { o.Now = time.Date(2024, 1, 19, 0, 0, 0, 0, time.UTC) },
		"time: its type is BOOLEAN":                                   func(o *importer.Options) { o.Time = "true" },
		"no rows":                                                     func(o *importer.Options) { o.Where = "kind = 'none'" },
		"where":                                                       func(o *importer.Options) { o.Where = "kind ==== 3" },
		"nothing is left: no item has a positive of at least 5 users": func(o *importer.Options) { o.MinItemUsers = 5 },
		"cut 2023-01-01T00:00:00Z: want a time from the first action": func(o *importer.Options) { o.Cut = "2023-01-01" },
		`cut: "spring": want a date`:                                  func(o *importer.Options) { o.Cut = "spring" },
		"holdout 1: want at least 0, below 1":                         func(o *importer.Options) { o.Holdout = 1 },
		"eval_days -1":                                                func(o *importer.Options) { o.EvalDays = -1 },
		"the folder is not empty":                                     func(o *importer.Options) { o.Out = occupied },
		`out "s3://bucket/x": an import writes to a folder`:           func(o *importer.Options) { o.Out = "s3://bucket/x" },
		"no such file":                                                func(o *importer.Options) { o.Sources = []string{"/nowhere/log.csv"} },
		"want a name that ends in":                                    func(o *importer.Options) { o.Sources = []string{put(t, "log.xml", log)} },
		"sources: want at least one file":                             func(o *importer.Options) { o.Sources = nil },
		"items: none of the catalogue's 3 items, such as":             func(o *importer.Options) { o.Items, o.ItemID, o.ItemText = source, "who", []string{"kind"} },
		`item_text "title"`:                                           func(o *importer.Options) { o.Items, o.ItemText = source, []string{"title"} },
		"vectors: the columns are who, when":                          func(o *importer.Options) { o.Vectors = source },
		"sql: its query names the columns":                            func(o *importer.Options) { o.SQL = "FROM src1" },
		"sql: the query yields the columns who, when": func(o *importer.Options) {
			*o = importer.Options{Sources: o.Sources, Out: o.Out, Now: now, SQL: "FROM src1"}
		},
	} {
		o := options(t, source)
		change(&o)
		_, err := importer.Import(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if o.Out == occupied || strings.HasPrefix(o.Out, "s3:") {
			continue
		}
		left, err := os.ReadDir(filepath.Dir(o.Out))
		if err != nil || len(left) != 0 {
			t.Errorf("%q: left behind: %v %v", want, left, err)
		}
	}
	left, err := os.ReadDir(occupied)
	if err != nil || len(left) != 1 {
		t.Errorf("the occupied folder holds %v %v", left, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := importer.Import(ended, options(t, source)); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func TestFutureIsAllowedOnRequest(t *testing.T) {
	o := options(t, put(t, "log.csv", log))
	o.Now, o.AllowFuture = time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), true
	if d := imported(t, o); d.Users() != 3 {
		t.Errorf("%d users", d.Users())
	}
}

func TestQuery(t *testing.T) {
	first := put(t, "visits.csv", "person;page;seen\np1;a;1704067200\np2;b;1704070800\n")
	second := put(t, "history.csv", "person;pages\np1;b|a\n")
	o := importer.Options{
		Sources: []string{first, second}, CSV: "delim = ';'", Out: filepath.Join(t.TempDir(), "d"), Now: now, Cut: "2024-01-01 00:30:00",
		SQL: `SELECT person AS user, seen AS time, page AS item, 'visit' AS action FROM src1 UNION ALL
			SELECT person, 1704067100 + k * 10, list[k], 'history' FROM (SELECT person, string_split(pages, '|') AS list, unnest(range(1, 3)) AS k FROM src2) -- all of it
			;`,
		Positive: []string{"history", "visit"},
	}
	d := imported(t, o)
	// Page b was wanted by p1 before the cut, so p2's later visit of it stays.
	want := []dataset.Sequence{
		{ID: "p1", TimeMS: []int64{1704067110000, 1704067120000, 1704067200000}, Item: []int32{1, 0, 0}, Action: []int32{0, 0, 1}},
		{ID: "p2", TimeMS: []int64{1704070800000}, Item: []int32{1}, Action: []int32{1}},
	}
	if got := users(d); !reflect.DeepEqual(got, want) {
		t.Errorf("users\n%+v, want\n%+v", got, want)
	}
}

func TestItemsTexts(t *testing.T) {
	items := put(t, "items.csv", "sku,title,brand,shelf\n007,Bond,EON,films\n007,Bond,EON,films\n007,Agent,EON,films\ntea,Green Tea,,drinks\nother,Spoon,x,y\n")
	o := options(t, put(t, "log.csv", log))
	o.Items, o.ItemID, o.ItemText, o.Interest = items, "sku", []string{"title", "upper(brand)"}, "shelf"
	d := imported(t, o)
	for i, want := range [][3]string{{"007", "Bond EON", "films"}, {"cup", "", ""}, {"tea", "Green Tea", "drinks"}} {
		if id, text, interest := d.Item(i); [3]string{id, text, interest} != want {
			t.Errorf("item %d: %q %q %q, want %q", i, id, text, interest, want)
		}
	}
	// Without a file of their own the sources say it: the commonest text, of equals the first.
	p := options(t, put(t, "log.csv", log))
	p.ItemText = []string{"kind"}
	d = imported(t, p)
	for i, want := range []string{"buy", "buy", "buy"} {
		if _, text, _ := d.Item(i); text != want {
			t.Errorf("item %d from the sources: %q, want %q", i, text, want)
		}
	}
}

func TestOwnVectors(t *testing.T) {
	o := options(t, put(t, "log.csv", log))
	o.Vectors = put(t, "vectors.jsonl", `{"id":"tea","vector":[1,2,3]}
{"id":"cup","vector":[4,5.5,6]}
{"id":"007","vector":[-7,0,9]}
{"id":"other","vector":[1]}
`)
	d := imported(t, o)
	if v := d.Vectors(); v.Cols != 3 || !slices.Equal(v.Data, []float32{-7, 0, 9, 4, 5.5, 6, 1, 2, 3}) || d.Meta().Vectors != "from vectors.jsonl" {
		t.Errorf("%+v, %q", v, d.Meta().Vectors)
	}
	for want, text := range map[string]string{
		`1 of the catalogue's 3 items have none, such as "007"`: `{"id":"tea","vector":[1]}` + "\n" + `{"id":"cup","vector":[2]}`,
		"item 2 has 2 numbers, item 0 has 1":                    `{"id":"tea","vector":[1,2]}` + "\n" + `{"id":"cup","vector":[2]}` + "\n" + `{"id":"007","vector":[3]}`,
		`1 items have several, such as "tea"`:                   `{"id":"tea","vector":[1]}` + "\n" + `{"id":"tea","vector":[2]}` + "\n" + `{"id":"cup","vector":[2]}` + "\n" + `{"id":"007","vector":[3]}`,
		"want finite numbers":                                   `{"id":"tea","vector":[null]}` + "\n" + `{"id":"cup","vector":[2]}` + "\n" + `{"id":"007","vector":[3]}`,
		"some have none":                                        `{"id":"tea","vector":[]}` + "\n" + `{"id":"cup","vector":[2]}` + "\n" + `{"id":"007","vector":[3]}`,
	} {
		p := options(t, put(t, "log.csv", log))
		p.Vectors = put(t, "vectors.jsonl", text)
		if _, err := importer.Import(t.Context(), p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestColumnsWithOddNames(t *testing.T) {
	o := importer.Options{
		Sources: []string{put(t, "log.csv", "Customer ID,time,The \"Item\"\na,2024-01-01,x\na,2024-01-05,x\n")}, CSV: `quote = ''`,
		Out: "file://" + filepath.Join(t.TempDir(), "d"), Now: now, User: "customer id", Item: `The "Item"`, Cut: "2024-01-02",
	}
	if m, err := importer.Import(t.Context(), o); err != nil || m.Users != 1 || m.Actions != 2 {
		t.Errorf("%+v %v", m, err)
	}
}
