package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/parquet-go/parquet-go"
)

func TestWriterSplitsLongData(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter(dir, Meta{Name: "long", CutMS: 5, EvalDays: 1, Types: []string{"a"}, Positive: []bool{true}})
	if err != nil {
		t.Fatal(err)
	}
	w.groupActions, w.partActions = 10, 30
	var users []Sequence
	for u, n := range []int{4, 6, 1, 12, 9, 3, 40, 2} { // groups 4+6, 1, 12 | 9, 3 | 40 | 2
		s := Sequence{ID: fmt.Sprint("u", u)}
		for i := range n {
			s.Item, s.TimeMS, s.Action = append(s.Item, 0), append(s.TimeMS, int64(i)), append(s.Action, 0)
		}
		users = append(users, s)
		if err := w.User(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Item("i", "", ""), w.Vectors(Vectors{Rows: 1, Cols: 1, Data: []float32{1}}, "by hand")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for part, want := range []int{3, 2, 1, 1} {
		f, err := os.Open(filepath.Join(dir, SequencesDir, fmt.Sprintf("part-%05d.parquet", part)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		p, err := parquet.OpenFile(f, info.Size())
		if err != nil || len(p.RowGroups()) != want {
			t.Errorf("part %d: %d row groups (%v), want %d", part, len(p.RowGroups()), err, want)
		}
	}
	d, err := Open(t.Context(), Dir(dir), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range users {
		if got := d.User(u); !reflect.DeepEqual(got, want) {
			t.Errorf("user %d: %+v, want %+v", u, got, want)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
