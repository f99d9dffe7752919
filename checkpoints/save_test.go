package checkpoints_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/file"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
	"github.com/ringleader-dev/ringleader/checkpoints/storetest"
)

var rewrite = flag.Bool("rewrite", false, "write the golden checkpoint anew: only when the format's version changes")

// TestGolden holds a whole checkpoint fixed, byte by byte, and loads the one that is stored with the source: what was written once must be
// readable for ever.
func TestGolden(t *testing.T) {
	const golden = "testdata/golden"
	st := tiny(3)
	if *rewrite {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		store, err := file.Open(golden)
		if err != nil {
			t.Fatal(err)
		}
		mustSave(t, store, "", st)
	}
	stored, err := file.Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	have := mem.New()
	dir := mustSave(t, have, "", st)
	infos, err := stored.List(t.Context(), "")
	if err != nil || len(infos) != len(names(t, have)) {
		t.Errorf("%d files, %v; the golden checkpoint has %d", len(names(t, have)), err, len(infos))
	}
	for _, info := range infos {
		want, err := os.ReadFile(filepath.Join(golden, info.Name))
		if err != nil || !bytes.Equal(have.Bytes(info.Name), want) {
			t.Errorf("%s: other bytes than the golden ones (%v):\n%q\n%q", info.Name, err, have.Bytes(info.Name), want)
		}
	}
	loaded, _, err := checkpoints.Load(t.Context(), stored, dir)
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, loaded, st)
}

func TestRoundTrip(t *testing.T) {
	for _, test := range []struct {
		st               *checkpoints.State
		maxPart          int64
		model, optimizer int
	}{
		{tiny(500), 1, 3, 12}, {tiny(500), 8, 3, 11}, {tiny(500), 24, 2, 7}, {tiny(500), 1 << 20, 1, 1}, {tiny(500), 0, 1, 1},
		{narrow(500), 1, 3, 13}, {narrow(500), 0, 1, 1},
	} {
		store := mem.New()
		st := test.st
		dir, err := save(t, store, "jobs/a/", st, test.maxPart)
		if err != nil {
			t.Fatal(err)
		}
		if base := filepath.Base(dir); base != "step-00000500-"+st.Digest().String()[:8] {
			t.Errorf("directory %s", base)
		}
		model, optimizer := 0, 0
		for _, name := range names(t, store) {
			switch base := filepath.Base(name); {
			case strings.HasPrefix(base, "model-"):
				model++
			case strings.HasPrefix(base, "optimizer-"):
				optimizer++
			}
		}
		if model != test.model || optimizer != test.optimizer {
			t.Errorf("part of %d bytes: %d model and %d optimizer files, want %d and %d", test.maxPart, model, optimizer, test.model, test.optimizer)
		}
		have, m, err := checkpoints.Load(t.Context(), store, dir)
		if err != nil {
			t.Fatal(err)
		}
		wantState(t, have, st)
		if m.Numerics != "amd64/avx512" || m.Volatile.Generation != 4 || m.State != st.Digest() {
			t.Errorf("manifest %+v", m)
		}
		job, err := checkpoints.ReadJob(t.Context(), store, dir, m)
		if err != nil || !bytes.Equal(job, spec) {
			t.Errorf("job %s, %v", job, err)
		}
		if problems := checkpoints.Verify(t.Context(), store, dir); len(problems) > 0 {
			t.Errorf("problems: %v", problems)
		}
	}
}

// The index follows the ecosystem's convention and names the file of every parameter.
func TestIndex(t *testing.T) {
	store := mem.New()
	dir := mustSave(t, store, "", tiny(1))
	var index struct {
		Metadata  struct{ Total_size int64 }
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(store.Bytes(dir+"/index.json"), &index); err != nil {
		t.Fatal(err)
	}
	if index.Metadata.Total_size != 4*(6+5+1) || len(index.WeightMap) != 3 {
		t.Errorf("index %+v", index)
	}
	for name, file := range index.WeightMap {
		if b := store.Bytes(dir + "/" + file); !bytes.Contains(b, []byte(`"`+name+`":{"dtype":"F32"`)) {
			t.Errorf("%s is not in %s", name, file)
		}
	}
}

// Files depend on the state alone, not on which rank plans or writes them, nor on memory.
func TestPlanIsPure(t *testing.T) {
	first, err := checkpoints.Plan(tiny(9), spec, 32)
	if err != nil {
		t.Fatal(err)
	}
	second, err := checkpoints.Plan(tiny(9), spec, 32)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range first {
		a, errA := io.ReadAll(p.Reader())
		b, errB := io.ReadAll(second[i].Reader())
		info, errC := p.Info()
		sum := sha256.Sum256(a)
		if err := errors.Join(errA, errB, errC); err != nil {
			t.Fatal(err)
		}
		if p.Name != second[i].Name || !bytes.Equal(a, b) || info != (checkpoints.FileInfo{Name: p.Name, Size: int64(len(a)), SHA256: hex.EncodeToString(sum[:])}) {
			t.Errorf("part %d differs between two plans, or from its description %+v", i, info)
		}
	}
	if _, err := checkpoints.Plan(tiny(9), []byte("seed: 7"), 0); err == nil {
		t.Error("a spec that is not JSON was accepted")
	}
}

// Ranks that write the same checkpoint at the same time, each all of it, all succeed and agree on the manifest.
func TestConcurrentWriters(t *testing.T) {
	store := mem.New()
	st := tiny(2)
	dir := checkpoints.Dir(st.Step, st.Digest())
	sums := make([]string, 6)
	var all sync.WaitGroup
	for w := range sums {
		all.Go(func() {
			parts, err := checkpoints.Plan(st, spec, 16)
			if err != nil {
				t.Error(err)
				return
			}
			slices.Reverse(parts)
			files, err := checkpoints.WriteParts(t.Context(), store, dir, parts)
			if err != nil {
				t.Error(err)
				return
			}
			m := manifest(st, files)
			m.Volatile.Host = strings.Repeat("h", w)
			if sums[w], err = checkpoints.WriteManifest(t.Context(), store, dir, m); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	sum := sha256.Sum256(store.Bytes(dir + "/manifest.json"))
	for _, have := range sums {
		if have != hex.EncodeToString(sum[:]) {
			t.Errorf("a writer got the manifest %s, stored is %x", have, sum)
		}
	}
	if problems := checkpoints.Verify(t.Context(), store, dir); len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}

func TestWriteManifest(t *testing.T) {
	store := mem.New()
	st := tiny(2)
	dir := mustSave(t, store, "", st)
	there, first, err := checkpoints.ReadManifest(t.Context(), store, dir)
	if err != nil {
		t.Fatal(err)
	}
	// The same again, by somebody else: the first one stays.
	again := manifest(st, there.Files)
	again.Volatile = checkpoints.Volatile{Host: "other\xff", Generation: 9}
	if sum, err := checkpoints.WriteManifest(t.Context(), store, dir, again); err != nil || sum != first {
		t.Errorf("the same again: %s, %v; want %s", sum, err, first)
	}
	for what, change := range map[string]func(*checkpoints.Manifest){
		"job":   func(m *checkpoints.Manifest) { m.Job++ },
		"files": func(m *checkpoints.Manifest) { m.Files = slices.Clone(m.Files); m.Files[0].Size++ },
	} {
		other := manifest(st, there.Files)
		change(other)
		_, err := checkpoints.WriteManifest(t.Context(), store, dir, other)
		wantError(t, err, checkpoints.ErrExist)
		if sum := sha256.Sum256(store.Bytes(dir + "/manifest.json")); hex.EncodeToString(sum[:]) != first {
			t.Errorf("%s: the manifest was replaced", what)
		}
	}
	other := manifest(st, there.Files)
	other.Step++
	if _, err := checkpoints.WriteManifest(t.Context(), store, dir, other); err == nil {
		t.Error("a manifest of another step was accepted in the directory")
	}
}

// A run that comes to a state that an earlier one stored, with another "how", another program or on other machines, stores it anew; so
// it does where the manifest is damaged.
func TestStateIsStoredAgain(t *testing.T) {
	store := mem.New()
	st := tiny(2)
	dir := mustSave(t, store, "", st)
	there, _, err := checkpoints.ReadManifest(t.Context(), store, dir)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := checkpoints.Plan(st, []byte(`{"how": "another"}`), 64)
	if err != nil {
		t.Fatal(err)
	}
	files, err := checkpoints.WriteParts(t.Context(), store, dir, parts)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*checkpoints.Manifest){
		"job.json":  func(*checkpoints.Manifest) {},
		"numerics":  func(m *checkpoints.Manifest) { m.Numerics = "arm64" },
		"libraries": func(m *checkpoints.Manifest) { m.Libraries = nil },
		"damage": func(m *checkpoints.Manifest) {
			if err := storetest.Put(t.Context(), store, dir+"/manifest.json", []byte("{"), false); err != nil {
				t.Fatal(err)
			}
		},
	} {
		m := manifest(st, files)
		change(m)
		sum, err := checkpoints.WriteManifest(t.Context(), store, dir, m)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		now, nowSum, err := checkpoints.ReadManifest(t.Context(), store, dir)
		if err != nil || sum != nowSum || now.Same(there) || !now.Same(m) {
			t.Errorf("%s: the manifest is %+v with sum %s, %v; want %+v, %s", what, now, nowSum, err, m, sum)
		}
		if problems := checkpoints.Verify(t.Context(), store, dir); len(problems) > 0 {
			t.Errorf("%s: problems: %v", what, problems)
		}
	}
}

// An answer that is lost is no failure: the next attempt finds its own manifest.
func TestLostAnswer(t *testing.T) {
	store := mem.New()
	store.Inject(func(op mem.Op) mem.Fault {
		if op.Kind == "put" && strings.HasSuffix(op.Name, "manifest.json") {
			return mem.Fault{Err: checkpoints.ErrUnavailable, Late: true}
		}
		return mem.Fault{}
	})
	_, err := save(t, store, "", tiny(2), 64)
	wantError(t, err, checkpoints.ErrUnavailable)
	store.Inject(nil)
	mustSave(t, store, "", tiny(2))
}

// reseal corrects a manifest's own checksum.
func reseal(b []byte) []byte {
	const tail = "\"\n}\n"
	head := b[:len(b)-len(tail)-64]
	sum := sha256.Sum256(slices.Concat(head, []byte(tail)))
	return slices.Concat(head, []byte(hex.EncodeToString(sum[:])+tail))
}

func TestManifestStrict(t *testing.T) {
	store := mem.New()
	dir := mustSave(t, store, "", tiny(2))
	good := store.Bytes(dir + "/manifest.json")
	for what, change := range map[string]func([]byte) []byte{
		"space":    func(b []byte) []byte { return append(b, ' ') },
		"case":     func(b []byte) []byte { return bytes.Replace(b, []byte(`"step"`), []byte(`"Step"`), 1) },
		"unknown":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"step"`), []byte(`"more": 1, "step"`), 1) },
		"version":  func(b []byte) []byte { return bytes.Replace(b, []byte(`"version": 2`), []byte(`"version": 3`), 1) },
		"no JSON":  func(b []byte) []byte { return b[1:] },
		"volatile": func(b []byte) []byte { return bytes.Replace(b, []byte("host-a"), []byte("host-b"), 1) },
	} {
		_, err := checkpoints.DecodeManifest(change(bytes.Clone(good)))
		if !errors.Is(err, checkpoints.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", what, err)
		}
	}
	// With a sum that is right, too: one content has one spelling, and a newer version is told from damage.
	for what, want := range map[string]error{`"more": 1, "version": 2`: checkpoints.ErrCorrupt, `"Version": 2`: checkpoints.ErrCorrupt,
		`"version":  2`: checkpoints.ErrCorrupt, `"version": 3`: checkpoints.ErrVersion, `"version": "2"`: checkpoints.ErrCorrupt} {
		_, err := checkpoints.DecodeManifest(reseal(bytes.Replace(good, []byte(`"version": 2`), []byte(what), 1)))
		wantError(t, err, want)
	}
	m, err := checkpoints.DecodeManifest(good)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func([]checkpoints.FileInfo) []checkpoints.FileInfo{
		"is missing":      func(f []checkpoints.FileInfo) []checkpoints.FileInfo { return f[3:] },
		"model-00001":     func([]checkpoints.FileInfo) []checkpoints.FileInfo { return nil },
		"another file":    func(f []checkpoints.FileInfo) []checkpoints.FileInfo { return append(f, f[0]) },
		"../x":            func(f []checkpoints.FileInfo) []checkpoints.FileInfo { f[0].Name = "../x"; return f },
		"64 hex digits":   func(f []checkpoints.FileInfo) []checkpoints.FileInfo { f[0].SHA256 = "00"; return f },
		"size -1":         func(f []checkpoints.FileInfo) []checkpoints.FileInfo { f[0].Size = -1; return f },
		"go with them":    func(f []checkpoints.FileInfo) []checkpoints.FileInfo { n := f[0]; n.Name = "x"; return append(f, n) },
		`"manifest.json"`: func(f []checkpoints.FileInfo) []checkpoints.FileInfo { f[0].Name = "manifest.json"; return f },
		"want index.json, ": func(f []checkpoints.FileInfo) []checkpoints.FileInfo {
			return slices.DeleteFunc(f, func(x checkpoints.FileInfo) bool { return x.Name == "index.json" })
		},
	} {
		other := *m
		other.Files = change(slices.Clone(m.Files))
		if _, err := other.Encode(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want it to say %q", err, what)
		}
	}
	m.Numerics = "not UTF-8: \xff"
	if _, err := m.Encode(); err == nil {
		t.Error("a manifest that cannot be read back was encoded")
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "a/b.c": true, strings.Repeat("a", 255): true, strings.Repeat("a", 256): false, strings.Repeat("a/", 450) + "a": false,
		".ringleader-tmp-1": false, "a/.ringleader-tmp-1": false, "": false, ".": false, "a/../b": false, "/a": false, "a/": false, `a\b`: false, "a\x7f": false,
	} {
		if err := checkpoints.CheckName(name); (err == nil) != good || err != nil && !errors.Is(err, checkpoints.ErrDenied) {
			t.Errorf("%q: %v, want good = %t", name, err, good)
		}
	}
	if checkpoints.CheckPrefix("") != nil || checkpoints.CheckPrefix("a/") != nil || checkpoints.CheckPrefix("a//") == nil {
		t.Error("prefixes")
	}
}

// The digits of a step never run out.
func TestDir(t *testing.T) {
	if d := checkpoints.Dir(math.MaxInt32*10, 0xfedcba9876543210); d != "step-21474836470-fedcba98" {
		t.Error(d)
	}
}
