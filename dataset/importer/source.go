package importer

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// relation is the table function that reads a file or pattern. Columns in asText keep their text: "007" is an id, not a number.
func (e *engine) relation(ctx context.Context, path, csv string, asText ...string) (string, error) {
	if matches, err := filepath.Glob(path); err != nil || len(matches) == 0 {
		return "", fmt.Errorf("%s: no such file", path)
	}
	name := strings.ToLower(filepath.Base(path))
	for _, packed := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	file := quoteText(path)
	switch filepath.Ext(name) {
	case ".parquet", ".pq":
		return "read_parquet(" + file + ")", nil
	case ".json", ".jsonl", ".ndjson":
		return "read_json(" + file + ", format = 'newline_delimited', sample_size = -1)", nil
	case ".csv", ".tsv", ".txt", ".dat":
		return e.csv(ctx, file, csv, asText)
	}
	return "", fmt.Errorf("%s: want a name that ends in .csv, .tsv, .txt, .dat, .json, .jsonl, .ndjson (also with .gz or .zst), .parquet or .pq", path)
}

// csv looks at the whole file to find the columns' types, since a sample would make the result depend on the order of the rows.
func (e *engine) csv(ctx context.Context, file, arguments string, asText []string) (string, error) {
	call := "read_csv(" + file + ", sample_size = -1"
	if arguments != "" {
		call += ", " + arguments
	}
	if strings.Contains(arguments, "types") || strings.Contains(arguments, "all_varchar") {
		return call + ")", nil
	}
	have, err := e.columns(ctx, call+")")
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	var types []string
	for _, name := range asText {
		if c, ok := find(have, name); ok && c.kind != "VARCHAR" {
			types = append(types, quoteText(c.name)+": 'VARCHAR'")
		}
	}
	if len(types) > 0 {
		call += ", types = {" + strings.Join(types, ", ") + "}"
	}
	return call + ")", nil
}

// load gives a file a name in the database. Parquet stays where it is; CSV and JSON are read into a table, since every look at
// their columns would read the file again.
func (e *engine) load(ctx context.Context, name, path, csv string, asText ...string) error {
	relation, err := e.relation(ctx, path, csv, asText...)
	if err != nil {
		return err
	}
	kind := "TABLE"
	if strings.HasPrefix(relation, "read_parquet(") {
		kind = "VIEW"
	}
	if err := e.exec(ctx, "CREATE "+kind+" "+name+" AS SELECT * FROM "+relation); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// views makes src1, src2, … and, without a query of the user's, their union src.
func (e *engine) views(ctx context.Context, o *Options) error {
	var all []string
	for i, path := range o.Sources {
		name := fmt.Sprintf("src%d", i+1)
		if err := e.load(ctx, name, path, o.CSV, o.User, o.Item); err != nil {
			return err
		}
		all = append(all, "SELECT * FROM "+name)
	}
	if o.SQL != "" {
		return nil
	}
	if err := e.exec(ctx, "CREATE VIEW src AS "+strings.Join(all, " UNION ALL BY NAME ")); err != nil {
		return fmt.Errorf("union of the sources: %w", err)
	}
	return nil
}

// bind turns an option into an expression over a relation: a column's name, quoted, or an expression as it is. kind is its type.
func (e *engine) bind(ctx context.Context, option, text, relation string) (expression, kind string, err error) {
	have, err := e.columns(ctx, relation)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", option, err)
	}
	if c, ok := find(have, text); ok {
		return quoteName(c.name), c.kind, nil
	}
	expression = "(" + text + "\n)" // a comment at its end must not hide the parenthesis
	is, err := e.columns(ctx, "(SELECT "+expression+" AS v FROM "+relation+")")
	if err != nil {
		return "", "", fmt.Errorf("%s %q: %w; the columns are: %s", option, text, err, names(have))
	}
	return expression, is[0].kind, nil
}
