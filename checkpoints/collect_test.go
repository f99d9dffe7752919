package checkpoints_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
)

// left is a store with a whole checkpoint, and what a writer of another one left when it died.
func left(t *testing.T, under string, whole, dead ringleader.Step) (store *mem.Store, wholeDir, deadDir string) {
	t.Helper()
	store = mem.New()
	wholeDir = mustSave(t, store, under, tiny(whole))
	deadDir = mustSave(t, store, under, tiny(dead))
	if err := store.Delete(t.Context(), deadDir+"/manifest.json"); err != nil {
		t.Fatal(err)
	}
	return store, wholeDir, deadDir
}

func collect(t *testing.T, store checkpoints.Store, under string, before ringleader.Step) []string {
	t.Helper()
	removed, err := checkpoints.Collect(t.Context(), store, under, before, time.Now().Add(-checkpoints.StaleAfter))
	if err != nil {
		t.Fatal(err)
	}
	return removed
}

func TestCollect(t *testing.T) {
	for _, under := range []string{"", "jobs/a/"} {
		store, whole, dead := left(t, under, 4, 2)
		store.Set(under+"elsewhere/step-00000001-00112233/x", []byte("of another job"))
		store.Set(under+"notes.txt", []byte("somebody's"))
		before := names(t, store)
		if removed := collect(t, store, under, 4); len(removed) > 0 {
			t.Errorf("removed %q, which may still be written", removed)
		}
		store.Age(2 * checkpoints.StaleAfter)
		if removed := collect(t, store, under, 2); len(removed) > 0 {
			t.Errorf("removed %q, of no step before 2", removed)
		}
		if removed := collect(t, store, under, 4); !slices.Equal(removed, []string{dead}) {
			t.Errorf("removed %q, want %q", removed, dead)
		}
		want := slices.DeleteFunc(before, func(name string) bool { return strings.HasPrefix(name, dead+"/") })
		if have := names(t, store); !slices.Equal(have, want) {
			t.Errorf("left %q, want %q", have, want)
		}
		if problems := checkpoints.Verify(t.Context(), store, whole); len(problems) > 0 {
			t.Errorf("problems: %v", problems)
		}
	}
}

// One fresh part shows that somebody is at work.
func TestCollectLeavesWritersAlone(t *testing.T) {
	store, _, dead := left(t, "", 4, 2)
	store.Age(2 * checkpoints.StaleAfter)
	name := dead + "/index.json"
	store.Set(name, store.Bytes(name))
	if removed := collect(t, store, "", 4); len(removed) > 0 {
		t.Errorf("removed %q", removed)
	}
}

// lateWriter writes all objects anew right after they were listed.
type lateWriter struct{ *mem.Store }

func (s lateWriter) List(ctx context.Context, prefix string) ([]checkpoints.Info, error) {
	list, err := s.Store.List(ctx, prefix)
	for _, o := range list {
		s.Set(o.Name, s.Bytes(o.Name))
	}
	return list, err
}

// What was written anew after it had been listed stays.
func TestCollectLooksAgain(t *testing.T) {
	store, _, _ := left(t, "", 4, 2)
	store.Age(2 * checkpoints.StaleAfter)
	before := names(t, store)
	if removed := collect(t, lateWriter{store}, "", 4); len(removed) > 0 || !slices.Equal(names(t, store), before) {
		t.Errorf("removed %q, left %q of %q", removed, names(t, store), before)
	}
}

// TestCollectCrash: whatever interrupts it, whole checkpoints stay whole, and collecting again finishes.
func TestCollectCrash(t *testing.T) {
	finished := false
	for n := 1; !finished; n++ {
		store, whole, _ := left(t, "", 4, 2)
		store.Age(2 * checkpoints.StaleAfter)
		crashAt(store, n, true)
		_, err := checkpoints.Collect(t.Context(), store, "", 4, time.Now().Add(-checkpoints.StaleAfter))
		finished = store.Ops() < n
		store.Inject(nil)
		if finished != (err == nil) {
			t.Fatalf("crash %d: %v", n, err)
		}
		collect(t, store, "", 4)
		if found, err := checkpoints.List(t.Context(), store, ""); err != nil || len(found) != 1 || found[0].Dir != whole {
			t.Fatalf("crash %d: left are %+v, %v", n, found, err)
		}
	}
}
