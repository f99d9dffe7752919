package dataset

import (
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/job"
)

func TestSuits(t *testing.T) {
	m := Meta{Items: 40, FirstMS: 10 * dayMS, LastMS: 50 * dayMS, CutMS: 38 * dayMS}
	late := m
	late.CutMS = 90 * dayMS // nothing to evaluate: the log ends before the cut
	for _, c := range []struct {
		meta    Meta
		random  int
		inBatch int
		horizon float64
		want    []string // of the error
	}{
		{m, 40, 40, 28, nil},
		{m, 0, 0, 1, nil},
		{m, 41, 0, 28, []string{"what.negatives.random 41: the data set has 40 items"}},
		{m, 0, 41, 28, []string{"what.negatives.in_batch 41: the data set has 40 items"}},
		{m, 40, 0, 28.001, []string{"what.loss.horizon_days 28.001: the data set's actions up to the cut span 28 days"}},
		{late, 40, 0, 40, nil},
		{late, 99, 98, 41, []string{"negatives.random 99", "negatives.in_batch 98", "span 40 days"}},
	} {
		err := c.meta.Suits(&job.What{Loss: job.Loss{HorizonDays: c.horizon}, Negatives: job.Negatives{Random: c.random, InBatch: c.inBatch}})
		if (err == nil) != (c.want == nil) {
			t.Errorf("%+v: %v", c, err)
		}
		for _, want := range c.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in %v", want, err)
			}
		}
	}
}
