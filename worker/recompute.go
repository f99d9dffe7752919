package worker

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// Recompute computes shards of others, and returns the hashes of their gradients by shard, as the ring sums them: 0 for all others.
func (e *Engine) Recompute(ctx context.Context, shards []ringleader.Shard) ([]int64, error) {
	hashes := make([]int64, len(e.hashes))
	return hashes, e.deal(ctx, shards, func(l *lane, hand iter.Seq[ringleader.Shard], _ func() bool) error {
		for s := range hand {
			hash, err := l.recompute(ctx, e, s)
			if err != nil {
				return err
			}
			hashes[s] = int64(hash)
		}
		return nil
	})
}

// recomputes tells whether each shard of the coming step is to be computed by two members. All members say the same.
func (g *generation) recomputes() bool {
	every := ringleader.Step(g.spec.How.Verify.Every)
	return every > 0 && g.size > 1 && (g.replica.step+1)%every == 0
}

// crosscheck has each member compute the shards of the one before it, and compares: a wrong gradient reaches all replicas alike, so that no comparison of states
// shows it. Nothing has been applied yet: after a difference the step is begun again.
func (g *generation) crosscheck(ctx context.Context) error {
	first := slices.Clone(g.replica.hashes)
	second, err := g.recompute(ctx, 1, nil)
	if err != nil {
		return err
	}
	for i, hashes := range [][]int64{first, second} {
		if err := g.group.SumInt64(ctx, g.replica.step, hashBucket+uint32(i), hashes); err != nil {
			return err
		}
	}
	var unlike []ringleader.Shard
	for s := range first {
		if first[s] != second[s] {
			unlike = append(unlike, ringleader.Shard(s))
		}
	}
	if len(unlike) == 0 {
		return nil
	}
	third, err := g.recompute(ctx, 2, unlike)
	if err != nil {
		return err
	}
	if err := g.group.SumInt64(ctx, g.replica.step, hashBucket+2, third); err != nil {
		return err
	}
	s := unlike[0]
	return g.differ(s, first[s], second[s], third[s])
}

// recompute computes the shards of the member so many ranks before this one, or those of them that are among some.
func (g *generation) recompute(ctx context.Context, before int, among []ringleader.Shard) ([]int64, error) {
	var shards []ringleader.Shard
	for _, s := range g.assign.Members[(int(g.rank)+before*(g.size-1))%g.size].Shards {
		if shard := ringleader.Shard(s); among == nil || slices.Contains(among, shard) {
			shards = append(shards, shard)
		}
	}
	ctx, end := g.standing(ctx)
	hashes, err := g.replica.Recompute(ctx, shards)
	if err != nil {
		err = g.own(err)
	}
	return hashes, end(err)
}

// differ says who computed a shard otherwise than the others. In a gang of two the third result is its owner's again, which only shows that its first one was wrong.
func (g *generation) differ(s ringleader.Shard, first, second, third int64) error {
	owner := slices.IndexFunc(g.assign.Members, func(m *rpcpb.Member) bool { return slices.Contains(m.Shards, int32(s)) })
	fault := &allreduce.Fault{How: fmt.Sprintf("gradients of shard %d differ at step %d", s, g.replica.step+1)}
	switch {
	case third == second:
		fault.Culprit, fault.HasCulprit = ringleader.Rank(owner), true
	case third == first && g.size > 2:
		fault.Culprit, fault.HasCulprit = ringleader.Rank((owner+1)%g.size), true
	default:
		fault.How += ", and nobody can tell which is right"
	}
	return fault
}
