package dataset

import (
	"context"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

// LedgerHash is what one user's visit adds, mod 2^64, to the ledger: a record of who was trained at which step that does not depend
// on order. idHash is Dataset.UserHash.
func LedgerHash(idHash uint64, step ringleader.Step) uint64 {
	return counter.At(counter.Mix(idHash), uint64(step))
}

// Ledger is what the shard adds to the ledger at the step.
func (s *Sampler) Ledger(step ringleader.Step, shard ringleader.Shard) (sum uint64) {
	s.turns(step, shard, func(turns []turn) {
		for _, t := range turns {
			sum += LedgerHash(s.d.hash[t.user], step)
		}
	})
	return sum
}

// LedgerOf is what the users of a batch add: equal to Ledger of its step and shard if the batch is what Batch made.
func (s *Sampler) LedgerOf(b *Batch) (sum uint64) {
	for _, u := range b.User {
		sum += LedgerHash(s.d.hash[u], b.Step)
	}
	return sum
}

// Audit is the ledger of a state that has completed the given number of steps, computed anew from the data.
func (s *Sampler) Audit(ctx context.Context, steps ringleader.Step) (ledger uint64, err error) {
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for shard := range s.shards {
			ledger += s.Ledger(step, ringleader.Shard(shard))
		}
	}
	return ledger, nil
}
