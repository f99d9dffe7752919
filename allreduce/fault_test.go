package allreduce_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/memlink"
)

// sums runs the same sum in all members.
func (rg *ring) sums(ctx context.Context, length int) []error {
	return rg.each(func(_ int, g *allreduce.Group) error { return g.SumInt64(ctx, 5, 0, make([]int64, length)) })
}

func small(c *allreduce.Config) { c.ChunkBytes = 64 }

// What rank 1 sends goes wrong; rank 2 notices, and everybody, rank 1 too, is told that it was rank 1.
func TestBadFramesAreRefused(t *testing.T) {
	alter := func(change func(*allreduce.Tag)) memlink.Hook {
		return memlink.Alter(func(f *allreduce.Frame) {
			change(&f.Tag)
			*f = allreduce.Seal(*f)
		})
	}
	for name, hook := range map[string]memlink.Hook{
		"corrupted":        memlink.Corrupt(3),
		"corrupted first":  memlink.Corrupt(0),
		"lost":             memlink.Drop(2),
		"other job":        alter(func(t *allreduce.Tag) { t.Job++ }),
		"other generation": alter(func(t *allreduce.Tag) { t.Generation-- }),
		"other step":       alter(func(t *allreduce.Tag) { t.Step++ }),
		"other bucket":     alter(func(t *allreduce.Tag) { t.Bucket++ }),
		"other hop":        alter(func(t *allreduce.Tag) { t.Hop++ }),
		"other chunk":      alter(func(t *allreduce.Tag) { t.Chunk++ }),
		"short": memlink.Alter(func(f *allreduce.Frame) {
			f.Payload[0] = f.Payload[0][:len(f.Payload[0])-8]
			*f = allreduce.Seal(*f)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			rg := memRing(t, 4, small)
			rg.out[1].OnSend(hook)
			for r, err := range rg.sums(t.Context(), 300) {
				wantCulprit(t, rankName(r), err, 1)
			}
		})
	}
}

func TestMembersOfDifferentStepsRefuseEachOther(t *testing.T) {
	rg := memRing(t, 3, nil)
	errs := rg.each(func(r int, g *allreduce.Group) error {
		step := ringleader.Step(5)
		if r == 1 {
			step = 6
		}
		return g.SumInt64(t.Context(), step, 0, make([]int64, 10))
	})
	// Ranks 1 and 2 both see the difference, and each of them blames the one before.
	for r, err := range errs {
		wantCulprit(t, rankName(r), err, 0, 1)
	}
}

func TestCutLinkIsBlamedOnItsEnds(t *testing.T) {
	rg := memRing(t, 5, small)
	cut := make(chan struct{})
	rg.out[1].OnSend(func(context.Context, *allreduce.Frame) bool {
		select {
		case <-cut:
		default:
			close(cut)
			rg.out[1].Cut()
		}
		return true
	})
	errs := rg.sums(t.Context(), 1000)
	for r, err := range errs {
		wantCulprit(t, rankName(r), err, 1, 2)
	}
}

// Rank 1 is a process that dies: its sockets close, and nothing is told. (It has links but no group, which in this process would live on and talk.)
func TestLostProcessIsNamed(t *testing.T) {
	const n = 4
	w := newGRPCNet(t, n)
	next, prev := w.links(t, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for _, r := range []int{0, 2, 3} {
		g, err := allreduce.NewGroup(config(n, r), next[r], prev[r])
		if err != nil {
			t.Fatalf("new group: %v", err)
		}
		wg.Go(func() {
			errs[r] = g.SumInt64(t.Context(), 5, 0, make([]int64, 1000))
			g.Close(nil)
		})
	}
	if _, err := prev[1].Recv(t.Context()); err != nil {
		t.Fatalf("receive: %v", err)
	}
	w.stops[1]()
	if err := w.conns[2].Close(); err != nil {
		t.Fatalf("close connection: %v", err)
	}
	wg.Wait()
	for _, r := range []int{0, 2, 3} {
		wantCulprit(t, rankName(r), errs[r], 1)
	}
}

// Nobody is in an operation, as while computing; all learn of a broken link nevertheless.
func TestFaultReachesMembersThatCompute(t *testing.T) {
	rg := memRing(t, 5, nil)
	rg.out[3].Cut()
	for r, g := range rg.groups {
		<-g.Done()
		wantCulprit(t, rankName(r), g.Err(), 3, 4)
	}
}

func TestCauseOfCloseTravels(t *testing.T) {
	w := newGRPCNet(t, 4)
	rings := map[string]func() *ring{
		"mem":  func() *ring { return memRing(t, 4, nil) },
		"grpc": func() *ring { return w.ring(t, 4, nil) },
	}
	for name, ring := range rings {
		t.Run(name, func(t *testing.T) {
			rg := ring()
			errs := rg.each(func(r int, g *allreduce.Group) error {
				if r == 0 {
					g.Close(&allreduce.Fault{Culprit: 2, HasCulprit: true, How: "state differs"})
					return g.Err()
				}
				return g.SumInt64(t.Context(), 5, 0, make([]int64, 10))
			})
			for r, err := range errs {
				wantCulprit(t, rankName(r), err, 2)
			}
			rg = ring()
			errs = rg.each(func(r int, g *allreduce.Group) error {
				if r == 0 {
					g.Close(errors.New("no disk"))
				}
				return g.SumInt64(t.Context(), 5, 0, make([]int64, 10))
			})
			for r, err := range errs {
				wantNoCulprit(t, rankName(r), err)
			}
		})
	}
}

func TestImpossibleCulpritIsNotBelieved(t *testing.T) {
	rg := memRing(t, 2, nil)
	rg.groups[0].Close(&allreduce.Fault{Culprit: 7, HasCulprit: true, How: "nonsense"})
	<-rg.groups[1].Done()
	wantNoCulprit(t, "rank 1", rg.groups[1].Err())
}

func TestCallerGivesUp(t *testing.T) {
	rg := memRing(t, 3, nil)
	ctx, cancel := context.WithCancel(t.Context())
	errs := rg.each(func(r int, g *allreduce.Group) error {
		if r == 1 {
			cancel() // and never joins
			<-g.Done()
			return g.Err()
		}
		return g.Barrier(ctx, 0)
	})
	for r, err := range errs {
		wantNoCulprit(t, rankName(r), err)
	}
}

func TestMemberThatLeftIsMissed(t *testing.T) {
	rg := memRing(t, 3, nil)
	rg.groups[1].Close(nil)
	for r, err := range rg.sums(t.Context(), 10) {
		wantNoCulprit(t, rankName(r), err)
		if !errors.Is(err, allreduce.ErrPlanned) {
			t.Errorf("rank %d: %v, want a planned end", r, err)
		}
	}
}

func TestCauseEncoding(t *testing.T) {
	long := make([]byte, 1<<16)
	for _, f := range []*allreduce.Fault{
		{Culprit: 3, HasCulprit: true, How: "how", Err: errors.New("why")},
		{Culprit: 1, HasCulprit: true, Hung: true, How: "silent"},
		{How: "how"},
		{Culprit: 2, HasCulprit: true, Doubted: []ringleader.Rank{2, 5}, How: "differs"},
		{Culprit: 1 << 20, HasCulprit: true},
		{How: string(long)},
	} {
		b := allreduce.MarshalCause(f)
		if len(b) > 2048 {
			t.Errorf("cause of %d bytes: want a bound", len(b))
		}
		var got *allreduce.Fault
		if err := allreduce.UnmarshalCause(b); !errors.As(err, &got) || got.HasCulprit != f.HasCulprit || got.Hung != f.Hung || !slices.Equal(got.Doubted, f.Doubted) || f.HasCulprit && got.Culprit != f.Culprit {
			t.Errorf("cause %v became %v", f, err)
		}
	}
	for _, planned := range []error{nil, allreduce.ErrPlanned, &allreduce.Fault{How: "closed", Err: allreduce.ErrPlanned}} {
		if err := allreduce.UnmarshalCause(allreduce.MarshalCause(planned)); err != allreduce.ErrPlanned {
			t.Errorf("planned end became %v", err)
		}
	}
}

func FuzzUnmarshalCause(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{0})
	f.Add([]byte{2, 1, 0, 0, 0, 'x'})
	f.Add([]byte{4, 1, 0, 0, 0, 1, 1, 0, 0, 0, 'x'})
	f.Add([]byte{4, 1, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		if allreduce.UnmarshalCause(b) == nil {
			t.Errorf("cause %x is no error", b)
		}
	})
}
