package allreduce_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/memlink"
	"github.com/ringleader-dev/ringleader/internal/faketime"
)

// bubble runs a test on fake time, with a ring whose groups end with it.
func bubble(t *testing.T, n int, test func(t *testing.T, rg *ring)) {
	t.Helper()
	faketime.Test(t, func(t *testing.T) {
		rg := memRing(t, n, func(c *allreduce.Config) { c.Hang, c.Assemble, c.ChunkBytes = hang, 5*hang, 64 })
		test(t, rg)
		for _, g := range rg.groups {
			g.Close(nil)
		}
	})
}

// wantWithin checks fake time, which is exact.
func wantWithin(t *testing.T, took, least, most time.Duration) {
	t.Helper()
	if took < least || took > most {
		t.Errorf("noticed after %s: want %s..%s", took, least, most)
	}
}

// Rank 2 never joins the sum and its beat stands still; its process is alive and goes on sending the same beat.
func TestHungMemberIsNamed(t *testing.T) {
	for _, n := range []int{3, 4, 8} {
		bubble(t, n, func(t *testing.T, rg *ring) {
			synctest.Wait()
			start := time.Now()
			errs := rg.each(func(r int, g *allreduce.Group) error {
				if r == 2 {
					<-g.Done()
					return g.Err()
				}
				return g.SumInt64(t.Context(), 5, 0, make([]int64, 1000))
			})
			wantWithin(t, time.Since(start), hang, hang*3/2)
			for r, err := range errs {
				wantCulprit(t, rankName(r), err, 2)
				if f, ok := errors.AsType[*allreduce.Fault](err); !ok || !f.Hung {
					t.Errorf("rank %d: %v, want a fault that says that its culprit hangs", r, err)
				}
				if !strings.Contains(err.Error(), "beat stood still for 2s") {
					t.Errorf("rank %d: %v", r, err)
				}
			}
		})
	}
}

// Rank 1's process is stopped in the middle of a sum: nothing leaves it any more.
func TestStoppedMemberIsNamed(t *testing.T) {
	bubble(t, 4, func(t *testing.T, rg *ring) {
		frames := 0
		rg.out[1].OnSend(func(context.Context, *allreduce.Frame) bool {
			if frames++; frames == 20 {
				rg.out[1].Freeze()
				rg.in[1].Freeze()
			}
			return true
		})
		start := time.Now()
		errs := rg.sums(t.Context(), 10_000)
		wantWithin(t, time.Since(start), hang, hang*3/2)
		for r, err := range errs {
			if r != 1 {
				wantCulprit(t, rankName(r), err, 1)
			}
		}
	})
}

// Members that compute longer than the deadline, or wait for those who do, are not hung.
func TestSlowMemberIsNotHung(t *testing.T) {
	bubble(t, 4, func(t *testing.T, rg *ring) {
		start := time.Now()
		noErrors(t, rg.each(func(r int, g *allreduce.Group) error {
			for range 10 * r {
				time.Sleep(hang / 2) // an operator
				rg.beats[r].Add(1)
			}
			return g.SumInt64(t.Context(), 5, 0, make([]int64, 1000))
		}))
		wantWithin(t, time.Since(start), 15*hang, 15*hang+time.Second)
	})
}

// A link that is slow but moves is no hang either.
func TestSlowLinkIsNotHung(t *testing.T) {
	bubble(t, 3, func(t *testing.T, rg *ring) {
		rg.out[0].OnSend(func(context.Context, *allreduce.Frame) bool {
			time.Sleep(hang / 2)
			return true
		})
		noErrors(t, rg.sums(t.Context(), 300))
	})
}

// A member that nobody waits for may be silent as long as it likes.
func TestNobodyWaitsNobodyBlames(t *testing.T) {
	bubble(t, 3, func(t *testing.T, rg *ring) {
		time.Sleep(100 * hang)
		noErrors(t, rg.sums(t.Context(), 300))
	})
}

// A neighbour whose group is not made yet has until the assemble deadline.
func TestMemberThatNeverCame(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		next, _ := memlink.Pair()
		prev, _ := memlink.Pair()
		c := config(2, 0)
		c.Hang, c.Assemble = hang, 5*hang
		g, err := allreduce.NewGroup(c, next, prev)
		if err != nil {
			t.Fatalf("new group: %v", err)
		}
		defer g.Close(nil)
		start := time.Now()
		err = g.Barrier(t.Context(), 0)
		wantWithin(t, time.Since(start), 5*hang, 6*hang)
		wantCulprit(t, "rank 0", err, 1)
	})
}

// Cascades: whoever of the others notices first, whoever is told first, nobody but the culprit is ever blamed.
func TestOnlyTheCulpritIsBlamed(t *testing.T) {
	bubble(t, 6, func(t *testing.T, rg *ring) {
		var wg sync.WaitGroup
		for r, g := range rg.groups {
			if r == 4 {
				continue
			}
			wg.Go(func() {
				// They come to the sum at different times, some of them only after others have noticed.
				for range r {
					time.Sleep(hang / 3)
					rg.beats[r].Add(1)
				}
				wantCulprit(t, rankName(r), g.SumInt64(t.Context(), 5, 0, make([]int64, 100)), 4)
			})
		}
		wg.Wait()
	})
}
