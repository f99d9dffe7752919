package checkpoints_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
)

var errCrash = fmt.Errorf("crashed: %w", checkpoints.ErrUnavailable)

// crashAt lets the n-th operation and all after it fail. late: the n-th still takes effect.
func crashAt(store *mem.Store, n int, late bool) {
	store.Inject(func(op mem.Op) mem.Fault {
		if op.N < n {
			return mem.Fault{}
		}
		return mem.Fault{Err: errCrash, Late: late && op.N == n}
	})
}

// TestCrashWhileSaving: whenever a writer dies, what loads is a whole checkpoint, the new one if its writer was told so; and the next
// attempt succeeds.
func TestCrashWhileSaving(t *testing.T) {
	for _, late := range []bool{false, true} {
		finished := false
		for n := 1; !finished; n++ {
			store := mem.New()
			mustSave(t, store, "", tiny(1))
			crashAt(store, n, late)
			_, saveErr := save(t, store, "", tiny(2), 16)
			finished = store.Ops() < n
			store.Inject(nil)
			if saveErr != nil && !errors.Is(saveErr, errCrash) {
				t.Fatalf("crash %d: %v", n, saveErr)
			}
			st, _, _, err := checkpoints.LoadNewest(t.Context(), store, "")
			if err != nil {
				t.Fatalf("crash %d: %v", n, err)
			}
			if saveErr == nil && st.Step != 2 {
				t.Fatalf("crash %d: the checkpoint was reported as saved and is not loaded", n)
			}
			wantState(t, st, tiny(st.Step))
			if _, err := save(t, store, "", tiny(2), 16); err != nil {
				t.Fatalf("crash %d, again: %v", n, err)
			}
			if st, _, _, err = checkpoints.LoadNewest(t.Context(), store, ""); err != nil || st.Step != 2 {
				t.Fatalf("crash %d, after the next attempt: %v", n, err)
			}
		}
	}
}

// TestCrashWhileDeleting: a checkpoint that is partly gone never looks complete, and deleting again finishes.
func TestCrashWhileDeleting(t *testing.T) {
	for _, late := range []bool{false, true} {
		finished := false
		for n := 1; !finished; n++ {
			store := mem.New()
			mustSave(t, store, "", tiny(1))
			dir := mustSave(t, store, "", tiny(2))
			crashAt(store, n, late)
			deleteErr := checkpoints.Delete(t.Context(), store, dir)
			finished = store.Ops() < n
			store.Inject(nil)
			if finished != (deleteErr == nil) {
				t.Fatalf("crash %d: %v", n, deleteErr)
			}
			found, err := checkpoints.List(t.Context(), store, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				if problems := checkpoints.Verify(t.Context(), store, f.Dir); f.Committed != (len(problems) == 0) {
					t.Fatalf("crash %d: %+v has the problems %v", n, f, problems)
				}
			}
			if err := checkpoints.Delete(t.Context(), store, dir); err != nil {
				t.Fatal(err)
			}
			if found, err = checkpoints.List(t.Context(), store, ""); err != nil || len(found) != 1 || found[0].Step != 1 {
				t.Fatalf("crash %d: left are %+v, %v", n, found, err)
			}
		}
	}
	for _, dir := range []string{"", "jobs", "step-1"} {
		if err := checkpoints.Delete(t.Context(), mem.New(), dir); err == nil {
			t.Errorf("delete %q was accepted", dir)
		}
	}
}
