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
func (s *Sampler) Ledger(step ringleader.Step, shard ringleader.Shard) uint64 {
	return s.ledger(s.Users(nil, step, shard), step)
}

// LedgerOf is what the users of a batch add: equal to Ledger of its step and shard if the batch is what Batch made.
func (s *Sampler) LedgerOf(b *Batch) uint64 { return s.ledger(b.User, b.Step) }

func (s *Sampler) ledger(users []int32, step ringleader.Step) uint64 {
	var sum uint64
	for _, u := range users {
		sum += LedgerHash(s.d.hash[u], step)
	}
	return sum
}

// Audit is the ledger of a state that has completed the given number of steps, computed anew from the data.
func (s *Sampler) Audit(ctx context.Context, steps ringleader.Step) (ledger uint64, err error) {
	var users []int32
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for shard := range s.shards {
			users = s.Users(users[:0], step, ringleader.Shard(shard))
			ledger += s.ledger(users, step)
		}
	}
	return ledger, nil
}
