package exact

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/ringleader-dev/ringleader"
)

// Flag is a wish that any member may raise; all members read the same counts and act after the same step.
type Flag int

// Flags.
const (
	FlagStop       Flag = iota // end the job cleanly after this step
	FlagRegroup                // leave: a new generation follows
	FlagPause                  // checkpoint, then leave
	FlagCancel                 // leave
	FlagDrain                  // this member wants to go
	FlagCheckpoint             // checkpoint after this step
	flagCount
)

// Flags lists them all.
func Flags() []Flag {
	return []Flag{FlagStop, FlagRegroup, FlagPause, FlagCancel, FlagDrain, FlagCheckpoint}
}

// LossFractionBits is the scale at which losses travel: coarser than a gradient's, because a loss is a sum over a shard's users.
const LossFractionBits = 32

// Lanes at fixed places; after them come NaN per shard, overflow per shard, sums per bucket, digest per rank, pace per rank.
const (
	laneMembers = iota // 1 from each member: a trailer summed twice, or not at all, shows
	laneSeal           // minus the sum of all other lanes, mod 2^64
	laneUsers
	laneValidUsers
	laneTokens
	laneLoss
	laneLedger
	laneFlags
	laneShards = laneFlags + int(flagCount)
)

// Trailer is what travels and is summed exactly with a step's gradient, as int64 lanes that are added mod 2^64.
//
// A member fills one in for its own shards and seals it; the lanes of all members are summed (in any order); then every
// member checks and reads the same totals. Setters out of range are remembered and returned by Seal. It is used by one goroutine at a time.
type Trailer struct {
	ranks, shards, buckets int

	lanes []int64
	err   error
}

// NewTrailer is a trailer of zeros for a generation of that many ranks, a job of that many shards and a gradient of that many buckets.
func NewTrailer(ranks, shards, buckets int) *Trailer {
	t := &Trailer{ranks: max(ranks, 0), shards: max(shards, 0), buckets: max(buckets, 0)}
	if ranks < 1 || shards < 1 || shards > MaxShards || buckets < 0 {
		t.fail("trailer of %d ranks, %d shards, %d buckets: want at least 1, 1..%d, at least 0", ranks, shards, MaxShards, buckets)
	}
	t.lanes = make([]int64, laneShards+2*t.shards+t.buckets+2*t.ranks)
	return t
}

// Reset makes it a trailer of zeros again, for the next step.
func (t *Trailer) Reset() { clear(t.lanes) }

// Lanes is the memory that the ring sums, in place.
func (t *Trailer) Lanes() []int64 { return t.lanes }

func (t *Trailer) fail(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf(format, args...)
	}
}

// at is lane i of a group of n lanes that begins at base; misuse is remembered and lands in a lane of its own.
func (t *Trailer) at(what string, base, i, n int) *int64 {
	if i < 0 || i >= n {
		t.fail("trailer %s %d: want 0..%d", what, i, n-1)
		return new(int64)
	}
	return &t.lanes[base+i]
}

func (t *Trailer) nan(s ringleader.Shard) *int64 { return t.at("shard", laneShards, int(s), t.shards) }

func (t *Trailer) overflow(s ringleader.Shard) *int64 {
	return t.at("shard", laneShards+t.shards, int(s), t.shards)
}

func (t *Trailer) bucket(b int) *int64 { return t.at("bucket", laneShards+2*t.shards, b, t.buckets) }

func (t *Trailer) rank(r ringleader.Rank) *int64 {
	return t.at("rank", laneShards+2*t.shards+t.buckets, int(r), t.ranks)
}

func (t *Trailer) pace(r ringleader.Rank) *int64 {
	return t.at("rank", laneShards+2*t.shards+t.buckets+t.ranks, int(r), t.ranks)
}

// SetPace says how long a member computes at a shard, in whole microseconds: it is reported, and decides nothing.
func (t *Trailer) SetPace(r ringleader.Rank, d time.Duration) { *t.pace(r) = d.Microseconds() }

// AddUsers counts users of this step.
func (t *Trailer) AddUsers(n int64) { t.lanes[laneUsers] += n }

// AddValidUsers counts users of this step that have a target.
func (t *Trailer) AddValidUsers(n int64) { t.lanes[laneValidUsers] += n }

// AddTokens counts tokens of this step.
func (t *Trailer) AddTokens(n int64) { t.lanes[laneTokens] += n }

// AddLoss adds a shard's summed loss, rounded to 2^-LossFractionBits. If it is NaN or out of range the shard is marked instead, so that all members see it.
// A shard has one loss in a step.
func (t *Trailer) AddLoss(s ringleader.Shard, loss float64) {
	limit := math.Ldexp(1, 63-LossFractionBits-bits.Len(uint(max(t.shards, 1)-1)))
	switch {
	case math.IsNaN(loss):
		*t.nan(s) += markLoss
	case math.Abs(loss) >= limit:
		*t.overflow(s) += markLoss
	default:
		t.lanes[laneLoss] += int64(math.RoundToEven(loss * (1 << LossFractionBits)))
	}
}

// AddLedger adds the hashes of the users that were trained, mod 2^64.
func (t *Trailer) AddLedger(sum uint64) { t.lanes[laneLedger] += int64(sum) }

// A mark is what the NaN or overflow lane of a shard holds. Only one member computes a shard, so the sum of the members' lanes is what that one wrote:
// in the low half 1 + the index of the first tensor at fault, or 0 if it is no gradient, and above it whether it is the loss.
const (
	markLoss   = 1 << 32
	markTensor = markLoss - 1
)

// MarkNaN records that a shard's gradient has a NaN, and the index of the first tensor that has one, in canonical order. Call it once for a shard.
func (t *Trailer) MarkNaN(s ringleader.Shard, tensor int) { t.mark(t.nan(s), tensor) }

// MarkOverflow records that a shard's gradient has a value out of range (see Limit), and the first tensor that has one, as MarkNaN does.
func (t *Trailer) MarkOverflow(s ringleader.Shard, tensor int) { t.mark(t.overflow(s), tensor) }

func (t *Trailer) mark(lane *int64, tensor int) {
	if tensor < 0 || tensor >= markTensor {
		t.fail("trailer tensor %d: want 0..%d", tensor, markTensor-1)
		return
	}
	*lane += int64(tensor) + 1
}

// Raise raises a flag.
func (t *Trailer) Raise(f Flag) { *t.at("flag", laneFlags, int(f), int(flagCount))++ }

// SetBucketSum records SumInt64 of the member's integers of a bucket as they are before the reduce.
func (t *Trailer) SetBucketSum(b int, sum int64) { *t.bucket(b) = sum }

// SetDigest records the digest of the member's own state. A member calls it for its own rank only.
func (t *Trailer) SetDigest(r ringleader.Rank, d ringleader.Digest) { *t.rank(r) = int64(d) }

// Seal completes the member's trailer; call it last, once. It returns the first misuse of a setter since NewTrailer.
func (t *Trailer) Seal() error {
	if t.err != nil {
		return t.err
	}
	t.lanes[laneMembers] = 1
	t.lanes[laneSeal] = 0
	t.lanes[laneSeal] = -SumInt64(t.lanes)
	return nil
}
