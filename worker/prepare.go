package worker

import (
	"context"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// opening is a replica that is being opened while the gang that this worker is to join trains on: data sets take long to map, and models to build.
type opening struct {
	job    string
	cancel context.CancelFunc
	done   chan struct{}
}

// prepare gets ready for a job, in the background, and says when it is. No generation is running.
func (a *agent) prepare(ctx context.Context, m *rpcpb.Prepare) {
	a.mu.Lock()
	before := a.opening
	a.mu.Unlock()
	if before != nil && before.job == m.JobId && !before.over() {
		return // it will answer
	}
	ctx, cancel := context.WithCancel(ctx)
	o := &opening{job: m.JobId, cancel: cancel, done: make(chan struct{})}
	a.mu.Lock()
	a.opening = o
	a.mu.Unlock()
	go func() {
		defer close(o.done)
		defer cancel()
		if before != nil {
			before.cancel()
			<-before.done
		}
		spec, err := job.FromCanonical(m.Spec)
		if err == nil {
			err = a.warm(ctx, ringleader.JobID(m.JobId), spec)
		}
		if ctx.Err() != nil {
			return // it is no longer wanted
		}
		answer := &rpcpb.Prepared{JobId: m.JobId}
		if err != nil {
			answer.Error = err.Error()
		}
		a.cfg.Log.Info("ready to join", "job", m.JobId, "error", err)
		a.send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Prepared{Prepared: answer}})
	}()
}

// warm opens a replica and makes a step with it alone, of a few shards, whose result is dropped: the first step of a process reserves memory and makes kernels.
func (a *agent) warm(ctx context.Context, id ringleader.JobID, spec job.Spec) error {
	r, err := a.openFor(ctx, id, spec)
	if err != nil || r.at() != noState {
		return err
	}
	group, err := allreduce.NewGroup(allreduce.DefaultConfig(), nil, nil)
	if err != nil {
		return err
	}
	defer group.Close(nil)
	defer r.forget()
	if err := r.Initialise(); err != nil {
		return err
	}
	var shards []ringleader.Shard
	for s := range min(2*len(r.lanes), r.what.Shards) {
		shards = append(shards, ringleader.Shard(s))
	}
	tr := r.NewTrailer(1)
	r.Begin(Pass{})
	if err := r.Compute(ctx, tr, shards); err != nil {
		return err
	}
	if err := r.Reduce(ctx, group, tr); err != nil {
		return err
	}
	return r.Update(tr)
}

func (o *opening) over() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// awaitOpening waits for what is being opened for the job, and ends what is being opened for another.
func (a *agent) awaitOpening(ctx context.Context, jobID string) error {
	a.mu.Lock()
	o := a.opening
	a.mu.Unlock()
	if o == nil {
		return nil
	}
	if o.job != jobID {
		o.cancel()
	}
	select {
	case <-o.done:
		return nil
	case <-ctx.Done():
		o.cancel()
		<-o.done
		return context.Cause(ctx)
	}
}

// stopOpening ends what is being opened, and waits.
func (a *agent) stopOpening() {
	a.mu.Lock()
	o := a.opening
	a.mu.Unlock()
	if o != nil {
		o.cancel()
		<-o.done
	}
}

// unprepare forgets a job that this worker is ready for and has never trained. No generation is running.
func (a *agent) unprepare(jobID string) {
	a.mu.Lock()
	o := a.opening
	a.mu.Unlock()
	if o != nil && o.job == jobID {
		a.stopOpening()
	}
	if a.held(jobID) != nil {
		a.dropReplica()
	}
}
