//go:build !lean

package importer

import (
	"database/sql"
	"errors"

	"github.com/duckdb/duckdb-go/v2"
)

func openDuckDB(file string) (*sql.DB, error) {
	connector, err := duckdb.NewConnector(file, nil)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// duckDBMessage is what DuckDB says, if it was it.
func duckDBMessage(err error) (string, bool) {
	var d *duckdb.Error
	if !errors.As(err, &d) {
		return "", false
	}
	return d.Msg, true
}
