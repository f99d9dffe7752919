package worker

import (
	"context"
	"errors"
	"time"

	"github.com/ringleader-dev/ringleader/exact"
)

// settleEvery is how often members that wait for a checkpoint tell one another that they do.
const settleEvery = 50 * time.Millisecond

// The lanes of a round: how many members say so. The last three are flags.
const (
	laneCommitted = iota
	laneCancel
	laneAway
	laneDrain
	settleLanes
)

var (
	errCancelled = errors.New("the job was cancelled")
	errUnsettled = errors.New("asked to leave before the checkpoint was committed")
)

// settle waits until the checkpoint of the present state is committed (done), or the job cancelled, or a new generation wanted. There are no
// steps meanwhile in whose trailers to agree; small sums take their place, so that all leave together, and a member that dies or
// hangs is noticed as at any other time.
func (g *generation) settle(ctx context.Context, done <-chan struct{}) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	var lanes [settleLanes]int64
	for round := uint32(0); ; round++ {
		clear(lanes[:])
		select {
		case <-done:
			lanes[laneCommitted] = 1
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wanted := g.wanted.Load()
		for i, f := range []exact.Flag{exact.FlagCancel, exact.FlagRegroup, exact.FlagDrain} {
			lanes[laneCancel+i] = int64(wanted >> f & 1)
		}
		g.agent.beat.Add(1)
		if err := g.group.SumInt64(ctx, g.replica.step, settleBucket+round, lanes[:]); err != nil {
			return err
		}
		switch {
		case lanes[laneCommitted] > 0:
			return nil // who has not heard it yet will not be told anything else
		case lanes[laneCancel] > 0:
			return errCancelled
		case lanes[laneAway] > 0 && lanes[laneDrain] < int64(g.size): // if all are to stop, the checkpoint is all that will be left
			return errUnsettled
		}
	}
}
