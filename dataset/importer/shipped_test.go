//go:build !lean

package importer_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset/importer"
)

// The import that examples/data/complete-journey/README.md shows, of every sixtieth household to be quick.
func TestShippedData(t *testing.T) {
	files := filepath.Join("..", "..", "examples", "data", "complete-journey")
	var lines []string
	o := importer.Options{
		Sources: []string{filepath.Join(files, "purchases.parquet")}, Out: filepath.Join(t.TempDir(), "groceries"), Name: "complete-journey",
		User: "household_id", Time: "unix_s", Item: "product_id", Action: "kind", Duration: "quantity", Where: "household_id % 60 = 0",
		Positive: []string{"full price", "discounted"},
		Items:    filepath.Join(files, "products.parquet"), ItemID: "product_id",
		ItemText: []string{"department", "product_category", "product_type", "product_type", "brand"}, Interest: "product_category",
		Cut: "2017-11-15", EvalDays: 14, Holdout: 0.25, Now: now,
		Log: func(l string) { lines = append(lines, l) },
	}
	d := imported(t, o)
	m, s := d.Meta(), d.Stats()
	if m.Users != 39 || m.Items != 6869 || m.Actions != 23800 || m.VectorDim != 128 || m.Vectors != "stand-in: text+cooccurrence+degree" {
		t.Errorf("%d users, %d items, %d actions, vectors of %d: %s\n%s", m.Users, m.Items, m.Actions, m.VectorDim, m.Vectors, strings.Join(lines, "\n"))
	}
	if s.Heldout == 0 || s.Heldout == m.Users || s.Evaluable == 0 {
		t.Errorf("%d held out, %d can be evaluated", s.Heldout, s.Evaluable)
	}
	texts, interests := 0, map[string]bool{}
	for i := range m.Items {
		_, text, interest := d.Item(i)
		if text != "" {
			texts++
		}
		interests[interest] = true
	}
	if texts != m.Items || len(interests) != 233 { // 232 categories and none
		t.Errorf("%d of %d items have texts, %d interests", texts, m.Items, len(interests))
	}
}
