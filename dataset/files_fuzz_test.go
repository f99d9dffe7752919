package dataset_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
)

// FuzzFiles puts any bytes in the place of one of a data set's files, whose checksum agrees with them: the data set opens and is whole, or the error
// names the file.
func FuzzFiles(f *testing.F) {
	dir := f.TempDir()
	meta, err := synth.Write(dir, synth.Options{Users: 8, Items: 8})
	if err != nil {
		f.Fatal(err)
	}
	good := map[string][]byte{}
	for _, x := range meta.Files {
		if good[x.Name], err = os.ReadFile(filepath.Join(dir, x.Name)); err != nil {
			f.Fatal(err)
		}
	}
	for i, x := range meta.Files {
		f.Add(uint8(i), good[x.Name])
		f.Add(uint8(i), good[x.Name][:len(good[x.Name])/2])
	}
	f.Fuzz(func(t *testing.T, which uint8, content []byte) {
		changed := meta.Files[int(which)%len(meta.Files)].Name
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, dataset.SequencesDir), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range good {
			if name == changed {
				b = content
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := dataset.Seal(dir, meta); err != nil {
			t.Fatal(err)
		}
		d, err := dataset.Open(t.Context(), dataset.Dir(dir), t.TempDir())
		if err != nil {
			if !strings.Contains(err.Error(), changed) && !strings.Contains(err.Error(), filepath.Dir(changed)+" holds") {
				t.Errorf("%v: does not name %s", err, changed)
			}
			if problems := dataset.Check(t.Context(), dataset.Dir(dir)); len(problems) == 0 {
				t.Errorf("open: %v; check finds nothing", err)
			}
			return
		}
		for u := range d.Users() {
			for _, i := range d.User(u).Item {
				_, _, _ = d.Item(int(i))
				_ = d.Vectors().Row(int(i))
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}
