package allreduce

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringleader-dev/ringleader"
)

// beatsPerHang is how often beats are sent, and looked at, within the deadline. What is noticed is noticed up to one of them late.
const beatsPerHang = 20

// creditPerHang is how much of the deadline may have passed before anybody waits: the rest is left to a member that was asked for nothing.
const creditPerHang = beatsPerHang / 2

// neighbour is one end of one of the group's two links.
type neighbour struct {
	rank ringleader.Rank
	link Link

	waits  atomic.Uint64 // odd while somebody waits for the neighbour; each wait has a number of its own
	frames atomic.Uint64 // that have arrived

	// The watch goroutine's own, as it saw it at its last tick:
	wait, beat, frame uint64
	still             int // ticks in which nothing moved
}

func (n *neighbour) send(ctx context.Context, f *Frame) error {
	n.waits.Add(1)
	defer n.waits.Add(1)
	return n.link.Send(ctx, f)
}

func (n *neighbour) recv(ctx context.Context) (*Frame, error) {
	n.waits.Add(1)
	defer n.waits.Add(1)
	f, err := n.link.Recv(ctx)
	if err == nil {
		n.frames.Add(1)
	}
	return f, err
}

func (n *neighbour) waiting() bool { return n.waits.Load()%2 == 1 }

// tick returns for how many ticks in a row the neighbour has shown neither frame nor beat, nor taken what one and the same wait gave it. Only half of
// them count if nobody was waiting. Time is counted in ticks of our own and not by the clock: a member that was stopped itself must not blame
// the others when it wakes.
func (n *neighbour) tick() int {
	wait, beat, frame := n.waits.Load(), n.link.Beat(), n.frames.Load()
	waiting := wait%2 == 1
	switch {
	case beat != n.beat || frame != n.frame:
		n.still = 0
	case waiting && wait == n.wait:
		n.still++
	default:
		n.still = min(n.still+1, creditPerHang)
	}
	n.wait, n.beat, n.frame = wait, beat, frame
	return n.still
}

// watch sends beats and ends the group when a link breaks or a neighbour that is waited for stands still.
func (g *Group) watch() {
	interval := g.cfg.Hang / beatsPerHang
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	next, prev := g.next.link.Done(), g.prev.link.Done()
	// The first beat is never 0, which would read as none.
	g.cfg.Beat.Add(1)
	for {
		g.sendBeats()
		select {
		case <-g.done:
			return
		case <-next:
			next = nil
			g.linkEnded(g.next)
		case <-prev:
			prev = nil
			g.linkEnded(g.prev)
		case <-ticker.C:
			g.look(g.next, interval)
			g.look(g.prev, interval)
		}
	}
}

func (g *Group) sendBeats() {
	// Who waits for a live member is alive. Should that member be dead, this one ends within the deadline anyway, and tells.
	if g.next.waiting() || g.prev.waiting() {
		g.cfg.Beat.Add(1)
	}
	beat := g.cfg.Beat.Load()
	g.next.link.SendBeat(beat)
	g.prev.link.SendBeat(beat)
}

func (g *Group) look(n *neighbour, interval time.Duration) {
	still := n.tick()
	if n.frames.Load() != 0 || n.link.Beat() != 0 {
		if still >= beatsPerHang {
			g.end(hung(n, fmt.Sprintf("beat stood still for %s", g.cfg.Hang)))
		}
		return
	}
	if time.Duration(still)*interval >= g.cfg.Assemble {
		g.end(hung(n, fmt.Sprintf("no sign of life within %s", g.cfg.Assemble)))
	}
}

// linkEnded ends the group at once, also while nobody waits: survivors of a fault learn of it in the middle of computing. After a planned
// end there may be frames left to receive; then whoever needs more than those finds out.
func (g *Group) linkEnded(n *neighbour) {
	if err := n.link.Err(); !errors.Is(err, ErrPlanned) {
		g.end(g.linkFault(n, err))
	}
}

// linkFault is what the end of the link to n means.
func (g *Group) linkFault(n *neighbour, err error) *Fault {
	var f *Fault
	switch {
	case errors.Is(err, ErrPlanned):
		return &Fault{How: fmt.Sprintf("rank %d has left", n.rank), Err: err}
	case errors.As(err, &f):
		// Told by the neighbour, which passes on what it knows. Only members can be culprits.
		if f.HasCulprit && (f.Culprit < 0 || int(f.Culprit) >= g.cfg.Size) {
			f = &Fault{How: f.How, Err: f.Err}
		}
		return f
	}
	return blame(n, "link broke", err)
}

func hung(n *neighbour, how string) *Fault {
	return &Fault{Culprit: n.rank, HasCulprit: true, Hung: true, How: how}
}

func blame(n *neighbour, how string, err error) *Fault {
	return &Fault{Culprit: n.rank, HasCulprit: true, How: how, Err: err}
}
