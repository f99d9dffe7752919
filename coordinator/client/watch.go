package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// WatchInterval is how often a leader says something on a watch even if nothing has changed.
const WatchInterval = 2 * time.Second

// Watch calls changed with the job as it is, and again whenever something about it changes, until it has ended, changed
// returns an error, or no leader is found for Options.Timeout. Changes in quick succession come as one.
func (c *Client) Watch(ctx context.Context, id string, changed func(*rpcpb.JobInfo) error) error {
	w := watch{c: c, id: id, changed: changed, hunt: c.hunt()}
	lost := time.Now()
	for {
		addr := w.hunt.next()
		heard, err := w.follow(ctx, addr)
		if err == nil || errors.As(err, new(callbackError)) {
			return err
		}
		if heard {
			lost = time.Now()
		}
		if ctx.Err() != nil {
			return fmt.Errorf("watch job %s: %w", id, ctx.Err())
		}
		if err := w.hunt.failed(ctx, addr, err); err != nil {
			return fmt.Errorf("watch job %s: %w", id, err)
		}
		if time.Since(lost) > c.o.Timeout {
			return fmt.Errorf("watch job %s: %w", id, w.hunt.report())
		}
	}
}

// callbackError is the caller's own error, returned as it is.
type callbackError struct{ error }

func (e callbackError) Unwrap() error { return e.error }

type watch struct {
	c       *Client
	id      string
	changed func(*rpcpb.JobInfo) error
	hunt    *hunt
	last    *rpcpb.JobInfo
}

// follow watches at one coordinator; nil: the job has ended. heard: it led.
func (w *watch) follow(ctx context.Context, addr string) (heard bool, err error) {
	conn, err := w.c.conn(addr)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A leader that was cut off ends no stream: silence does.
	silence := time.AfterFunc(w.c.o.Attempt, func() { cancel(errSilent) })
	defer silence.Stop()
	stream, err := rpcpb.NewCoordinatorServiceClient(conn).WatchJob(ctx, &rpcpb.WatchJobRequest{Id: w.id})
	if err != nil {
		return false, explain(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return heard, answer(err, stream.Trailer())
		}
		silence.Reset(3 * WatchInterval)
		if !heard {
			heard = true
			w.hunt.found(addr)
		}
		if !proto.Equal(m.Job, w.last) {
			w.last = m.Job
			if err := w.changed(m.Job); err != nil {
				return true, callbackError{err}
			}
		}
		if ended(m.Job.GetState()) {
			return true, nil
		}
	}
}

var errSilent = errors.New("the leader has fallen silent")

func ended(s rpcpb.JobState) bool {
	switch s {
	case rpcpb.JobState_JOB_STATE_SUCCEEDED, rpcpb.JobState_JOB_STATE_FAILED, rpcpb.JobState_JOB_STATE_CANCELLED:
		return true
	}
	return false
}
