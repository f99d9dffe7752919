package importer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// blame adds to an error of reading the file that it is about, if it is Parquet: of a damaged page DuckDB says what is wrong, but not where. Each file
// is read again, by itself and in a database of its own, because an internal error ends the one in which it happens.
func blame(ctx context.Context, err error, patterns ...string) error {
	for _, pattern := range patterns {
		files, _ := filepath.Glob(pattern) // load saw that it is a pattern
		for _, file := range files {
			if strings.Contains(err.Error(), filepath.Base(file)) || ctx.Err() != nil {
				return err
			}
			if isParquet(file) && unreadable(ctx, file) {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return err
}

func isParquet(path string) bool {
	kind := strings.ToLower(filepath.Ext(path))
	return kind == ".parquet" || kind == ".pq"
}

// unreadable tells whether DuckDB cannot read every value of a Parquet file.
func unreadable(ctx context.Context, file string) bool {
	db, err := openDuckDB("")
	if err != nil {
		return false
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT bit_xor(hash(COLUMNS(*))) FROM read_parquet("+quoteText(file)+")")
	if err != nil {
		return true
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close()) != nil
}
