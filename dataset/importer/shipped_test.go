package importer_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/importer"
)

// shipped is the import that examples/data/complete-journey/README.md shows.
func shipped(out string, log func(string)) importer.Options {
	files := filepath.Join("..", "..", "examples", "data", "complete-journey")
	return importer.Options{
		Sources: []string{filepath.Join(files, "purchases.parquet")}, Out: out, Name: "complete-journey",
		User: "household_id", Time: "unix_s", Item: "product_id", Action: "kind", Duration: "quantity",
		Positive: []string{"full price", "discounted"},
		Items:    filepath.Join(files, "products.parquet"), ItemID: "product_id",
		ItemText: []string{"department", "product_category", "product_type", "product_type", "brand"}, Interest: "product_category",
		Cut: "2017-11-15", EvalDays: 14, Holdout: 0.25, Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Log: log,
	}
}

func TestShippedData(t *testing.T) {
	start := time.Now()
	out := filepath.Join(t.TempDir(), "data")
	meta, err := importer.Import(t.Context(), shipped(out, func(l string) { t.Log(time.Since(start).Round(time.Millisecond), l) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(start))
	d, err := dataset.Open(t.Context(), dataset.Dir(out), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	t.Log(time.Since(start))
	t.Logf("%+v\n%s", meta, d.Describe())
	id, text, interest := d.Item(1000)
	t.Log(id, text, interest, d.Vectors().Row(1000))
}
