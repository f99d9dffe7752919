package main

import (
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

func TestPrintParams(t *testing.T) {
	spec, err := job.Default("small")
	noError(t, err)
	m, err := model.New(spec.What, dataset.Meta{Users: 9, Items: 300, VectorDim: 16, Types: []string{"a"}, Positive: []bool{true}, LastMS: 1e11, CutMS: 1e11})
	noError(t, err)
	var b strings.Builder
	noError(t, printParams(&b, m))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for _, want := range []string{
		"item tower 74,368", "items.up.weight 512 x 16 8,192", "block 0 198,272", "block 1 as before 198,272", "total " + grouped(m.Size()),
	} {
		found := false
		for _, l := range lines {
			found = found || strings.Join(strings.Fields(l), " ") == want
		}
		if !found {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "blocks.1.") {
		t.Error("the tensors of a block like the one before it are listed")
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 46_754_425: "46,754,425", 100_000: "100,000"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
