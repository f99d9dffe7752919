package exact_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/exact"
)

// gang makes the sealed trailers of ranks members that share 6 shards, over 2 buckets, and the buckets' data.
func gang(t *testing.T, ranks int, fill func(rank int, tr *exact.Trailer)) (list []*exact.Trailer, data [][]int64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 5))
	for r := range ranks {
		tr := exact.NewTrailer(ranks, 6, 2)
		for b := range 2 {
			bucket := make([]int64, 10)
			for i := range bucket {
				bucket[i] = int64(rng.Uint64())
			}
			data = append(data, bucket)
			tr.SetBucketSum(b, exact.SumInt64(bucket))
		}
		tr.SetDigest(ringleader.Rank(r), 0xD1)
		if fill != nil {
			fill(r, tr)
		}
		if err := tr.Seal(); err != nil {
			t.Fatalf("seal: %v", err)
		}
		list = append(list, tr)
	}
	return list, data
}

// reduce adds all lanes into the first, in the order given.
func reduce(list []*exact.Trailer, order []int) *exact.Trailer {
	sum := make([]int64, len(list[0].Lanes()))
	for _, r := range order {
		for i, v := range list[r].Lanes() {
			sum[i] += v
		}
	}
	total := list[0]
	copy(total.Lanes(), sum)
	return total
}

func TestTrailerAddsUpInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	var want []int64
	for range 20 {
		list, data := gang(t, 3, func(r int, tr *exact.Trailer) {
			for s := 2 * r; s < 2*r+2; s++ {
				tr.AddUsers(10)
				tr.AddValidUsers(9)
				tr.AddTokens(int64(100 + s))
				tr.AddLoss(ringleader.Shard(s), float64(s)+0.25)
				tr.AddLedger(math.MaxUint64 - uint64(s))
			}
			if r == 1 {
				tr.MarkNaN(2, 0)
				tr.MarkOverflow(2, 77)
				tr.MarkOverflow(3, 1<<20)
				tr.Raise(exact.FlagPause)
			}
			tr.Raise(exact.FlagDrain)
			tr.SetPace(ringleader.Rank(r), time.Duration(r)*time.Second)
		})
		total := reduce(list, rng.Perm(3))
		if want == nil {
			want = slices.Clone(total.Lanes())
		}
		if !slices.Equal(total.Lanes(), want) {
			t.Fatalf("lanes depend on the order")
		}
		checkTotal(t, total)
		for b := range 2 {
			sum := data[b][:]
			for r := 1; r < 3; r++ {
				for i, v := range data[2*r+b] {
					sum[i] += v
				}
			}
			if err := total.CheckBucketSum(b, exact.SumInt64(sum)); err != nil {
				t.Errorf("bucket %d: %v", b, err)
			}
			sum[4] ^= 1 << 17
			if err := total.CheckBucketSum(b, exact.SumInt64(sum)); err == nil {
				t.Errorf("bucket %d: a flipped bit does not show", b)
			}
		}
	}
}

func checkTotal(t *testing.T, total *exact.Trailer) {
	t.Helper()
	if err := total.Check(); err != nil {
		t.Errorf("check: %v", err)
	}
	if u, v, k := total.Users(), total.ValidUsers(), total.Tokens(); u != 60 || v != 54 || k != 615 {
		t.Errorf("%d users, %d valid, %d tokens: want 60, 54, 615", u, v, k)
	}
	if l := total.Loss(); l != 16.5 {
		t.Errorf("loss %g, want 16.5", l)
	}
	if want := uint64(math.MaxUint64 - 20); total.Ledger() != want {
		t.Errorf("ledger %016x, want %016x", total.Ledger(), want)
	}
	if got := total.NaN(); !slices.Equal(got, []exact.Bad{{Shard: 2, Tensor: 0}}) {
		t.Errorf("NaN in %+v, want tensor 0 of shard 2", got)
	}
	if got := total.Overflow(); !slices.Equal(got, []exact.Bad{{Shard: 2, Tensor: 77}, {Shard: 3, Tensor: 1 << 20}}) {
		t.Errorf("overflow in %+v, want tensors 77 and 1<<20 of shards 2 and 3", got)
	}
	counts := map[exact.Flag]int64{exact.FlagPause: 1, exact.FlagDrain: 3}
	for _, f := range exact.Flags() {
		if total.Count(f) != counts[f] || total.Raised(f) != (counts[f] > 0) {
			t.Errorf("flag %d: count %d, raised %t, want %d", f, total.Count(f), total.Raised(f), counts[f])
		}
	}
	for r := range 3 {
		if got, want := total.Pace(ringleader.Rank(r)), time.Duration(r)*time.Second; got != want {
			t.Errorf("pace of rank %d: %v, want %v", r, got, want)
		}
	}
	if d := total.Disagree(); d != nil {
		t.Errorf("ranks %v disagree, want none", d)
	}
}

// Whichever lane is altered, and whichever member is missing or there twice, Check sees it.
func TestCheckSeesEveryLane(t *testing.T) {
	list, _ := gang(t, 3, nil)
	good := reduce(list, []int{0, 1, 2})
	for i := range good.Lanes() {
		good.Lanes()[i] ^= 1 << 40
		if good.Check() == nil {
			t.Errorf("an altered lane %d does not show", i)
		}
		good.Lanes()[i] ^= 1 << 40
	}
	if err := good.Check(); err != nil {
		t.Errorf("check: %v", err)
	}
	for _, order := range [][]int{{0, 1}, {0, 1, 2, 2}, {}} {
		list, _ := gang(t, 3, nil)
		if reduce(list, order).Check() == nil {
			t.Errorf("members %v of 3 pass", order)
		}
	}
}

// A loss of no use is marked beside the gradient's first tensor, whichever comes first.
func TestLossOutOfRangeMarksTheShard(t *testing.T) {
	list, _ := gang(t, 1, func(_ int, tr *exact.Trailer) {
		tr.AddLoss(0, math.NaN())
		tr.AddLoss(1, math.Inf(-1))
		tr.AddLoss(2, 0x1p28) // 6 shards need 3 bits of the 31
		tr.AddLoss(3, math.Nextafter(0x1p28, 0))
		tr.AddLoss(4, -1)
		tr.MarkNaN(0, 5)
		tr.MarkOverflow(2, 0)
	})
	if got := list[0].NaN(); !slices.Equal(got, []exact.Bad{{Shard: 0, Loss: true, Tensor: 5}}) {
		t.Errorf("NaN: %+v", got)
	}
	if got := list[0].Overflow(); !slices.Equal(got, []exact.Bad{{Shard: 1, Loss: true, Tensor: -1}, {Shard: 2, Loss: true, Tensor: 0}}) {
		t.Errorf("overflow: %+v", got)
	}
	if l := list[0].Loss(); math.Abs(l-(0x1p28-1)) > 0x1p-24 {
		t.Errorf("loss %g", l)
	}
}

func TestDisagree(t *testing.T) {
	for _, c := range []struct {
		digests []ringleader.Digest
		want    []ringleader.Rank
	}{
		{[]ringleader.Digest{1}, nil},
		{[]ringleader.Digest{1, 1, 1}, nil},
		{[]ringleader.Digest{0, 0}, nil},
		{[]ringleader.Digest{1, 2}, []ringleader.Rank{0, 1}},
		{[]ringleader.Digest{1, 2, 1}, []ringleader.Rank{1}},
		{[]ringleader.Digest{math.MaxUint64, 2, math.MaxUint64, math.MaxUint64, 3}, []ringleader.Rank{1, 4}},
		{[]ringleader.Digest{1, 1, 2, 2}, []ringleader.Rank{0, 1, 2, 3}},
		{[]ringleader.Digest{1, 2, 3}, []ringleader.Rank{0, 1, 2}},
	} {
		list, _ := gang(t, len(c.digests), func(r int, tr *exact.Trailer) { tr.SetDigest(ringleader.Rank(r), c.digests[r]) })
		order := make([]int, len(list))
		for i := range order {
			order[i] = i
		}
		total := reduce(list, order)
		if got := total.Disagree(); !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("digests %v: ranks %v disagree, want %v", c.digests, got, c.want)
		}
		if got := total.Digests(); !slices.Equal(got, c.digests) {
			t.Errorf("digests %v became %v", c.digests, got)
		}
	}
}

func TestMisuseIsReturnedBySeal(t *testing.T) {
	for want, misuse := range map[string]func(*exact.Trailer){
		"shard 6":           func(tr *exact.Trailer) { tr.MarkNaN(6, 0) },
		"shard -1":          func(tr *exact.Trailer) { tr.MarkOverflow(-1, 0) },
		"tensor -1":         func(tr *exact.Trailer) { tr.MarkNaN(0, -1) },
		"tensor 4294967295": func(tr *exact.Trailer) { tr.MarkOverflow(0, math.MaxUint32) },
		"shard 99":          func(tr *exact.Trailer) { tr.AddLoss(99, math.NaN()) },
		"bucket 2":          func(tr *exact.Trailer) { tr.SetBucketSum(2, 1) },
		"rank 3":            func(tr *exact.Trailer) { tr.SetDigest(3, 1) },
		"flag 99":           func(tr *exact.Trailer) { tr.Raise(99) },
	} {
		tr := exact.NewTrailer(3, 6, 2)
		misuse(tr)
		if err := tr.Seal(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("seal after misuse: %v, want an error that says %q", err, want)
		}
	}
	for _, size := range [][3]int{{0, 1, 1}, {1, 0, 1}, {1, exact.MaxShards + 1, 0}, {1, 1, -1}, {-1, -1, -1}} {
		if err := exact.NewTrailer(size[0], size[1], size[2]).Seal(); err == nil {
			t.Errorf("trailer of %v was sealed", size)
		}
	}
	tr := exact.NewTrailer(1, 1, 1)
	if err := tr.CheckBucketSum(1, 0); err == nil {
		t.Errorf("bucket 1 of 1 was checked")
	}
	if tr.Raised(-1) || tr.Count(99) != 0 {
		t.Errorf("flags that do not exist are raised")
	}
}

func TestReset(t *testing.T) {
	list, _ := gang(t, 1, nil)
	list[0].Reset()
	for i, v := range list[0].Lanes() {
		if v != 0 {
			t.Errorf("lane %d is %d after a reset", i, v)
		}
	}
}
