package importer

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// milliseconds finds out how staged.t is to be read, from its type and, for numbers, from their size; it says what it found and returns the expression.
func (e *engine) milliseconds(ctx context.Context, o *Options, kind string) (string, error) {
	switch {
	case kind == "TIMESTAMP WITH TIME ZONE":
		o.logf("time: %s", strings.ToLower(kind))
		return "epoch_ms(t)", nil
	case kind == "DATE" || strings.HasPrefix(kind, "TIMESTAMP"):
		o.logf("time: %s, read as UTC", strings.ToLower(kind))
		return "epoch_ms(CAST(t AS TIMESTAMP))", nil
	case kind == "VARCHAR":
		return e.fromText(ctx, o)
	case isNumber(kind):
		return e.fromNumber(ctx, o, "t", isInteger(kind))
	}
	return "", fmt.Errorf("time: its type is %s: want a timestamp, a date, a number or text", kind)
}

func isInteger(kind string) bool {
	return strings.HasSuffix(kind, "INT") || strings.HasSuffix(kind, "INTEGER")
}

func isNumber(kind string) bool {
	return isInteger(kind) || kind == "DOUBLE" || kind == "FLOAT" || strings.HasPrefix(kind, "DECIMAL")
}

// fromText reads text that is numbers throughout as numbers, and else as timestamps.
func (e *engine) fromText(ctx context.Context, o *Options) (string, error) {
	var total, numbers, stamps int64
	if err := e.row(ctx, "SELECT count(*), count(TRY_CAST(t AS BIGINT)), count(TRY_CAST(t AS TIMESTAMP)) FROM staged", &total, &numbers, &stamps); err != nil {
		return "", err
	}
	if numbers == total {
		return e.fromNumber(ctx, o, "CAST(t AS BIGINT)", true)
	}
	if stamps < total {
		var example string
		if err := e.row(ctx, "SELECT min(t) FROM staged WHERE TRY_CAST(t AS TIMESTAMP) IS NULL", &example); err != nil {
			return "", err
		}
		return "", fmt.Errorf("time: %d of %d rows cannot be read as a time, such as %q: want 2006-01-02 15:04:05, or an expression such as strptime(column, '%%d.%%m.%%Y')", total-stamps, total, example)
	}
	o.logf("time: text, read as timestamps in UTC")
	return "epoch_ms(CAST(t AS TIMESTAMP))", nil
}

// units of time since 1970, each for numbers below its limit: 100,000,000,000 s is the year 5138, and 1973 as ms.
var units = []struct {
	name     string
	limit    float64
	integers string // expressions to milliseconds
	floats   string
}{
	{"seconds", 1e11, "(%s) * 1000", "CAST(round((%s) * 1000) AS BIGINT)"},
	{"milliseconds", 1e14, "CAST(%s AS BIGINT)", "CAST(floor(%s) AS BIGINT)"},
	{"microseconds", 1e17, "CAST(floor((%s) // 1000) AS BIGINT)", "CAST(floor((%s) / 1000) AS BIGINT)"},
	{"nanoseconds", 1e20, "CAST(floor((%s) // 1000000) AS BIGINT)", "CAST(floor((%s) / 1000000) AS BIGINT)"},
}

func (e *engine) fromNumber(ctx context.Context, o *Options, expression string, integer bool) (string, error) {
	var least, most float64
	if err := e.row(ctx, fmt.Sprintf("SELECT CAST(min(%s) AS DOUBLE), CAST(max(%s) AS DOUBLE) FROM staged", expression, expression), &least, &most); err != nil {
		return "", err
	}
	for _, u := range units {
		if most >= u.limit || -least >= u.limit {
			continue
		}
		o.logf("time: numbers from %.0f to %.0f, read as %s since 1970", least, most, u.name)
		if integer {
			return fmt.Sprintf(u.integers, "CAST("+expression+" AS BIGINT)"), nil
		}
		return fmt.Sprintf(u.floats, expression), nil
	}
	return "", fmt.Errorf("time: numbers from %g to %g: want s, ms, us or ns since 1970", least, most)
}

// past refuses times that have not come yet: mostly a wrong unit or column.
func (e *engine) past(ctx context.Context, o *Options) error {
	var n, most int64
	query := fmt.Sprintf("SELECT count(*), coalesce(max(t), 0) FROM actions WHERE t > %d", o.Now.UnixMilli())
	if err := e.row(ctx, query, &n, &most); err != nil {
		return err
	}
	if n > 0 && !o.AllowFuture {
		return fmt.Errorf("time: %d rows are in the future, up to %s: correct the column or its unit, or allow the future",
			n, time.UnixMilli(most).UTC().Format(time.RFC3339))
	}
	return nil
}
