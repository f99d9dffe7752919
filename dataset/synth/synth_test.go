package synth_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/synth"
)

func TestSameOptionsSameBytes(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	first, err := synth.Write(a, synth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := synth.Write(b, synth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Digest != second.Digest {
		t.Errorf("digests %s and %s", first.Digest, second.Digest)
	}
	for _, f := range append(first.Files, dataset.File{Name: dataset.MetaName}) {
		x, errX := os.ReadFile(filepath.Join(a, f.Name))
		y, errY := os.ReadFile(filepath.Join(b, f.Name))
		if errX != nil || errY != nil || string(x) != string(y) {
			t.Errorf("%s differs (%v, %v)", f.Name, errX, errY)
		}
	}
	other, err := synth.Write(t.TempDir(), synth.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if other.Digest == first.Digest {
		t.Error("another seed has the same digest")
	}
}

func TestEveryShapeIsSound(t *testing.T) {
	for name, o := range map[string]synth.Options{
		"default": {}, "plain": {Plain: true}, "tiny": {Users: 2, Items: 5, Actions: 2, Holdout: -1}, "no ties": {Ties: -1},
	} {
		dir := t.TempDir()
		if _, err := synth.Write(dir, o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, err := range dataset.Check(context.Background(), dataset.Dir(dir)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusesImpossibleOptions(t *testing.T) {
	for name, o := range map[string]synth.Options{"users": {Users: -1}, "topics": {Items: 3}, "dim": {Dim: 2}, "days": {Days: 5}, "actions": {Actions: 1}} {
		if _, err := synth.Write(t.TempDir(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
