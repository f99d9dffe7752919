package allreduce_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/memlink"
	"github.com/ringleader-dev/ringleader/exact"
)

// Element i of rank r; the closed form of the sum over ranks 0..n-1 wraps around as the ring's does.
func element(r, i int) int64  { return int64(r+1) * (int64(i) + 7) * 0x123456789ABCDEF }
func elements(n, i int) int64 { return int64(n*(n+1)/2) * (int64(i) + 7) * 0x123456789ABCDEF }

func checkSum(t *testing.T, rg *ring, step ringleader.Step, length int) {
	t.Helper()
	n := len(rg.groups)
	noErrors(t, rg.each(func(r int, g *allreduce.Group) error {
		data := make([]int64, length)
		for i := range data {
			data[i] = element(r, i)
		}
		if err := g.SumInt64(t.Context(), step, 1, data); err != nil {
			return err
		}
		for i, v := range data {
			if want := elements(n, i); v != want {
				return fmt.Errorf("%d members, %d elements: element %d is %d, want %d", n, length, i, v, want)
			}
		}
		return nil
	}))
}

func lengths(n int) []int { return []int{0, 1, n - 1, n, n + 1, 31, 997, 10_007} }

func TestSumMem(t *testing.T) {
	for n := 1; n <= 8; n++ {
		for _, chunk := range []int{8, 56, 4096, 256 << 10} {
			rg := memRing(t, n, func(c *allreduce.Config) { c.ChunkBytes = chunk })
			for i, length := range lengths(n) {
				if length/chunk < 200 {
					checkSum(t, rg, ringleader.Step(i), length)
				}
			}
			if chunk >= 4096 {
				checkSum(t, rg, 99, 100_000)
			}
		}
	}
}

func TestSumGRPC(t *testing.T) {
	const most = 8
	w := newGRPCNet(t, most)
	for _, n := range []int{1, 2, 3, 5, most} {
		for _, chunk := range []int{56, 256 << 10} {
			rg := w.ring(t, n, func(c *allreduce.Config) { c.ChunkBytes = chunk })
			for i, length := range []int{0, 1, n - 1, n + 1, 499} {
				checkSum(t, rg, ringleader.Step(i), length)
			}
			if n == 3 && chunk > 56 {
				checkSum(t, rg, 99, 100_000)
			}
			rg.each(func(_ int, g *allreduce.Group) error { g.Close(nil); return nil })
		}
	}
}

// However the shards are dealt to members, in whatever order members add them, the sum has the same bits.
func TestSameBitsForAnyGang(t *testing.T) {
	const shards, length = 24, 1234
	rng := rand.New(rand.NewPCG(1, 2))
	var grads [shards][]int64
	want := make([]int64, length)
	for s := range grads {
		grads[s] = make([]int64, length)
		for i := range grads[s] {
			grads[s][i] = int64(rng.Uint64())
			want[i] += grads[s][i]
		}
	}
	for n := 1; n <= 8; n++ {
		deal := rng.Perm(shards)
		rg := memRing(t, n, func(c *allreduce.Config) { c.ChunkBytes = 8 * (1 + n*13) })
		noErrors(t, rg.each(func(r int, g *allreduce.Group) error {
			data := make([]int64, length)
			for k := r; k < shards; k += n {
				for i, v := range grads[deal[k]] {
					data[i] += v
				}
			}
			if err := g.SumInt64(t.Context(), 0, 0, data); err != nil {
				return err
			}
			if !slices.Equal(data, want) {
				return errors.New("sum differs from that of one member")
			}
			return nil
		}))
	}
}

func TestSumFloat32(t *testing.T) {
	const length = 3001
	for n := 1; n <= 6; n++ {
		rng := rand.New(rand.NewPCG(3, uint64(n)))
		in, out := make([][]float32, n), make([][]float32, n)
		exact, scale := make([]float64, length), make([]float64, length)
		for r := range n {
			in[r] = make([]float32, length)
			for i := range in[r] {
				in[r][i] = float32(rng.NormFloat64())
				exact[i] += float64(in[r][i])
				scale[i] += math.Abs(float64(in[r][i]))
			}
			out[r] = slices.Clone(in[r])
		}
		rg := memRing(t, n, func(c *allreduce.Config) { c.ChunkBytes = 1000 })
		noErrors(t, rg.each(func(r int, g *allreduce.Group) error { return g.SumFloat32(t.Context(), 0, 0, out[r]) }))
		for i := range length {
			if got := float64(out[0][i]); math.Abs(got-exact[i]) > float64(n)*0x1p-24*scale[i] {
				t.Fatalf("%d members, element %d: %g, want %g", n, i, got, exact[i])
			}
		}
		for r := range n {
			if !slices.EqualFunc(out[r], out[0], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
				t.Fatalf("%d members: ranks 0 and %d have different bits", n, r)
			}
		}
	}
}

func TestBarrier(t *testing.T) {
	for n := 1; n <= 5; n++ {
		rg := memRing(t, n, nil)
		for round := range 10 {
			var entered atomic.Int64
			noErrors(t, rg.each(func(_ int, g *allreduce.Group) error {
				entered.Add(1)
				if err := g.Barrier(t.Context(), ringleader.Step(round)); err != nil {
					return err
				}
				if e := entered.Load(); e != int64(n) {
					return fmt.Errorf("left the barrier after %d of %d had entered", e, n)
				}
				return nil
			}))
		}
	}
}

// Everybody leaves right after its own last operation: nobody's is disturbed, over either transport.
func TestPlannedEndDisturbsNobody(t *testing.T) {
	w := newGRPCNet(t, 3)
	for name, ring := range map[string]func() *ring{
		"mem":  func() *ring { return memRing(t, 3, nil) },
		"grpc": func() *ring { return w.ring(t, 3, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				rg := ring()
				noErrors(t, rg.each(func(_ int, g *allreduce.Group) error {
					defer g.Close(allreduce.ErrPlanned)
					if err := g.SumInt64(t.Context(), 1, 0, make([]int64, 30_000)); err != nil {
						return err
					}
					return g.SumInt64(t.Context(), 1, 1, make([]int64, 5))
				}))
				for r, g := range rg.groups {
					if err := g.Err(); !errors.Is(err, allreduce.ErrPlanned) {
						t.Errorf("rank %d ended with %v", r, err)
					}
					wantNoCulprit(t, rankName(r), g.Err())
				}
			}
		})
	}
}

func TestOperationsOneAtATime(t *testing.T) {
	rg := memRing(t, 2, nil)
	held, running := make(chan struct{}), make(chan struct{})
	rg.out[0].OnSend(func(context.Context, *allreduce.Frame) bool {
		<-held
		return true
	})
	rg.out[1].OnSend(func(context.Context, *allreduce.Frame) bool {
		close(running)
		return true
	})
	first := make(chan []error, 1)
	go func() {
		first <- rg.each(func(_ int, g *allreduce.Group) error { return g.Barrier(t.Context(), 0) })
	}()
	// Rank 1's barrier has sent, and cannot end while rank 0's frame is held.
	<-running
	if err := rg.groups[1].SumInt64(t.Context(), 0, 0, nil); !errors.Is(err, allreduce.ErrBusy) {
		t.Errorf("operation beside another one: %v, want ErrBusy", err)
	}
	close(held)
	noErrors(t, <-first)
}

func TestReservedBucket(t *testing.T) {
	g := memRing(t, 1, nil).groups[0]
	if err := g.SumInt64(t.Context(), 0, allreduce.BarrierBucket, nil); err == nil {
		t.Errorf("sum with the barrier's bucket succeeded")
	}
}

func TestRingOfOne(t *testing.T) {
	g := memRing(t, 1, nil).groups[0]
	data := []int64{1, 2}
	if err := g.SumInt64(t.Context(), 0, 0, data); err != nil || data[0] != 1 || data[1] != 2 {
		t.Errorf("sum over one member: %v, %v", data, err)
	}
	g.Close(nil)
	if err := g.SumInt64(t.Context(), 0, 0, data); !errors.Is(err, allreduce.ErrPlanned) {
		t.Errorf("sum after close: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*allreduce.Config){
		"size 0":         func(c *allreduce.Config) { c.Size = 0 },
		"rank 2":         func(c *allreduce.Config) { c.Size, c.Rank = 2, 2 },
		"rank -1":        func(c *allreduce.Config) { c.Rank = -1 },
		"hang":           func(c *allreduce.Config) { c.Hang = 0 },
		"assemble":       func(c *allreduce.Config) { c.Assemble = c.Hang - 1 },
		"chunk bytes 12": func(c *allreduce.Config) { c.ChunkBytes = 12 },
		"chunk bytes 0":  func(c *allreduce.Config) { c.ChunkBytes = 0 },
		"beat":           func(c *allreduce.Config) { c.Beat = nil },
	} {
		c := allreduce.DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("validate: %v, want an error that says %q", err, want)
		}
	}
	if err := allreduce.DefaultConfig().Validate(); err != nil {
		t.Errorf("default config: %v", err)
	}
}

func TestNewGroupClosesLinksThatItRefuses(t *testing.T) {
	a, b := memlink.Pair()
	if _, err := allreduce.NewGroup(config(2, 0), a, nil); err == nil {
		t.Errorf("group of two with one link was made")
	}
	<-a.Done()
	<-b.Done()
}

// TestMaxInt8: each element is the largest of all members', whatever the sign and the length.
func TestMaxInt8(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for _, length := range lengths(n) {
			rg := memRing(t, n, nil)
			of := func(r, i int) int8 { return int8((r*37+i)*91%251 - 125) }
			noErrors(t, rg.each(func(r int, g *allreduce.Group) error {
				data := make([]int8, length)
				for i := range data {
					data[i] = of(r, i)
				}
				if err := g.MaxInt8(t.Context(), 1, 1, data); err != nil {
					return err
				}
				for i, v := range data {
					want := of(0, i)
					for other := range n {
						want = max(want, of(other, i))
					}
					if v != want {
						return fmt.Errorf("%d members, %d elements: element %d is %d, want %d", n, length, i, v, want)
					}
				}
				return nil
			}))
		}
	}
}

// TestSumBFloat16: small whole numbers have no rounding; others are rounded to 8 bits.
func TestSumBFloat16(t *testing.T) {
	rg := memRing(t, 3, nil)
	noErrors(t, rg.each(func(r int, g *allreduce.Group) error {
		data := make([]uint16, 500)
		for i := range data {
			data[i] = exact.ToBFloat16(float32(i%20 + r))
		}
		data[499] = exact.ToBFloat16(256)
		if r > 0 {
			data[499] = exact.ToBFloat16(.5)
		}
		if err := g.SumBFloat16(t.Context(), 1, 1, data); err != nil {
			return err
		}
		for i, h := range data[:499] {
			if v := exact.FromBFloat16(h); v != float32(3*(i%20)+3) {
				return fmt.Errorf("element %d is %g, want %d", i, v, 3*(i%20)+3)
			}
		}
		if v := exact.FromBFloat16(data[499]); v != 256 {
			return fmt.Errorf("256 and twice a half add up to %g, want 256", v)
		}
		return nil
	}))
}
