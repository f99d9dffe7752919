package importer

import (
	"context"
	"fmt"
	"strings"
)

// stage reads the sources once, into the table staged(u, t, i, a, d, s): t as it is, the others in their types; d and s are constant if there is no such column.
func (e *engine) stage(ctx context.Context, o *Options) (timeKind string, err error) {
	relation, where := "src", ""
	if o.SQL != "" {
		relation = "(" + strings.TrimRight(o.SQL, "; \t\r\n") + "\n)"
		if err := e.fromQuery(ctx, o, relation); err != nil {
			return "", err
		}
	}
	expressions := map[string]string{}
	for _, c := range []struct{ option, text, otherwise string }{
		{"user", o.User, ""}, {"time", o.Time, ""}, {"item", o.Item, ""}, {"action", o.Action, "'action'"},
		{"duration", o.Duration, "0"}, {"surface", o.Surface, "''"},
	} {
		if c.text == "" {
			expressions[c.option] = c.otherwise
			continue
		}
		expression, kind, err := e.bind(ctx, c.option, c.text, relation)
		if err != nil {
			return "", err
		}
		expressions[c.option] = expression
		if c.option == "time" {
			timeKind = kind
		}
	}
	if o.Where != "" {
		expression, _, err := e.bind(ctx, "where", o.Where, relation)
		if err != nil {
			return "", err
		}
		where = " WHERE " + expression
	}
	query := fmt.Sprintf(`CREATE TABLE staged AS SELECT CAST(%s AS VARCHAR) AS u, %s AS t, CAST(%s AS VARCHAR) AS i, CAST(%s AS VARCHAR) AS a,
		coalesce(CAST(%s AS FLOAT), 0) AS d, coalesce(CAST(%s AS VARCHAR), '(none)') AS s FROM %s%s`,
		expressions["user"], expressions["time"], expressions["item"], expressions["action"], expressions["duration"], expressions["surface"], relation, where)
	if err := e.exec(ctx, query); err != nil {
		return "", fmt.Errorf("read sources: %w", blame(ctx, err, o.Sources...))
	}
	return timeKind, nil
}

// fromQuery takes the columns from what the user's query yields.
func (e *engine) fromQuery(ctx context.Context, o *Options, relation string) error {
	have, err := e.columns(ctx, relation)
	if err != nil {
		return fmt.Errorf("sql: %w", err)
	}
	for name, to := range map[string]*string{"user": &o.User, "time": &o.Time, "item": &o.Item, "action": &o.Action, "duration": &o.Duration, "surface": &o.Surface} {
		_, ok := find(have, name)
		if *to = name; !ok {
			*to = ""
		}
	}
	if o.User == "" || o.Time == "" || o.Item == "" {
		return fmt.Errorf("sql: the query yields the columns %s: want user, time and item, and if wanted action, duration and surface", names(have))
	}
	return nil
}

// sound refuses rows that say too little; it is the user who knows whether to repair or to drop them.
func (e *engine) sound(ctx context.Context) error {
	var total int64
	if err := e.row(ctx, "SELECT count(*) FROM staged", &total); err != nil {
		return err
	}
	if total == 0 {
		return fmt.Errorf("no rows: the sources, or the condition, leave nothing to import")
	}
	for _, c := range []struct{ option, is, what string }{
		{"user", "u IS NULL OR u = ''", "no user"}, {"time", "t IS NULL", "no time"}, {"item", "i IS NULL OR i = ''", "no item"},
		{"action", "a IS NULL OR a = ''", "no action"}, {"duration", "NOT (d >= 0 AND d < 'Infinity'::FLOAT)", "a duration that is negative or not finite"},
	} {
		var n int64
		if err := e.row(ctx, "SELECT count(*) FROM staged WHERE "+c.is, &n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%s: %d of %d rows have %s: drop them with a condition (where), or use an expression that gives them a value", c.option, n, total, c.what)
		}
	}
	return nil
}

// distinct makes the table actions(u, t, i, a, d, s), with t in milliseconds and without repeated rows.
func (e *engine) distinct(ctx context.Context, o *Options, toMS string) error {
	query := "CREATE TABLE actions AS SELECT DISTINCT u, " + toMS + " AS t, i, a, d, s FROM staged"
	if err := e.exec(ctx, query); err != nil {
		return fmt.Errorf("time: %w", err)
	}
	var read, left int64
	if err := e.row(ctx, "SELECT (SELECT count(*) FROM staged), (SELECT count(*) FROM actions)", &read, &left); err != nil {
		return err
	}
	o.logf("read %d rows, dropped %d duplicates (equal in all columns)", read, read-left)
	return e.exec(ctx, "DROP TABLE staged")
}
