package checkpoints_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
)

// damaged wants Verify to find the damage, Load too, and Load to return nothing.
func damaged(t *testing.T, store *mem.Store, dir, what string) {
	t.Helper()
	unverified(t, store, dir, what)
	st, _, err := checkpoints.Load(t.Context(), store, dir)
	if st != nil || !errors.Is(err, checkpoints.ErrCorrupt) && !errors.Is(err, checkpoints.ErrNotExist) {
		t.Fatalf("%s: load: %v, want ErrCorrupt or ErrNotExist", what, err)
	}
}

func unverified(t *testing.T, store *mem.Store, dir, what string) {
	t.Helper()
	if problems := checkpoints.Verify(t.Context(), store, dir); len(problems) != 1 {
		t.Fatalf("%s: verify: %v, want one problem", what, problems)
	}
}

// Any byte of any file that is wrong, missing or too much is found.
func TestAnyDamageIsFound(t *testing.T) {
	store := mem.New()
	dir := mustSave(t, store, "", narrow(2))
	for _, name := range names(t, store) {
		good := store.Bytes(name)
		for i := range good {
			b := store.Bytes(name)
			b[i] ^= 1 << (i % 8)
			store.Set(name, b)
			what := fmt.Sprintf("%s, byte %d", name, i)
			if i%16 == 0 {
				damaged(t, store, dir, what)
			} else { // Load reads with the same code and would only take the time again
				unverified(t, store, dir, what)
			}
		}
		store.Set(name, good[:len(good)-1])
		damaged(t, store, dir, name+" cut")
		store.Set(name, append(store.Bytes(name), good[len(good)-1], 0))
		damaged(t, store, dir, name+" longer")
		store.Set(name, nil)
		damaged(t, store, dir, name+" empty")
		if err := store.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		damaged(t, store, dir, name+" missing")
		store.Set(name, good)
	}
	if problems := checkpoints.Verify(t.Context(), store, dir); len(problems) > 0 {
		t.Errorf("restored: %v", problems)
	}
}

func TestVerifyTellsAll(t *testing.T) {
	store := mem.New()
	dir := mustSave(t, store, "", tiny(2))
	flip(store, dir+"/job.json")
	flip(store, dir+"/model-00001-of-00001.safetensors")
	if err := store.Delete(t.Context(), dir+"/index.json"); err != nil {
		t.Fatal(err)
	}
	problems := checkpoints.Verify(t.Context(), store, dir)
	if len(problems) != 3 {
		t.Fatalf("problems %v, want 3", problems)
	}
	all := errors.Join(problems...)
	wantError(t, all, checkpoints.ErrCorrupt, "job.json", "model-00001", "SHA-256")
	wantError(t, all, checkpoints.ErrNotExist, "index.json")
}

func flip(store *mem.Store, name string) {
	b := store.Bytes(name)
	b[len(b)/2] ^= 4
	store.Set(name, b)
}

// A manifest and files that agree with each other but not with the state they claim are found by the state's digest.
func TestWrongDigest(t *testing.T) {
	store := mem.New()
	st := tiny(2)
	parts, err := checkpoints.Plan(st, spec, 0)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*checkpoints.Manifest){
		"state": func(m *checkpoints.Manifest) { m.State++ }, "job": func(m *checkpoints.Manifest) { m.Job++ }, "step": func(m *checkpoints.Manifest) { m.Step++ },
	} {
		m := manifest(st, nil)
		change(m)
		if m.Files, err = checkpoints.WriteParts(t.Context(), store, what+"/"+m.Dir(), parts); err != nil {
			t.Fatal(err)
		}
		if _, err := checkpoints.WriteManifest(t.Context(), store, what+"/"+m.Dir(), m); err != nil {
			t.Fatal(err)
		}
		damaged(t, store, what+"/"+m.Dir(), what)
	}
}

func TestLoadNewest(t *testing.T) {
	store := mem.New()
	var dirs []string
	for step := range 4 {
		dirs = append(dirs, mustSave(t, store, "jobs/a/", tiny(1+2*ringleader.Step(step))))
	}
	mustSave(t, store, "jobs/b/", tiny(100))
	load := func(dir string, want int, reasons ...string) {
		t.Helper()
		st, m, skipped, err := checkpoints.LoadNewest(t.Context(), store, dir)
		if err != nil || len(skipped) != len(reasons) {
			t.Fatalf("load newest of %q: %v, skipped %v", dir, err, skipped)
		}
		for i, reason := range reasons {
			if !strings.Contains(skipped[i].Error(), reason) {
				t.Errorf("reason %q, want it to say %q", skipped[i], reason)
			}
		}
		wantState(t, st, tiny(ringleader.Step(want)))
		if m.Step != st.Step {
			t.Errorf("manifest of step %d", m.Step)
		}
	}
	load("", 100)
	load("jobs/", 100)
	load("jobs/a", 7)
	load(dirs[1], 3)

	if err := store.Delete(t.Context(), dirs[3]+"/manifest.json"); err != nil {
		t.Fatal(err)
	}
	flip(store, dirs[2]+"/model-00001-of-00001.safetensors")
	load("jobs/a", 3, "never completed", "model-00001")
	load(dirs[3], 3, "does not exist", "model-00001") // the one asked for, then older ones beside it
	load(dirs[1], 3)
	newest, skipped, err := checkpoints.Newest(t.Context(), store, "jobs/a")
	if err != nil || newest.Dir != dirs[1] || len(skipped) != 2 {
		t.Errorf("newest %+v, %v, %v", newest, skipped, err)
	}
	found, err := checkpoints.List(t.Context(), store, "jobs/a")
	if err != nil || len(found) != 4 || found[0] != (checkpoints.Found{Dir: dirs[3], Step: 7}) || !found[3].Committed {
		t.Errorf("list %+v, %v", found, err)
	}

	flip(store, dirs[0]+"/job.json")
	_, _, skipped, err = checkpoints.LoadNewest(t.Context(), store, dirs[0])
	wantError(t, err, checkpoints.ErrNotExist, "job.json")
	if len(skipped) != 1 { // nothing is older, and newer ones were not asked for
		t.Errorf("skipped %v", skipped)
	}
	_, _, _, err = checkpoints.LoadNewest(t.Context(), store, "elsewhere")
	wantError(t, err, checkpoints.ErrNotExist)
}

// Trouble with the store is no reason to go back in time.
func TestTroubleIsNotDamage(t *testing.T) {
	store := mem.New()
	mustSave(t, store, "", tiny(1))
	newer := mustSave(t, store, "", tiny(2))
	for _, trouble := range []error{checkpoints.ErrUnavailable, checkpoints.ErrDenied} {
		ops := 8
		for n := 1; n <= ops; n++ {
			store.Inject(func(op mem.Op) mem.Fault {
				if op.N == n {
					return mem.Fault{Err: trouble}
				}
				return mem.Fault{}
			})
			st, _, _, err := checkpoints.LoadNewest(t.Context(), store, "")
			if err == nil {
				wantState(t, st, tiny(2))
			} else if !errors.Is(err, trouble) {
				t.Fatalf("operation %d: %v, want %v", n, err, trouble)
			}
			_, _, err = checkpoints.Newest(t.Context(), store, "")
			if n > 1 && err != nil && !errors.Is(err, trouble) {
				t.Fatalf("operation %d: %v, want %v", n, err, trouble)
			}
		}
	}
	store.Inject(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := checkpoints.Load(ctx, store, newer)
	wantError(t, err, context.Canceled)
}

// A checkpoint that a newer program wrote is no reason to go back either.
func TestNewerVersion(t *testing.T) {
	store := mem.New()
	mustSave(t, store, "", tiny(1))
	name := mustSave(t, store, "", tiny(2)) + "/manifest.json"
	store.Set(name, reseal(bytes.Replace(store.Bytes(name), []byte(`"version": 2`), []byte(`"version": 3`), 1)))
	_, _, _, err := checkpoints.LoadNewest(t.Context(), store, "")
	wantError(t, err, checkpoints.ErrVersion, "3, this program reads 2")
}

// A copy under another name is loaded; one under the name of another checkpoint is refused.
func TestCopies(t *testing.T) {
	store := mem.New()
	dir := mustSave(t, store, "", tiny(2))
	for _, to := range []string{"my-favourite/", "", "step-00000003-00000000/"} {
		for _, name := range names(t, store) {
			if base, ok := strings.CutPrefix(name, dir+"/"); ok {
				store.Set(to+base, store.Bytes(name))
			}
		}
	}
	for _, copied := range []string{"my-favourite", ""} {
		st, _, skipped, err := checkpoints.LoadNewest(t.Context(), store, copied)
		if err != nil || len(skipped) > 0 {
			t.Fatalf("load %q: %v, %v", copied, skipped, err)
		}
		wantState(t, st, tiny(2))
	}
	_, _, err := checkpoints.Load(t.Context(), store, "step-00000003-00000000")
	wantError(t, err, checkpoints.ErrCorrupt, dir)
}
