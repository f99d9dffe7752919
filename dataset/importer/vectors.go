package importer

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/ringleader-dev/ringleader/dataset"
)

// ownVectors reads the user's vectors of the catalogue's items.
func (e *engine) ownVectors(ctx context.Context, o *Options, items int) (v dataset.Vectors, origin string, err error) {
	if err := e.load(ctx, "vector_rows", o.Vectors, o.CSV, o.ItemID, "id", "item"); err != nil {
		return v, "", fmt.Errorf("vectors: %w", err)
	}
	have, err := e.columns(ctx, "vector_rows")
	if err != nil {
		return v, "", fmt.Errorf("vectors: %w", err)
	}
	id, okID := firstOf(have, o.ItemID, "id", "item")
	vector, okVector := firstOf(have, "vector", "embedding", "vectors", "embeddings")
	if !okID || !okVector {
		return v, "", fmt.Errorf("vectors: the columns are %s: want id, item or %s, and vector or embedding", names(have), o.ItemID)
	}
	query := fmt.Sprintf("CREATE TABLE vectors AS SELECT CAST(%s AS VARCHAR) AS id, CAST(%s AS FLOAT[]) AS v FROM vector_rows", quoteName(id), quoteName(vector))
	if err := e.exec(ctx, query); err != nil {
		return v, "", fmt.Errorf("vectors: %w", blame(ctx, err, o.Vectors))
	}
	if v, err = e.fillVectors(ctx, items); err != nil {
		return v, "", fmt.Errorf("vectors: %w", err)
	}
	return v, "from " + filepath.Base(o.Vectors), nil
}

func firstOf(have []column, names ...string) (string, bool) {
	for _, name := range names {
		if c, ok := find(have, name); ok {
			return c.name, true
		}
	}
	return "", false
}

func (e *engine) fillVectors(ctx context.Context, items int) (v dataset.Vectors, err error) {
	var example string
	var missing, doubled int64
	if err := e.row(ctx, "SELECT count(*), coalesce(min(id), '') FROM items WHERE id NOT IN (SELECT id FROM vectors WHERE v IS NOT NULL AND id IS NOT NULL)", &missing, &example); err != nil {
		return v, err
	}
	if missing > 0 {
		return v, fmt.Errorf("%d of the catalogue's %d items have none, such as %q", missing, items, example)
	}
	if err := e.row(ctx, "SELECT count(*), coalesce(min(id), '') FROM (SELECT id FROM vectors JOIN items USING (id) GROUP BY id HAVING count(*) > 1)", &doubled, &example); err != nil {
		return v, err
	}
	if doubled > 0 {
		return v, fmt.Errorf("%d items have several, such as %q", doubled, example)
	}
	// One number a row: a list would arrive as a slice of boxed numbers.
	var row, dim int
	var x float32
	v.Rows = items
	err = e.each(ctx, "SELECT idx, len(v), coalesce(v[k], 'nan'::FLOAT) FROM (SELECT idx, v, unnest(range(1, len(v) + 1)) AS k FROM vectors JOIN items USING (id)) ORDER BY idx, k",
		[]any{&row, &dim, &x}, func() error {
			switch {
			case v.Cols == 0:
				v.Cols = dim
			case v.Cols != dim:
				return fmt.Errorf("item %d has %d numbers, item 0 has %d", row, dim, v.Cols)
			}
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				return fmt.Errorf("item %d holds %g: want finite numbers", row, x)
			}
			v.Data = append(v.Data, x)
			return nil
		})
	if err == nil && len(v.Data) != v.Rows*v.Cols {
		err = fmt.Errorf("%d numbers for %d items: some have none", len(v.Data), items)
	}
	return v, err
}
