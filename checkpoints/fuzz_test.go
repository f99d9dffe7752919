package checkpoints_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/mem"
)

// golden reads the files of the checkpoint that is stored with the source.
func golden(f *testing.F) map[string][]byte {
	f.Helper()
	paths, err := filepath.Glob("testdata/golden/*/*")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no golden checkpoint: %v", err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[path[len("testdata/golden/"):]], err = os.ReadFile(path); err != nil {
			f.Fatal(err)
		}
	}
	return files
}

// FuzzManifest: what decodes has only one spelling; everything else is damage, or of another version. The sum is made to fit, so that it is not all
// that stands between the fuzzer and the decoder.
func FuzzManifest(f *testing.F) {
	for name, content := range golden(f) {
		if filepath.Base(name) == checkpoints.ManifestName {
			f.Add(content)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, resealed(b)} {
			m, err := checkpoints.DecodeManifest(b)
			if err != nil {
				if !errors.Is(err, checkpoints.ErrCorrupt) && !errors.Is(err, checkpoints.ErrVersion) {
					t.Errorf("%v is neither damage nor another version", err)
				}
				continue
			}
			if again, err := m.Encode(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("decoded, it is encoded as %q, %v", again, err)
			}
		}
	})
}

// resealed gives b the sum that its content has, if it ends like a manifest.
func resealed(b []byte) []byte {
	const tail = "\"\n}\n"
	if len(b) < len(tail)+64 || !bytes.HasSuffix(b, []byte(tail)) {
		return b
	}
	return reseal(slices.Clone(b))
}

// FuzzLoad puts any bytes in the place of any file of a checkpoint, whose manifest agrees with them or not: nothing loads but the state that was
// saved, and nothing panics.
func FuzzLoad(f *testing.F) {
	files := golden(f)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		f.Add(uint8(i), files[name], true)
		f.Add(uint8(i), files[name][:len(files[name])/2], false)
	}
	f.Fuzz(func(t *testing.T, which uint8, content []byte, agree bool) {
		name := names[int(which)%len(names)]
		store := mem.New()
		for other, b := range files {
			store.Set(other, b)
		}
		store.Set(name, content)
		dir := filepath.Dir(name)
		if agree && filepath.Base(name) != checkpoints.ManifestName {
			agreeing(t, store, dir, filepath.Base(name), content)
		}
		st, _, err := checkpoints.Load(t.Context(), store, dir)
		if problems := checkpoints.Verify(t.Context(), store, dir); (err == nil) != (len(problems) == 0) {
			t.Errorf("load: %v; verify: %v", err, problems)
		}
		if err == nil {
			wantState(t, st, tiny(3))
		} else if st != nil || !checkpoints.IsDamage(err) && !errors.Is(err, checkpoints.ErrVersion) {
			t.Errorf("load: %v", err)
		}
	})
}

// agreeing writes a manifest that has the size and the hash of a file as it is now.
func agreeing(t *testing.T, store *mem.Store, dir, name string, content []byte) {
	t.Helper()
	m, err := checkpoints.DecodeManifest(store.Bytes(dir + "/" + checkpoints.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range m.Files {
		if f.Name == name {
			m.Files[i].Size, m.Files[i].SHA256 = int64(len(content)), fmt.Sprintf("%x", sha256.Sum256(content))
		}
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	store.Set(dir+"/"+checkpoints.ManifestName, b)
}

// FuzzWeights: whatever is read as a model's weights has the model's shapes.
func FuzzWeights(f *testing.F) {
	model := tiny(1).Params
	var b bytes.Buffer
	if err := checkpoints.WriteWeights(&b, model); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-4])
	f.Add(bytes.Replace(b.Bytes(), []byte("[3,2]"), []byte("[2,3]"), 1))
	f.Fuzz(func(t *testing.T, content []byte) {
		params, err := checkpoints.ReadWeights(bytes.NewReader(content), int64(len(content)), model)
		if err != nil {
			return
		}
		if err := checkpoints.Start(1, params).Match(model); err != nil {
			t.Error(err)
		}
		for i, p := range params {
			if len(p.Data) != len(model[i].Data) {
				t.Errorf("%q has %d elements, want %d", p.Name, len(p.Data), len(model[i].Data))
			}
		}
	})
}
