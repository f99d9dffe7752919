package worker

import (
	"fmt"
	"strings"

	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/model"
)

// firstBad are the indices of the first tensor of a gradient that has a NaN, and of the first that has an element i whose magnitude is limit(i)
// or more; -1 if none has.
func firstBad(tensors []model.Tensor, grad []float32, limit func(i int) float32) (nan, over int) {
	nan, over = -1, -1
	for i, t := range tensors {
		for at := t.Offset; at < t.Offset+t.Len() && (nan < 0 || over < 0); at++ {
			switch v := grad[at]; {
			case v != v:
				if nan < 0 {
					nan = i
				}
			case over < 0 && max(v, -v) >= limit(at):
				over = i
			}
		}
	}
	return nan, over
}

// badStep is why no update may read a sum: what was found in which shards, and first in which tensor. Every member says the same, because it is read
// from the trailer that all have.
func badStep(what string, bad []exact.Bad, tensors []model.Tensor) string {
	first := bad[0]
	var where []string
	if first.Loss {
		where = append(where, "the loss")
	}
	tensor := ""
	if first.Tensor >= 0 {
		where = append(where, "the gradient")
		tensor = ", first in tensor " + nameOf(tensors, first.Tensor)
	}
	text := fmt.Sprintf("%s in %s of shard %d%s", what, strings.Join(where, " and "), first.Shard, tensor)
	if n := len(bad) - 1; n > 0 {
		text += fmt.Sprintf(" (and in %d more shards)", n)
	}
	return text
}

// nameOf is the name of a tensor whose index another member may have written.
func nameOf(tensors []model.Tensor, i int) string {
	if i >= len(tensors) {
		return fmt.Sprintf("%d of %d", i, len(tensors))
	}
	return tensors[i].Name
}
