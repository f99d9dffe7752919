package importer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// engine is one connection to a database in a temporary folder, where it also spills what does not fit into memory.
type engine struct {
	db   *sql.DB
	conn *sql.Conn
}

func openEngine(ctx context.Context, dir string, o *Options) (*engine, error) {
	db, err := openDuckDB(filepath.Join(dir, "import.duckdb"))
	if err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start DuckDB: %w", err), db.Close())
	}
	e := &engine{db, conn}
	settings := []string{
		"SET autoinstall_known_extensions = false", // an import must not fetch code
		"SET autoload_known_extensions = false",
		"SET temp_directory = " + quoteText(dir),
		"SET preserve_insertion_order = false", // every order that matters is asked for
	}
	if o.Memory != "" {
		settings = append(settings, "SET memory_limit = "+quoteText(o.Memory))
	}
	if o.Threads > 0 {
		settings = append(settings, fmt.Sprintf("SET threads = %d", o.Threads))
	}
	for _, s := range settings {
		if err := e.exec(ctx, s); err != nil {
			return nil, errors.Join(err, e.close())
		}
	}
	return e, nil
}

func (e *engine) close() error { return errors.Join(e.conn.Close(), e.db.Close()) }

func (e *engine) exec(ctx context.Context, query string, args ...any) error {
	if _, err := e.conn.ExecContext(ctx, query, args...); err != nil {
		return cleanError(err)
	}
	return nil
}

// row reads the only row of a query.
func (e *engine) row(ctx context.Context, query string, to ...any) error {
	if err := e.conn.QueryRowContext(ctx, query).Scan(to...); err != nil {
		return cleanError(err)
	}
	return nil
}

// each calls f after each row was read into to.
func (e *engine) each(ctx context.Context, query string, to []any, f func() error) (err error) {
	rows, err := e.conn.QueryContext(ctx, query)
	if err != nil {
		return cleanError(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return cleanError(err)
		}
		if err := f(); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return cleanError(err)
	}
	return nil
}

// texts reads a query of one column.
func (e *engine) texts(ctx context.Context, query string) (out []string, err error) {
	var s string
	err = e.each(ctx, query, []any{&s}, func() error { out = append(out, s); return nil })
	return out, err
}

// column is one of a relation.
type column struct{ name, kind string }

// columns describes a relation: a view, or a query in parentheses.
func (e *engine) columns(ctx context.Context, relation string) (out []column, err error) {
	var c column
	query := "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM " + relation + ")"
	err = e.each(ctx, query, []any{&c.name, &c.kind}, func() error { out = append(out, c); return nil })
	return out, err
}

// cleanError drops the part of DuckDB's message that shows our own query.
func cleanError(err error) error {
	msg, ok := duckDBMessage(err)
	if !ok {
		return err
	}
	msg, _, _ = strings.Cut(msg, "\n\nLINE ")
	msg, _, _ = strings.Cut(msg, "\nLINE ")
	return errors.New(strings.TrimSpace(msg))
}

func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func names(columns []column) string {
	var out []string
	for _, c := range columns {
		out = append(out, c.name)
	}
	return strings.Join(out, ", ")
}

// find looks a column up as DuckDB does, whatever the case.
func find(columns []column, name string) (column, bool) {
	for _, c := range columns {
		if strings.EqualFold(c.name, name) {
			return c, true
		}
	}
	return column{}, false
}
