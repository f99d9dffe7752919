package importer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ringleader-dev/ringleader/dataset"
)

// cut fills in the data set's cut.
func (e *engine) cut(ctx context.Context, o *Options, m *dataset.Meta) (err error) {
	var first, last int64
	if err := e.row(ctx, "SELECT min(t), max(t) FROM actions", &first, &last); err != nil {
		return err
	}
	m.CutMS = last - int64(o.EvalDays*24*3600*1000)
	from := "chosen: the evaluation window before the last action"
	if o.Cut != "" {
		from = "given"
		if m.CutMS, err = ParseTime(o.Cut); err != nil {
			return fmt.Errorf("cut: %w", err)
		}
	}
	o.logf("cut: %s (%s)", stamp(m.CutMS), from)
	if m.CutMS < first || m.CutMS >= last {
		return fmt.Errorf("cut %s: want a time from the first action, %s, to before the last, %s: otherwise nothing is trained, or nothing evaluated",
			stamp(m.CutMS), stamp(first), stamp(last))
	}
	return nil
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// positives checks the positive types against those there are, and makes the table positive(a).
func (e *engine) positives(ctx context.Context, o *Options) ([]string, error) {
	types, err := e.texts(ctx, "SELECT DISTINCT a FROM actions ORDER BY a")
	if err != nil {
		return nil, err
	}
	have := strings.Join(types[:min(len(types), 50)], ", ")
	if len(types) > 1000 {
		return nil, fmt.Errorf("action: %d different values, such as %s: want at most 1000 types", len(types), have)
	}
	positive := o.Positive
	if len(positive) == 0 {
		if len(types) > 1 {
			return nil, fmt.Errorf("positive: want at least one of the action types %s", have)
		}
		positive = types
	}
	for _, p := range positive {
		if !slices.Contains(types, p) {
			return nil, fmt.Errorf("positive %q: there is no such action type; there are: %s", p, have)
		}
	}
	var values []string
	for _, p := range positive {
		values = append(values, "("+quoteText(p)+")")
	}
	return positive, e.exec(ctx, "CREATE TABLE positive AS SELECT DISTINCT a FROM (VALUES "+strings.Join(values, ", ")+") AS v(a)")
}

// catalogue makes items(idx, id) and users(idx, id), ordered by the bytes of their ids, and sorted(u, t, i, a, s, d) of indices.
func (e *engine) catalogue(ctx context.Context, o *Options, m *dataset.Meta) error {
	for _, query := range []string{
		fmt.Sprintf(`CREATE TABLE items AS SELECT CAST(row_number() OVER (ORDER BY i) - 1 AS INTEGER) AS idx, i AS id FROM
			(SELECT i FROM actions WHERE t <= %d AND a IN (SELECT a FROM positive) GROUP BY i HAVING count(DISTINCT u) >= %d)`, m.CutMS, o.MinItemUsers),
		`CREATE TABLE kept AS SELECT x.u, x.t, items.idx AS i, x.a, x.s, x.d FROM actions x JOIN items ON items.id = x.i`,
	} {
		if err := e.exec(ctx, query); err != nil {
			return fmt.Errorf("make catalogue: %w", err)
		}
	}
	var items, all, left int64
	if err := e.row(ctx, "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM actions), (SELECT count(*) FROM kept)", &items, &all, &left); err != nil {
		return err
	}
	o.logf("catalogue: %d items that at least %d users acted positively on up to the cut; dropped %d of %d actions on others", items, o.MinItemUsers, all-left, all)
	if left == 0 {
		return fmt.Errorf("nothing is left: no item has a positive of at least %d users up to the cut %s", o.MinItemUsers, stamp(m.CutMS))
	}
	return e.sort(ctx)
}

func (e *engine) sort(ctx context.Context) error {
	for _, query := range []string{
		`DROP TABLE actions`,
		`CREATE TABLE users AS SELECT CAST(row_number() OVER (ORDER BY u) - 1 AS INTEGER) AS idx, u AS id, n FROM (SELECT u, count(*) AS n FROM kept GROUP BY u)`,
		`CREATE TABLE types AS SELECT CAST(row_number() OVER (ORDER BY a) - 1 AS INTEGER) AS idx, a AS id FROM (SELECT DISTINCT a FROM kept)`,
		`CREATE TABLE surfaces AS SELECT CAST(row_number() OVER (ORDER BY s) - 1 AS INTEGER) AS idx, s AS id FROM (SELECT DISTINCT s FROM kept)`,
		// Sorted by user so that reading a range of users touches few blocks; the order within is asked for again when it is read.
		`CREATE TABLE sorted AS SELECT users.idx AS u, k.t, k.i, types.idx AS a, surfaces.idx AS s, k.d FROM kept k
			JOIN users ON users.id = k.u JOIN types ON types.id = k.a JOIN surfaces ON surfaces.id = k.s ORDER BY users.idx`,
		`DROP TABLE kept`,
	} {
		if err := e.exec(ctx, query); err != nil {
			return fmt.Errorf("sort actions: %w", err)
		}
	}
	return nil
}

// vocabularies fills in action types and surfaces.
func (e *engine) vocabularies(ctx context.Context, o *Options, m *dataset.Meta, positive []string) (err error) {
	if m.Types, err = e.texts(ctx, "SELECT id FROM types ORDER BY idx"); err != nil {
		return err
	}
	for _, t := range m.Types {
		m.Positive = append(m.Positive, slices.Contains(positive, t))
	}
	m.Durations = o.Duration != ""
	if o.Surface != "" {
		if m.Surfaces, err = e.texts(ctx, "SELECT id FROM surfaces ORDER BY idx"); err != nil {
			return err
		}
		if len(m.Surfaces) > 10000 {
			return fmt.Errorf("surface: %d different values: want at most 10000", len(m.Surfaces))
		}
	}
	return nil
}
