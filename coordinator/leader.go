package coordinator

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/ringleader-dev/ringleader/coordinator/schedule"
	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// leadership is one term of this node's leading: what the leader knows and nobody else, and the loop that acts on it. All
// fields but those marked belong to the loop. Losing leadership is returning from run.
type leadership struct {
	c      *Coordinator
	term   uint64
	since  time.Time
	events chan event    // shared: bounded, so that a storm of workers waits in its streams
	done   chan struct{} // shared: closed when the term is over
	public atomic.Pointer[public]

	sessions  map[string]*session        // by worker: the streams
	workers   map[string]schedule.Worker // by worker: what they said, also after their stream ended
	progress  map[string]*rpcpb.Progress // by job: the newest of the current generation
	marked    map[string]mark            // by job: what the log knows of that
	slow      map[pace]bool              // members that the history calls slow
	gathering map[string]*gathering      // by job: checkpoints that are being written
	asks      map[string]schedule.Ask    // by job: what Plan wants asked
	prepares  map[string]string          // by worker: the job that Plan wants it to get ready for
	notes     map[string]string
	bench     schedule.Bench
}

// event is something that happened, handled in the loop. The error ends the term.
type event func() error

// public is what services may know of the leader's knowledge. It never changes.
type public struct {
	notes    map[string]string
	progress map[string]*rpcpb.Progress
	attached map[string]bool // whether it drains
}

type mark struct {
	step int64
	at   time.Time
}

const maxEvents = 1024

// lead waits for leadership, leads, and waits again.
func (c *Coordinator) lead() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case leads := <-c.raft.LeaderCh():
			for leads && c.ctx.Err() == nil {
				leads = c.leadOnce()
			}
		}
	}
}

// leadOnce leads for one term. again: leadership was lost and won back while nobody looked.
func (c *Coordinator) leadOnce() (again bool) {
	term := c.raft.CurrentTerm()
	// Everything that an earlier leader committed must be applied here before anything is decided.
	if err := c.raft.Barrier(0).Error(); err != nil {
		c.cfg.Log.Debug("lost leadership before the first decision", "error", err)
		return false
	}
	l := &leadership{
		c: c, term: term, since: c.cfg.Now(), events: make(chan event, maxEvents), done: make(chan struct{}),
		sessions: map[string]*session{}, workers: map[string]schedule.Worker{}, progress: map[string]*rpcpb.Progress{},
		marked: map[string]mark{}, gathering: map[string]*gathering{}, slow: map[pace]bool{},
	}
	l.publish()
	c.leading.Store(l)
	c.cfg.Log.Info("leading", "term", term)
	again, err := l.run()
	c.leading.Store(nil)
	close(l.done)
	c.changed.notify()
	c.cfg.Log.Info("no longer leading", "term", term, "reason", err)
	return again
}

var errDeposed = errors.New("another coordinator leads, or none")

func (l *leadership) run() (again bool, err error) {
	tick := time.NewTicker(l.c.cfg.Tick)
	defer tick.Stop()
	for {
		// Taken before planning, so that an entry that is applied meanwhile wakes the loop again.
		applied := l.c.fsm.applied.wait()
		if err := l.plan(); err != nil {
			return l.still(), err
		}
		l.publish()
		select {
		case <-l.c.ctx.Done():
			return false, context.Cause(l.c.ctx)
		case leads := <-l.c.raft.LeaderCh():
			return leads, errDeposed
		case e := <-l.events:
			if err := l.handle(e); err != nil {
				return l.still(), err
			}
		case <-applied:
		case <-tick.C:
			l.bench.Expire(l.c.cfg.Now(), l.over)
		}
	}
}

// still: a proposal failed although this node leads on (Raft was too busy to take it): the term begins anew.
func (l *leadership) still() bool {
	return l.c.raft.State() == raft.Leader && l.c.ctx.Err() == nil
}

// handle handles an event and those that wait behind it.
func (l *leadership) handle(e event) error {
	for range maxEvents {
		if err := e(); err != nil {
			return err
		}
		select {
		case e = <-l.events:
		default:
			return nil
		}
	}
	return nil
}

// post hands an event to the loop; false: the term is over.
func (l *leadership) post(ctx context.Context, e event) bool {
	select {
	case l.events <- e:
		return true
	case <-l.done:
	case <-ctx.Done():
	}
	return false
}

// plan decides until nothing more follows. What the state refuses (a plan may be outdated by a moment) is planned again later.
func (l *leadership) plan() error {
	for range 8 {
		d := schedule.Plan(l.c.cfg.Now(), l.view(), l.c.cfg.Policy)
		l.asks, l.notes, l.prepares = d.Asks, d.Notes, d.Prepares
		out, err := l.c.propose(d.Commands...)
		if err != nil {
			return err
		}
		applied := false
		for i, o := range out {
			if o.err != nil {
				l.c.cfg.Log.Warn("the log refuses what was planned", "command", d.Commands[i], "error", o.err)
				continue
			}
			applied = true
			if g := d.Commands[i].GetGenerationCreated(); g != nil {
				l.bench.Blame(l.c.cfg.Now(), g.JobId, d.Blamed[g.JobId])
			}
		}
		l.tidy()
		l.deliver()
		if !applied {
			return nil
		}
	}
	return nil
}

func (l *leadership) view() schedule.View {
	v := schedule.View{State: l.c.fsm.View(), Since: l.since, Workers: l.workers, Steps: map[string]schedule.Progress{}, Benched: l.bench.Until()}
	for job, p := range l.progress {
		v.Steps[job] = schedule.Progress{Generation: p.Generation, Step: p.Step}
	}
	return v
}

// over: the job is not live.
func (l *leadership) over(job string) bool {
	j := l.c.fsm.View().Job(job)
	return j == nil || !state.Live(j)
}

// tidy forgets what belongs to jobs, generations and workers of the past.
func (l *leadership) tidy() {
	v := l.c.fsm.View()
	current := func(job string) uint64 {
		if j := v.Job(job); j != nil && state.Live(j) {
			return state.Current(j).Number
		}
		return 0
	}
	maps.DeleteFunc(l.gathering, func(job string, g *gathering) bool { return g.generation != current(job) })
	maps.DeleteFunc(l.progress, func(job string, _ *rpcpb.Progress) bool { return v.Job(job) == nil })
	maps.DeleteFunc(l.slow, func(p pace, _ bool) bool { return current(p.job) == 0 })
	maps.DeleteFunc(l.marked, func(job string, _ mark) bool { return current(job) == 0 })
	maps.DeleteFunc(l.workers, func(id string, w schedule.Worker) bool { return !w.Attached && v.Worker(id) == nil })
}

// publish shows the services what has changed.
func (l *leadership) publish() {
	p := &public{notes: l.notes, progress: maps.Clone(l.progress), attached: map[string]bool{}}
	for id := range l.sessions {
		p.attached[id] = l.workers[id].Draining
	}
	if old := l.public.Load(); old != nil && maps.Equal(old.notes, p.notes) && maps.Equal(old.progress, p.progress) && maps.Equal(old.attached, p.attached) {
		return
	}
	l.public.Store(p)
	l.c.changed.notify()
}

// try proposes one command. A refusal of the state is logged and returned as refused; an error ends the term.
func (l *leadership) try(cmd *logpb.Command) (r state.Result, refused, err error) {
	out, err := l.c.propose(cmd)
	if err != nil {
		return r, nil, err
	}
	if out[0].err != nil {
		l.c.cfg.Log.Debug("the log refuses a command", "command", cmd, "error", out[0].err)
	}
	return out[0].Result, out[0].err, nil
}

func (l *leadership) fail(job string, generation uint64, text string) error {
	_, _, err := l.try(&logpb.Command{Command: &logpb.Command_JobFailed{JobFailed: &logpb.JobFailed{JobId: job, Generation: generation, Error: text}}})
	return err
}

// repeats is how far back a text is looked for that would be noted again: as far as the members of large gangs report the same trouble by turns.
const repeats = 64

// note adds to a job's history, which is bounded: trouble that lasts and is reported every few seconds must not drive everything else out of it.
func (l *leadership) note(job, text string) error {
	if state.Says(l.c.fsm.View().Job(job), repeats, text) {
		return nil
	}
	_, _, err := l.try(&logpb.Command{Command: &logpb.Command_JobNoted{JobNoted: &logpb.JobNoted{JobId: job, Text: text}}})
	return err
}
