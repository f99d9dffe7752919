package exact

import (
	"fmt"
	"math"
	"time"

	"github.com/ringleader-dev/ringleader"
)

// Check verifies a reduced trailer: every member's is in it, once, and no lane was altered on the way. Believe nothing else of it before.
func (t *Trailer) Check() error {
	if n := t.lanes[laneMembers]; n != int64(t.ranks) {
		return fmt.Errorf("check trailer: it holds %d members, want %d", n, t.ranks)
	}
	if sum := SumInt64(t.lanes); sum != 0 {
		return fmt.Errorf("check trailer: lanes and seal add up to %016x, want 0", uint64(sum))
	}
	return nil
}

// CheckBucketSum verifies a reduced bucket, given SumInt64 of its integers: they add up to what the members' did before the reduce.
func (t *Trailer) CheckBucketSum(b int, sum int64) error {
	if b < 0 || b >= t.buckets {
		return fmt.Errorf("check bucket %d: want 0..%d", b, t.buckets-1)
	}
	if want := *t.bucket(b); sum != want {
		return fmt.Errorf("check bucket %d: its integers add up to %016x, the members' to %016x", b, uint64(sum), uint64(want))
	}
	return nil
}

// Users is the number of users of the step.
func (t *Trailer) Users() int64 { return t.lanes[laneUsers] }

// ValidUsers is the number of users with a target: what the gradient is divided by.
func (t *Trailer) ValidUsers() int64 { return t.lanes[laneValidUsers] }

// Tokens is the number of tokens of the step.
func (t *Trailer) Tokens() int64 { return t.lanes[laneTokens] }

// Loss is the sum of the losses.
func (t *Trailer) Loss() float64 { return math.Ldexp(float64(t.lanes[laneLoss]), -LossFractionBits) }

// Ledger is the sum of the users' hashes mod 2^64.
func (t *Trailer) Ledger() uint64 { return uint64(t.lanes[laneLedger]) }

// Pace is how long a member computes at a shard.
func (t *Trailer) Pace(r ringleader.Rank) time.Duration {
	return time.Duration(*t.pace(r)) * time.Microsecond
}

// Raised reports whether any member raised a flag.
func (t *Trailer) Raised(f Flag) bool { return t.Count(f) > 0 }

// Count is how many members raised a flag.
func (t *Trailer) Count(f Flag) int64 {
	if f < 0 || f >= flagCount {
		return 0
	}
	return t.lanes[laneFlags+int(f)]
}

// Bad is a shard whose part of a step is of no use.
type Bad struct {
	Shard  ringleader.Shard
	Loss   bool // its loss is at fault
	Tensor int  // the first tensor whose gradient is, in canonical order; -1 if none is
}

// NaN lists the shards that had a NaN, in increasing order; nil if there is none.
func (t *Trailer) NaN() []Bad { return t.marked(laneShards) }

// Overflow lists the shards that had a value out of range, an infinity for instance, in increasing order; nil if there is none.
func (t *Trailer) Overflow() []Bad { return t.marked(laneShards + t.shards) }

func (t *Trailer) marked(base int) []Bad {
	var list []Bad
	for s, mark := range t.lanes[base : base+t.shards] {
		if mark != 0 {
			list = append(list, Bad{ringleader.Shard(s), mark&markLoss != 0, int(mark&markTensor) - 1})
		}
	}
	return list
}

// Digests are the members' digests by rank.
func (t *Trailer) Digests() []ringleader.Digest {
	list := make([]ringleader.Digest, t.ranks)
	for r := range list {
		list[r] = ringleader.Digest(*t.rank(ringleader.Rank(r)))
	}
	return list
}

// Disagree lists the ranks whose digest differs from that of more than half of the members, in increasing order: nil if all are equal,
// all ranks if no digest has such a majority (of two members that differ, nobody can tell which is right).
func (t *Trailer) Disagree() []ringleader.Rank {
	digests := t.Digests()
	count := make(map[ringleader.Digest]int)
	for _, d := range digests {
		count[d]++
	}
	if len(count) <= 1 {
		return nil
	}
	var list []ringleader.Rank
	for r, d := range digests {
		if 2*count[d] <= len(digests) {
			list = append(list, ringleader.Rank(r))
		}
	}
	return list
}
