//go:build !lean

package importer_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/ringleader-dev/ringleader/dataset"
)

// Users with a warehouse write the layout themselves. DuckDB stands for it: optional lists of optional elements, wider types, other encodings.
func TestLayoutWrittenByAnotherEngine(t *testing.T) {
	o := options(t, put(t, "log.csv", log))
	want := users(imported(t, o))
	part := filepath.Join(o.Out, dataset.SequencesDir, "part-00000.parquet")
	other := filepath.Join(t.TempDir(), "part.parquet")
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`COPY (SELECT duration::DOUBLE[] AS duration, item::BIGINT[] AS item, "user", action, time_ms, surface::BIGINT[] AS surface FROM '` + part + `' ORDER BY "user") TO '` + other + `' (FORMAT parquet, COMPRESSION snappy)`); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, part); err != nil {
		t.Fatal(err)
	}
	m, err := dataset.ReadMeta(t.Context(), dataset.Dir(o.Out))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dataset.Seal(o.Out, m); err != nil {
		t.Fatal(err)
	}
	d, err := dataset.Open(t.Context(), dataset.Dir(o.Out), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := users(d); !reflect.DeepEqual(got, want) {
		t.Errorf("users\n%+v, want\n%+v", got, want)
	}
}
