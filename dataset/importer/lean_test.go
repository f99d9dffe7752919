//go:build lean

package importer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLean: a build that cannot import says which one can, and leaves nothing behind.
func TestLean(t *testing.T) {
	dir := t.TempDir()
	log, out := filepath.Join(dir, "log.csv"), filepath.Join(dir, "out")
	if err := os.WriteFile(log, []byte("user,time,item\n1,1000,2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Import(t.Context(), Options{Sources: []string{log}, Out: out, User: "user", Time: "time", Item: "item", EvalDays: 1, Now: time.Now()})
	if err == nil || !strings.Contains(err.Error(), "import with bin/ringleader") {
		t.Errorf("Import: %v, want which build imports", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v are left (%v): want the log alone", left, err)
	}
}
