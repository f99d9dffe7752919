//go:build lean

package importer

import (
	"database/sql"
	"errors"
)

// errBuild is what a build without DuckDB says.
var errBuild = errors.New("this build has no DuckDB in it: import with bin/ringleader, which `make` builds, and take the data set's folder along")

func openDuckDB(string) (*sql.DB, error) { return nil, errBuild }

func duckDBMessage(error) (string, bool) { return "", false }
