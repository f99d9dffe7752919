package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/evaluation"
)

// writeLosses appends steps from..to to a run's file, each with the loss of 1000/step, from a run of its own.
func writeLosses(t *testing.T, dir string, from, to ringleader.Step) {
	t.Helper()
	l, err := openLossLog(dir)
	noError(t, err)
	for s := from; s <= to; s++ {
		l.add(event{Step: s, Loss: 1000 / float64(s), Users: 8})
	}
	noError(t, l.close())
}

// A run that was killed while it wrote a line, and went on from an earlier step, has each step once, and all of its digits.
func TestLosses(t *testing.T) {
	dir := t.TempDir()
	step := filepath.Join(dir, runStore, "step-00000007-0123abcd")
	noError(t, os.MkdirAll(step, 0o755))
	if none, err := lossesOf(dir, 7); err != nil || none != nil {
		t.Errorf("without a file: %v, %v", none, err)
	}
	writeLosses(t, dir, 1, 5)
	path := filepath.Join(dir, lossName)
	text, err := os.ReadFile(path)
	noError(t, err)
	noError(t, os.WriteFile(path, append(text, "6,16"...), 0o644))
	writeLosses(t, dir, 4, 9)

	var want []evaluation.StepLoss
	for s := range ringleader.Step(7) {
		want = append(want, evaluation.StepLoss{Step: s + 1, Loss: 1000 / float64(s+1)})
	}
	for _, where := range []string{dir, "file://" + dir, filepath.Join(dir, runStore), step} {
		if got, err := lossesOf(where, 7); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", where, got, err, want)
		}
	}
	if none, err := lossesOf("s3://bucket/run", 7); err != nil || none != nil {
		t.Errorf("of a bucket: %v, %v", none, err)
	}
}
