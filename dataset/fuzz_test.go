package dataset_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
)

// FuzzReadMeta: dataset.json is refused, or it is one whose digest is that of what it says.
func FuzzReadMeta(f *testing.F) {
	dir := f.TempDir()
	if _, err := synth.Write(dir, synth.Options{Users: 8, Items: 8}); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, dataset.MetaName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("{}"))
	f.Add([]byte(`{"version": 1e400}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, dataset.MetaName), doc, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := dataset.ReadMeta(t.Context(), dataset.Dir(dir))
		if err != nil {
			return
		}
		if sum, err := m.ComputeDigest(); err != nil || sum != m.Digest {
			t.Fatalf("accepted with digest %s; it is %s, %v", m.Digest, sum, err)
		}
	})
}
