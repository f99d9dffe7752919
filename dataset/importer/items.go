package importer

import (
	"context"
	"fmt"
	"strings"
)

// item is one row of the catalogue.
type item struct{ id, text, interest string }

// describe reads the items' texts. Of several rows of one item the commonest text is taken, of equally common ones the first by its bytes.
func (e *engine) describe(ctx context.Context, o *Options) ([]item, error) {
	var out []item
	var x item
	take := func() error { out = append(out, x); return nil }
	into := []any{&x.id, &x.text, &x.interest}
	if o.Items == "" && len(o.ItemText) == 0 && o.Interest == "" {
		err := e.each(ctx, "SELECT id, '', '' FROM items ORDER BY idx", into, take)
		return out, err
	}
	relation, err := e.itemSource(ctx, o)
	if err != nil {
		return nil, err
	}
	id, _, err := e.bind(ctx, "item_id", o.ItemID, relation)
	if err != nil {
		return nil, err
	}
	text, interest := "''", "''"
	var parts []string
	for _, column := range o.ItemText {
		expression, _, err := e.bind(ctx, "item_text", column, relation)
		if err != nil {
			return nil, err
		}
		parts = append(parts, "CAST("+expression+" AS VARCHAR)")
	}
	if len(parts) > 0 {
		text = "concat_ws(' ', " + strings.Join(parts, ", ") + ")"
	}
	if o.Interest != "" {
		expression, _, err := e.bind(ctx, "interest", o.Interest, relation)
		if err != nil {
			return nil, err
		}
		interest = "coalesce(CAST(" + expression + " AS VARCHAR), '')"
	}
	query := fmt.Sprintf(`CREATE TABLE described AS SELECT id, text, interest FROM (
		SELECT id, text, interest, row_number() OVER (PARTITION BY id ORDER BY n DESC, text, interest) AS place FROM (
			SELECT id, text, interest, count(*) AS n FROM (SELECT CAST(%s AS VARCHAR) AS id, %s AS text, %s AS interest FROM %s) GROUP BY ALL))
		WHERE place = 1`, id, text, interest, relation)
	if err := e.exec(ctx, query); err != nil {
		return nil, fmt.Errorf("items: %w", blame(ctx, err, append([]string{o.Items}, o.Sources...)...))
	}
	var found int64
	if err := e.row(ctx, "SELECT count(*) FROM items JOIN described USING (id)", &found); err != nil {
		return nil, err
	}
	err = e.each(ctx, "SELECT items.id, coalesce(text, ''), coalesce(interest, '') FROM items LEFT JOIN described USING (id) ORDER BY idx", into, take)
	if err == nil && found == 0 {
		err = fmt.Errorf("items: none of the catalogue's %d items, such as %q, has a row: is item_id the right column?", len(out), out[0].id)
	}
	o.logf("items: %d of %d have a row of texts", found, len(out))
	return out, err
}

// itemSource names the items' file, or the sources themselves.
func (e *engine) itemSource(ctx context.Context, o *Options) (string, error) {
	switch {
	case o.Items != "":
		if err := e.load(ctx, "item_rows", o.Items, o.CSV, o.ItemID); err != nil {
			return "", fmt.Errorf("items: %w", err)
		}
		return "item_rows", nil
	case o.SQL != "":
		return "src1", nil
	}
	return "src", nil
}
