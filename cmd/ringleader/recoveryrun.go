package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// recovery is one job on a local cluster, with faults of one kind. All fields belong to one goroutine.
type recovery struct {
	fault   string
	spec    job.Spec
	cluster *cluster
	client  *client.Client
	random  *rand.Rand
	cabling map[*child]*cabling // of the workers, if partitions are to be made

	gang      []*child // the workers that should be in it
	newest    ringleader.Generation
	completed ringleader.Step // highest step that any member completed
	since     time.Time       // when

	intervals []time.Duration // between completed steps, undisturbed
	grown     []time.Duration // the same, of the gang that a worker has joined
	heard     []heard         // since the trial's signal
	times     []trialTimes
}

// trialTimes is what one trial took.
type trialTimes struct {
	whole time.Duration
	parts recoveryParts
}

// String is empty if there are none.
func (p recoveryParts) String() string {
	if p == (recoveryParts{}) {
		return ""
	}
	return fmt.Sprintf(" (detection %.3f, decision %.3f, transfer %.3f, redone %.3f)", p.Detection, p.Decision, p.Transfer, p.Redone)
}

// What a trial waits for, and what surrounds it.
const (
	steadySteps   = 4 // that a gang makes undisturbed before it is struck
	trialLimit    = 60 * time.Second
	leaderWatched = 3 * time.Second // after the leader was killed
)

func measureRecovery(ctx context.Context, o *recoveryOptions, fault string, spec job.Spec, dir string, show display) (report *recoveryReport, err error) {
	if fault == "join" {
		spec.How.Workers.Max = o.workers + 1
	}
	c, err := newCluster(filepath.Join(dir, "cluster"), filepath.Join(dir, "logs"))
	if err != nil {
		return nil, err
	}
	r := &recovery{fault: fault, spec: spec, cluster: c, random: rand.New(rand.NewPCG(o.seed, 0)), cabling: map[*child]*cabling{}}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.start(ctx, o); err != nil {
		return nil, err
	}
	for i := range o.trials {
		if err := r.steady(ctx, &r.intervals); err != nil {
			return nil, err
		}
		if err := r.trial(ctx); err != nil {
			return nil, fmt.Errorf("trial %d: %w", i+1, err)
		}
		t := r.times[len(r.times)-1]
		show.Note(fmt.Sprintf("%s %d: %.3f s%s", fault, i+1, t.whole.Seconds(), t.parts))
	}
	if err := r.steady(ctx, &r.intervals); err != nil {
		return nil, err
	}
	return r.report(o), nil
}

func (r *recovery) close() error {
	var err error
	if r.client != nil {
		err = r.client.Close()
	}
	err = errors.Join(err, r.cluster.stop())
	for _, c := range r.cabling {
		err = errors.Join(err, c.close())
	}
	return err
}

func (r *recovery) start(ctx context.Context, o *recoveryOptions) (err error) {
	if err := r.cluster.startCoordinators(o.coordinators); err != nil {
		return err
	}
	for range o.workers {
		if err := r.startWorker(); err != nil {
			return err
		}
	}
	if r.client, err = client.Dial(r.cluster.addresses, r.cluster.token, client.Options{}); err != nil {
		return err
	}
	err = waitFor(ctx, startLimit, fmt.Sprintf("%d workers attached", o.workers), func(ctx context.Context) (bool, error) {
		info, err := r.client.Cluster(ctx)
		n := 0
		for _, w := range info.GetWorkers() {
			if w.Attached {
				n++
			}
		}
		return err == nil && n == o.workers, nil
	})
	if err != nil {
		return withCode(exitUnreachable, err)
	}
	spec, err := job.Canonical(r.spec)
	if err != nil {
		return err
	}
	_, err = r.client.Submit(ctx, &rpcpb.SubmitJobRequest{Key: "recovery", Spec: spec})
	return err
}

// startWorker adds a worker to the gang.
func (r *recovery) startWorker() error {
	var flags []string
	var wires *cabling
	if r.fault == "partition" {
		var err error
		if wires, err = newCabling(); err != nil {
			return err
		}
		flags = wires.flags()
	}
	ch, err := r.cluster.startWorker(r.spec, flags...)
	if err != nil {
		return errors.Join(err, wires.close())
	}
	if wires != nil {
		r.cabling[ch] = wires
	}
	r.gang = append(r.gang, ch)
	return nil
}

// hear waits for what a child says next, and keeps account of the gang. Children that end on their own end the measurement.
func (r *recovery) hear(ctx context.Context, until <-chan time.Time) (h heard, timeout bool, err error) {
	select {
	case h = <-r.cluster.heard:
	case <-until:
		return h, true, nil
	case <-ctx.Done():
		return h, false, withCode(exitInterrupted, errors.New("interrupted"))
	}
	if h.ended && !h.from.lost {
		return h, false, fmt.Errorf("%s %w: %s", h.from.name, errChildEnded, h.from.tail())
	}
	r.heard = append(r.heard, h)
	switch e := h.event; e.Event {
	case "joined":
		r.newest = max(r.newest, e.Generation)
	case "step":
		if e.Step > r.completed {
			r.completed, r.since = e.Step, h.at
		}
	}
	return h, false, nil
}

// steady waits until the whole gang has made some steps undisturbed, and takes their times.
func (r *recovery) steady(ctx context.Context, times *[]time.Duration) error {
	limit := time.After(trialLimit)
	var intervals []time.Duration
	var generation ringleader.Generation
	for len(intervals) < steadySteps {
		before, at := r.completed, r.since
		h, timeout, err := r.hear(ctx, limit)
		switch e := h.event; {
		case err != nil:
			return err
		case timeout:
			return fmt.Errorf("the gang has not made %d steps on %d workers within %v", steadySteps, len(r.gang), trialLimit)
		case e.Event != "step" || e.Step == before:
		case e.Size != len(r.gang) || e.Generation != generation:
			intervals, generation = nil, 0
			if e.Size == len(r.gang) {
				generation = e.Generation
			}
		default:
			intervals = append(intervals, h.at.Sub(at))
		}
	}
	*times = append(*times, intervals[1:]...) // the first step of a generation has more to do
	return nil
}

// trial strikes once, at a random moment of a step, measures, and makes the gang whole again.
func (r *recovery) trial(ctx context.Context) error {
	moment := time.After(time.Duration(r.random.Float64() * float64(medianDuration(r.intervals))))
	for timeout := false; !timeout; {
		var err error
		if _, timeout, err = r.hear(ctx, moment); err != nil {
			return err
		}
	}
	victim := r.gang[r.random.IntN(len(r.gang))]
	before, last := r.newest, r.since
	r.heard = r.heard[:0]
	signal := time.Now()
	restore, err := r.strike(ctx, victim)
	if err != nil {
		return err
	}
	if r.fault == "leader" {
		err = r.watchLeaderless(ctx, signal, last)
	} else {
		err = r.watchRegroup(ctx, signal, last, victim, before)
	}
	if err == nil && r.fault == "join" {
		err = r.steady(ctx, &r.grown)
	}
	return errors.Join(err, restore())
}

// strike does it, and says how it is undone.
func (r *recovery) strike(ctx context.Context, victim *child) (restore func() error, err error) {
	switch r.fault {
	case "kill":
		r.dismiss(victim)
		return r.startWorker, victim.signal(syscall.SIGKILL)
	case "hang":
		return func() error { return victim.signal(syscall.SIGCONT) }, victim.signal(syscall.SIGSTOP)
	case "partition":
		r.cabling[victim].silence(true)
		return func() error { r.cabling[victim].silence(false); return nil }, nil
	case "leader":
		return r.killLeader(ctx)
	case "join":
		if err := r.startWorker(); err != nil {
			return nil, err
		}
		joiner := r.gang[len(r.gang)-1]
		return func() error { r.dismiss(joiner); joiner.say("stop"); return nil }, nil
	}
	r.dismiss(victim)
	victim.say("stop")
	return r.startWorker, nil
}

// dismiss takes a worker out of the gang that is waited for.
func (r *recovery) dismiss(victim *child) {
	victim.lost = true
	r.gang = slices.DeleteFunc(r.gang, func(c *child) bool { return c == victim })
}

func (r *recovery) killLeader(ctx context.Context) (restore func() error, err error) {
	info, err := r.client.Cluster(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the leader: %w", err)
	}
	i := slices.Index(r.cluster.addresses, info.LeaderAddress)
	if i < 0 {
		return nil, fmt.Errorf("find the leader: %q is none of the coordinators", info.LeaderAddress)
	}
	leader := r.cluster.coordinators[i]
	leader.lost = true
	return func() error {
		<-leader.done
		r.cluster.coordinators[i], err = r.cluster.startCoordinator(i)
		return err
	}, leader.signal(syscall.SIGKILL)
}

// watchRegroup waits until all survivors, and for a join the joiner, have completed a step of a generation after the one before, and takes the times.
func (r *recovery) watchRegroup(ctx context.Context, signal, last time.Time, victim *child, before ringleader.Generation) error {
	limit := time.After(trialLimit)
	waited := map[*child]bool{}
	for _, c := range r.gang {
		waited[c] = true
	}
	if r.fault == "hang" || r.fault == "partition" {
		delete(waited, victim)
	}
	others := len(waited)
	var base, end, left, assigned, joined time.Time
	base = last // of the last step in the old generation
	longest := time.Duration(0)
	for len(waited) > 0 {
		completed, since := r.completed, r.since
		h, timeout, err := r.hear(ctx, limit)
		if err != nil {
			return err
		}
		if timeout {
			return fmt.Errorf("%d of %d workers have made no step of a new generation within %v", len(waited), others, trialLimit)
		}
		e := h.event
		stalled := r.fault == "hang" || r.fault == "partition"
		if stalled && h.from == victim {
			continue // what it does by itself is of no interest
		}
		if e.Event == "step" && e.Step > completed {
			longest = max(longest, h.at.Sub(since))
		}
		switch e.Event {
		case "left":
			left = h.at
		case "assigned":
			assigned = h.at
		case "joined":
			joined = h.at
		case "step":
			if e.Generation > before {
				delete(waited, h.from)
				end = h.at
			} else {
				base = h.at
			}
		}
	}
	t := trialTimes{whole: end.Sub(signal)}
	if r.fault == "join" || r.fault == "drain" {
		t.whole = longest
	} else {
		base = signal
	}
	for i, p := range []*float64{&t.parts.Detection, &t.parts.Decision, &t.parts.Transfer, &t.parts.Redone} {
		at := []time.Time{base, left, assigned, joined, end}
		*p = at[i+1].Sub(at[i]).Seconds()
	}
	r.times = append(r.times, t)
	return nil
}

// watchLeaderless takes the longest time between two steps while there is no leader, and after.
func (r *recovery) watchLeaderless(ctx context.Context, signal, last time.Time) error {
	until := time.After(leaderWatched)
	longest := time.Duration(0)
	for {
		completed, since := r.completed, r.since
		h, timeout, err := r.hear(ctx, until)
		if err != nil {
			return err
		}
		if timeout {
			r.times = append(r.times, trialTimes{whole: longest})
			return nil
		}
		if h.event.Event == "step" && h.event.Step > completed {
			longest = max(longest, h.at.Sub(since))
		}
	}
}

func (r *recovery) report(o *recoveryOptions) *recoveryReport {
	rep := &recoveryReport{Fault: r.fault, Trials: len(r.times), Workers: o.workers, Coordinators: o.coordinators, Hang: time.Duration(r.spec.How.Deadlines.Hang).Seconds(),
		StepMedian: milliseconds(medianDuration(r.intervals).Seconds()), StepMax: milliseconds(slices.Max(r.intervals).Seconds())}
	for _, t := range r.times {
		rep.Samples = append(rep.Samples, milliseconds(t.whole.Seconds()))
	}
	if len(r.grown) > 0 {
		rep.StepGrown = milliseconds(medianDuration(r.grown).Seconds())
	}
	rep.Min, rep.Median, rep.Max = slices.Min(rep.Samples), milliseconds(median(rep.Samples)), slices.Max(rep.Samples)
	if r.fault == "leader" {
		return rep
	}
	for _, t := range r.times {
		rep.Each = append(rep.Each, recoveryParts{Detection: milliseconds(t.parts.Detection), Decision: milliseconds(t.parts.Decision),
			Transfer: milliseconds(t.parts.Transfer), Redone: milliseconds(t.parts.Redone)})
	}
	of := func(part func(recoveryParts) float64) float64 {
		var x []float64
		for _, t := range r.times {
			x = append(x, part(t.parts))
		}
		return milliseconds(median(x))
	}
	rep.Parts = &recoveryParts{
		Detection: of(func(p recoveryParts) float64 { return p.Detection }), Decision: of(func(p recoveryParts) float64 { return p.Decision }),
		Transfer: of(func(p recoveryParts) float64 { return p.Transfer }), Redone: of(func(p recoveryParts) float64 { return p.Redone }),
	}
	return rep
}

// milliseconds rounds seconds to tenths of a millisecond.
func milliseconds(s float64) float64 { return math.Round(s*1e4) / 1e4 }

func medianDuration(x []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}
