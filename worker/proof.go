package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/exact"
)

// compare makes sure that all members hold the same state, word by word, and returns its digest. All members call it at the same point.
func (g *generation) compare(ctx context.Context, bucket uint32) (ringleader.Digest, error) {
	tr := exact.NewTrailer(g.size, g.replica.what.Shards, 0)
	proof := g.replica.Proof()
	tr.SetDigest(g.rank, proof)
	if err := g.trust(); err != nil {
		return proof, err
	}
	if err := reduceTrailer(ctx, g.group, g.replica.step, bucket, tr); err != nil {
		return proof, err
	}
	return proof, g.agree(tr)
}

// trust refuses a state that this member knows to have changed in its memory: it must not be handed on, and the others have a good one.
func (g *generation) trust() error {
	if !fenced || !g.replica.changed() {
		return nil
	}
	return &allreduce.Fault{Culprit: g.rank, HasCulprit: true, Doubted: []ringleader.Rank{g.rank},
		How: fmt.Sprintf("state changed in memory after it was written at step %d", g.replica.step)}
}

// agree refuses unlike states: those that differ from most are doubted. If there is no majority all are, and the newest checkpoint counts.
func (g *generation) agree(tr *exact.Trailer) error {
	ranks := tr.Disagree()
	if !fenced || len(ranks) == 0 {
		return nil
	}
	fault := &allreduce.Fault{Culprit: ranks[0], HasCulprit: true, Doubted: ranks,
		How: fmt.Sprintf("state differs from the other members' at step %d (%s)", g.replica.step, g.unlike(tr.Digests(), ranks))}
	if len(ranks) < g.size {
		return fault
	}
	return &dispute{fault, g.replica.step, tr.Digests()}
}

// dispute is a fault that nobody can be blamed for: each member has read the state that it wrote, and no state is that of most. The coordinator counts them.
type dispute struct {
	*allreduce.Fault
	step   ringleader.Step
	states []ringleader.Digest // by rank
}

// Unwrap is the fault, so that it is dealt with as one.
func (d *dispute) Unwrap() error { return d.Fault }

func (d *dispute) digests() (texts []string) {
	for _, s := range d.states {
		texts = append(texts, s.String())
	}
	return texts
}

// unlike says who has which state; a few are enough.
func (g *generation) unlike(digests []ringleader.Digest, ranks []ringleader.Rank) string {
	var parts []string
	for _, r := range ranks[:min(len(ranks), 4)] {
		parts = append(parts, fmt.Sprintf("rank %d has %s", r, digests[r]))
	}
	for r, d := range digests {
		if rank := ringleader.Rank(r); !slices.Contains(ranks, rank) {
			return strings.Join(append(parts, fmt.Sprintf("most have %s", d)), ", ")
		}
	}
	return strings.Join(parts, ", ")
}
