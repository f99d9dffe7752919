package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/internal/faulthttp"
	"github.com/ringleader-dev/ringleader/internal/progress"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// display is what a run shows while it goes on.
type display = *progress.Display

func newDisplay(w io.Writer) display {
	f, ok := w.(*os.File)
	return progress.New(w, ok && term.IsTerminal(int(f.Fd())), time.Now)
}

// startLimit bounds how long the processes of a local cluster may take to find one another.
const startLimit = 60 * time.Second

// localRun is one job on one local cluster. All fields belong to the goroutine of run.
type localRun struct {
	plan    *localPlan
	spec    []byte
	cluster *cluster
	lenient bool         // a fault that finds nothing to strike is no error
	server  *chaosServer // nil: the store is nobody's in particular
	client  *client.Client
	show    display
	report  *localReport
	losses  *lossLog

	began  time.Time
	job    *rpcpb.JobInfo
	events uint64 // number of the newest event shown
	shown  progress.State

	completed ringleader.Step // highest step that any member completed
	since     time.Time       // when
	first     time.Time       // when the first step was completed
	users     int64           // trained since then
	trace     trace
	atHold    map[*child]event
	pending   []fault // not yet delivered
	struck    []*strike
	holding   ringleader.Step   // at which faults are being delivered
	due       []ringleader.Step // of the faults delivered there
	joining   *strike           // a worker is being started; the step is held until the gang knows, or patience ends
	patience  <-chan time.Time  // set once the joiner is attached
	rolling   []string          // coordinators that are still to be restarted, one after the other
	rollOn    <-chan time.Time  // when the next one is
	revive    <-chan time.Time  // when the S3 server is started again
}

// strike is a delivered fault whose cost is being measured.
type strike struct {
	fault
	report *faultReport
	at     time.Time
	joiner *child
	inWait *faulthttp.Fault // of requests to the S3 server
	worst  time.Duration    // leader: longest step interval so far
}

func (r *localRun) run(ctx context.Context, o localOptions) (err error) {
	defer func() {
		r.summarise() // what is known by then, however it ended
		if r.client != nil {
			err = errors.Join(err, r.client.Close())
		}
	}()
	if err := r.start(ctx, o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates := make(chan *rpcpb.JobInfo, 1)
	watched := make(chan error, 1)
	go func() { watched <- r.watch(ctx, updates) }()
	for {
		select {
		case <-ctx.Done():
			r.giveUp(ctx)
			return withCode(exitInterrupted, errors.New("interrupted; the last checkpoint is in "+r.plan.spec.How.Store))
		case err := <-watched:
			if err != nil {
				return withCode(exitUnreachable, fmt.Errorf("watch job: %w", err))
			}
			watched = nil
		case j := <-updates:
			if err := r.update(j); err != nil || ended(j.State) {
				return errors.Join(err, r.ineffective())
			}
		case h := <-r.cluster.heard:
			if err := r.hear(ctx, h); err != nil {
				return err
			}
		case <-r.patience:
			if err := r.joined(ctx); err != nil {
				return err
			}
		case <-r.rollOn:
			if err := r.roll(ctx); err != nil {
				return err
			}
		case <-r.revive:
			if r.revive = nil; r.server.minio.process == nil {
				if err := r.server.minio.start(); err != nil {
					return err
				}
			}
		}
	}
}

// giveUp cancels a job whose final checkpoint is still to be stored: its workers would go on trying for as long as they may.
func (r *localRun) giveUp(ctx context.Context) {
	if r.job.State != rpcpb.JobState_JOB_STATE_FINISHING {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit/2)
	defer cancel()
	if _, err := r.client.Control(ctx, r.job.Id, rpcpb.JobAction_JOB_ACTION_CANCEL); err != nil {
		r.show.Note("cancel the job: " + err.Error())
	}
}

// start brings the cluster up and submits the job.
func (r *localRun) start(ctx context.Context, o localOptions) (err error) {
	r.pending, r.atHold = slices.Clone(r.plan.faults), map[*child]event{}
	if err := r.cluster.startCoordinators(o.coordinators); err != nil {
		return err
	}
	for range o.workers {
		if _, err := r.cluster.startWorker(r.plan.spec, r.holds()...); err != nil {
			return err
		}
	}
	if r.client, err = client.Dial(r.cluster.addresses, r.cluster.token, client.Options{Timeout: startLimit}); err != nil {
		return err
	}
	err = waitFor(ctx, startLimit, fmt.Sprintf("%d workers attached", o.workers), func(ctx context.Context) (bool, error) {
		for _, ch := range slices.Concat(r.cluster.coordinators, r.cluster.workers) {
			if !ch.alive() {
				return false, fmt.Errorf("%s %w: %s", ch.name, errChildEnded, ch.tail())
			}
		}
		n, err := r.attached(ctx)
		if err != nil {
			return false, nil // no leader yet
		}
		return n == o.workers, nil
	})
	if err != nil {
		return withCode(exitUnreachable, err)
	}
	r.began = time.Now()
	r.job, err = r.client.Submit(ctx, &rpcpb.SubmitJobRequest{Key: "local", Spec: r.spec, ResumeUrl: r.plan.resumeURL, ResumeStep: int64(r.plan.resumeStep)})
	return err
}

func (r *localRun) attached(ctx context.Context) (int, error) {
	info, err := r.client.Cluster(ctx)
	n := 0
	for _, w := range info.GetWorkers() {
		if w.Attached {
			n++
		}
	}
	return n, err
}

// watch passes the job on whenever it changes; only the newest matters.
func (r *localRun) watch(ctx context.Context, updates chan *rpcpb.JobInfo) error {
	return r.client.Watch(ctx, r.job.Id, func(j *rpcpb.JobInfo) error {
		select {
		case <-updates:
		default:
		}
		updates <- j
		return nil
	})
}

func ended(s rpcpb.JobState) bool {
	switch s {
	case rpcpb.JobState_JOB_STATE_SUCCEEDED, rpcpb.JobState_JOB_STATE_FAILED, rpcpb.JobState_JOB_STATE_CANCELLED:
		return true
	}
	return false
}

// holds are the flags for the steps at which a worker that is started now has to wait.
func (r *localRun) holds() []string {
	var steps []string
	for _, f := range r.pending {
		steps = append(steps, strconv.FormatInt(int64(f.step), 10))
	}
	if len(steps) == 0 {
		return nil
	}
	return []string{"--hold", strings.Join(slices.Compact(steps), ",")}
}

// update shows what changed about the job.
func (r *localRun) update(j *rpcpb.JobInfo) error {
	r.job = j
	for _, e := range j.Events {
		if e.Number > r.events {
			r.events = e.Number
			r.show.Note(e.Text)
		}
	}
	r.shown.Steps = ringleader.Step(j.Steps)
	if last := lastStep(r.plan.spec); last > 0 {
		r.shown.Steps = last
	}
	if n := len(j.Generations); n > 0 {
		g := j.Generations[n-1]
		r.shown.Generation, r.shown.Workers = ringleader.Generation(g.Number), len(g.Members)
	}
	if n := len(j.Checkpoints); n > 0 {
		r.shown.Checkpoint = ringleader.Step(j.Checkpoints[n-1].Step)
	}
	r.shown.Waiting = ""
	if j.State == rpcpb.JobState_JOB_STATE_QUEUED {
		r.shown.Waiting = j.Reason
	}
	if p := j.Progress; p != nil {
		r.shown.UsersPerSecond, r.shown.TokensPerSecond = p.UsersPerS, p.TokensPerS
	}
	r.show.Update(r.shown)
	if j.State == rpcpb.JobState_JOB_STATE_FAILED || j.State == rpcpb.JobState_JOB_STATE_CANCELLED {
		return fmt.Errorf("job %s: %s", j.Id, j.Reason)
	}
	return nil
}

// hear follows the workers' steps, delivers faults at holds, and notices children that end on their own.
func (r *localRun) hear(ctx context.Context, h heard) error {
	if h.ended {
		delete(r.atHold, h.from)
		if !h.from.lost {
			return fmt.Errorf("%s %w: %s", h.from.name, errChildEnded, h.from.tail())
		}
		return nil
	}
	switch j := r.joining; {
	case j != nil && h.event.Event == "attached" && h.from == j.joiner:
		// A gang that is itself being replaced is asked nothing.
		j.at, r.patience = h.at, time.After(time.Second)
		return nil
	case j != nil && h.event.Event == "asked" && !j.at.IsZero():
		return r.joined(ctx)
	case h.event.Event != "step":
		return nil
	}
	r.measure(h)
	if h.event.Step > r.completed {
		if r.first.IsZero() {
			r.first = h.at
		} else {
			r.users += h.event.Users
		}
		r.completed, r.since = h.event.Step, h.at
		r.report.FinalLoss = h.event.Loss
		if h.event.Widened {
			r.report.Widened++
		}
		r.losses.add(h.event)
		r.trace.add(h.at.Sub(r.began), h.event)
		r.shown.Step, r.shown.Loss = h.event.Step, h.event.Loss
		r.show.Update(r.shown)
	}
	if !slices.ContainsFunc(r.pending, func(f fault) bool { return f.step == h.event.Step }) {
		return nil // nobody waits there
	}
	r.atHold[h.from] = h.event
	waiting := 0
	for _, e := range r.atHold {
		if e.Step == h.event.Step && e.Generation == h.event.Generation {
			waiting++
		}
	}
	if waiting < h.event.Size {
		return nil
	}
	return r.strikeAll(ctx, h.event.Step)
}

// measure adds a completed step to the costs of the faults before it.
func (r *localRun) measure(h heard) {
	for _, s := range r.struck {
		switch {
		case s.on == onLeader || s.on == onAll:
			if h.event.Step > r.completed && s.at.Add(5*time.Second).After(r.since) {
				s.worst = max(s.worst, h.at.Sub(later(r.since, s.at)))
				s.report.RecoverySeconds = secondsOf(s.worst)
			}
		case s.report.RecoverySeconds != nil:
		case s.joiner != nil && h.from != s.joiner:
		case h.event.Step > s.step:
			s.report.RecoverySeconds = secondsOf(h.at.Sub(s.at))
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func secondsOf(d time.Duration) *float64 {
	s := math.Round(d.Seconds()*1e4) / 1e4
	return &s
}

// summarise completes the report.
func (r *localRun) summarise() {
	for _, s := range r.struck {
		if s.inWait != nil && s.inWait.Met() == 0 {
			s.report.Missed = "no request met it"
		}
	}
	if r.job == nil {
		return
	}
	for _, g := range r.job.Generations {
		r.report.Generations = append(r.report.Generations, generationReport{Number: g.Number, Members: g.Members, FirstStep: g.FirstStep, Reason: g.Reason,
			AtSeconds: math.Round(max(0, time.UnixMilli(g.CreatedMs).Sub(r.began).Seconds())*1e3) / 1e3})
	}
	r.report.Seconds = math.Round(time.Since(r.began).Seconds()*1e3) / 1e3
	if d := r.since.Sub(r.first).Seconds(); d > 0 {
		r.report.UsersPerS = math.Round(float64(r.users)/d*10) / 10
	}
	r.report.Steps = r.completed
	if n := len(r.job.Checkpoints); n > 0 {
		c := r.job.Checkpoints[n-1]
		r.report.Steps = max(r.completed, ringleader.Step(c.Step))
		r.report.StateDigest, r.report.Checkpoint = c.StateDigest, join(r.plan.spec.How.Store, c.Directory)
	}
}

// ineffective is the error that a fault did not have the effect it was asked for.
func (r *localRun) ineffective() error {
	if r.job.State != rpcpb.JobState_JOB_STATE_SUCCEEDED || r.lenient {
		return nil
	}
	for _, s := range r.struck {
		if s.joiner != nil && s.report.RecoverySeconds == nil {
			return fmt.Errorf("--fault %q had no effect: the job ended at step %d, before the worker was in", s.spec, r.completed)
		}
	}
	if len(r.pending) > 0 {
		return fmt.Errorf("--fault %q had no effect: the job ended at step %d", r.pending[0].spec, r.completed)
	}
	return nil
}
