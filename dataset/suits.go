package dataset

import (
	"errors"
	"fmt"

	"github.com/ringleader-dev/ringleader/job"
)

// Suits says what of a job's loss and negatives makes no sense on this data set, as far as dataset.json alone can tell. The error lists
// everything that is wrong, by field.
func (m *Meta) Suits(w *job.What) error {
	var errs []error
	for _, n := range []struct {
		field string
		draws int
	}{{"random", w.Negatives.Random}, {"in_batch", w.Negatives.InBatch}} {
		if n.draws > m.Items {
			errs = append(errs, fmt.Errorf("what.negatives.%s %d: the data set has %d items; want at most as many draws", n.field, n.draws, m.Items))
		}
	}
	if span := min(m.LastMS, m.CutMS) - m.FirstMS; days(w.Loss.HorizonDays) > span {
		errs = append(errs, fmt.Errorf("what.loss.horizon_days %g: the data set's actions up to the cut span %.4g days; want a horizon within them", w.Loss.HorizonDays, float64(span)/dayMS))
	}
	return errors.Join(errs...)
}
