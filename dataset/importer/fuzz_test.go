//go:build !lean

package importer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/importer"
)

// visit is a row of the files that the fuzzer changes.
type visit struct {
	User string  `parquet:"user,dict"`
	Time int64   `parquet:"time,delta"`
	Item *string `parquet:"item,optional"`
	Secs float32 `parquet:"secs"`
}

func visits(f *testing.F, codec parquet.WriterOption) []byte {
	f.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[visit](&b, codec)
	tea, cup := "tea", "cup"
	if _, err := w.Write([]visit{{"ann", 1704067200, &tea, 1}, {"ann", 1704153600, &cup, 2}, {"bob", 1704067300, &tea, 0}, {"bob", 1706745600, &tea, 5}}); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}

// about is how errors about what rows say begin; all others must name the file.
var about = regexp.MustCompile(`^import: (user|time|item|action|duration|cut|positive|no rows|nothing is left|write (user|item))\b`)

// FuzzParquet: whatever the bytes are, an import makes a data set that is whole, or ends with an error that names the file or the column, and leaves
// nothing behind.
func FuzzParquet(f *testing.F) {
	for _, codec := range []parquet.WriterOption{parquet.Compression(&parquet.Uncompressed), parquet.Compression(&parquet.Snappy), parquet.Compression(&parquet.Zstd)} {
		f.Add(visits(f, codec))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "visits.parquet")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		o := importer.Options{Sources: []string{path}, Out: filepath.Join(dir, "out", "d"), Now: now, Duration: "secs", Cut: "2024-01-15", Threads: 1, Memory: "200MB"}
		if _, err := importer.Import(t.Context(), o); err != nil {
			if !strings.Contains(err.Error(), "visits.parquet") && !about.MatchString(err.Error()) {
				t.Errorf("%v: names neither the file nor a column", err)
			}
			if left, err := os.ReadDir(filepath.Dir(o.Out)); err != nil || len(left) > 0 {
				t.Errorf("%v, %v are left", left, err)
			}
			return
		}
		for _, err := range dataset.Check(t.Context(), dataset.Dir(o.Out)) {
			t.Errorf("what was imported: %v", err)
		}
	})
}
