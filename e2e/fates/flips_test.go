package fates

import (
	"fmt"
	"testing"

	"github.com/ringleader-dev/ringleader"
)

// TestFlips: a bit of one member's state flips between two steps, in the middle (3), just before a checkpoint (4) and before the last one (10). That member
// is named and gets the others' state, nobody goes back to a checkpoint, and the result has the same bits.
func TestFlips(t *testing.T) {
	want := reference(t)
	names := []string{"w0", "w1", "w2"}
	for _, workers := range []int{2, 3} {
		for _, moment := range []bool{false, true} {
			for _, step := range []ringleader.Step{3, 4, steps} {
				t.Run(fmt.Sprintf("%d workers, moment %v, step %d", workers, moment, step), func(t *testing.T) {
					inCluster(t, func(c *cluster) {
						var ws []*process
						for _, name := range names[:workers] {
							ws = append(ws, c.worker(name, step))
						}
						j := c.submit(workers)
						c.at(step, ws...)
						c.devices[1].flip(moment)
						c.goOn(step, ws...)
						j, got := c.succeed(j)
						if got != want {
							t.Errorf("state digest %s, undisturbed %s; history:\n%s", got, want, history(j))
						}
						from := int64(step)
						if moment && workers == 3 && step == 3 {
							from++ // three do not read their moments twice: the wrong update is its own, and shows in the next comparison
						}
						if g := j.Generations[len(j.Generations)-1]; len(j.Generations) != 2 || len(g.Members) != workers || g.FirstStep != from {
							t.Errorf("generations %v: want a second one of all %d from step %d", j.Generations, workers, from)
						}
						c.wantHistory(j, "worker w1: rank 1: state ")
					})
				})
			}
		}
	}
}
