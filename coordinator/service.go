package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/logpb"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// service answers the calls of workers and people.
type service struct {
	rpcpb.UnimplementedCoordinatorServiceServer
	c *Coordinator
}

// notLeader names the leader in the trailer, so that the client asks there next.
func (s *service) notLeader(_ context.Context, setTrailer func(metadata.MD)) error {
	if addr, _ := s.c.raft.LeaderWithID(); addr != "" {
		setTrailer(metadata.Pairs(client.LeaderTrailer, string(addr)))
	} else {
		setTrailer(metadata.Pairs(client.LeaderTrailer, ""))
	}
	return status.Error(codes.Unavailable, errNotLeader.Error())
}

// leader is this node's leadership, confirmed by a majority after the call began: what is then read is current. (Its own writes
// are applied here before they are acknowledged, and those of earlier leaders before it began to lead.)
func (s *service) leader(ctx context.Context) (*leadership, error) {
	if l := s.confirmed(); l != nil {
		return l, nil
	}
	return nil, s.notLeader(ctx, trailer(ctx))
}

// confirmed is nil if this node does not lead. An entry goes through the log: nobody has acknowledged it before the call began. (Raft's VerifyLeader takes
// answers to heartbeats of before, which wait in the socket when a process that was stopped goes on.)
func (s *service) confirmed() *leadership {
	l := s.c.leading.Load()
	if l == nil || s.c.raft.Barrier(time.Second).Error() != nil {
		return nil
	}
	return l
}

func trailer(ctx context.Context) func(metadata.MD) {
	return func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) } // it fails only outside of a call
}

// grpcError gives an error the code that clients act on.
func grpcError(err error) error {
	code := codes.Internal
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNotLeader):
		code = codes.Unavailable
	case errors.Is(err, state.ErrInvalid):
		code = codes.InvalidArgument
	case errors.Is(err, state.ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, state.ErrExists):
		code = codes.AlreadyExists
	case errors.Is(err, state.ErrState), errors.Is(err, state.ErrStale), errors.Is(err, errWrongNode):
		code = codes.FailedPrecondition
	case errors.Is(err, state.ErrConflict):
		code = codes.DataLoss
	case errors.Is(err, state.ErrFull):
		code = codes.ResourceExhausted
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	return status.Error(code, err.Error())
}

// SubmitJob implements the service.
func (s *service) SubmitJob(ctx context.Context, req *rpcpb.SubmitJobRequest) (*rpcpb.SubmitJobResponse, error) {
	demand, err := demand(req.Spec)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	l, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.c.proposeOne(&logpb.Command{Command: &logpb.Command_JobSubmitted{JobSubmitted: &logpb.JobSubmitted{
		JobId: "job-" + strings.ToLower(rand.Text()[:10]), Key: req.Key, Spec: req.Spec, Demand: demand, ResumeUrl: req.ResumeUrl, ResumeStep: req.ResumeStep}}})
	if err != nil {
		return nil, grpcError(err)
	}
	return &rpcpb.SubmitJobResponse{Job: l.info(r.Job)}, nil
}

// demand is what the log needs to know of a spec.
func demand(spec []byte) (*logpb.Demand, error) {
	if len(spec) > state.MaxSpec {
		return nil, fmt.Errorf("submit: spec of %d bytes, at most %d are allowed", len(spec), state.MaxSpec)
	}
	s, err := job.FromCanonical(spec)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	if s.How.Store == "" || s.What.DataDigest == "" {
		return nil, fmt.Errorf("submit: how.store %q, what.data_digest %q: a submitted job needs both", s.How.Store, s.What.DataDigest)
	}
	w := s.How.Workers
	return &logpb.Demand{
		Name: s.Name, JobDigest: s.What.Digest().String(), Store: s.How.Store, Device: s.How.Device, Mixed: s.What.Mixed == "allow",
		Shards: int32(s.What.Shards), MinWorkers: int32(w.Min), MaxWorkers: int32(w.Max), Priority: int32(s.How.Priority),
		Steps: s.What.Steps, StopAt: s.How.StopAt, HolderMs: time.Duration(s.How.Deadlines.Holder).Milliseconds(),
		KeepCheckpoints: int32(s.How.Checkpoint.Keep), KeepEvery: s.How.Checkpoint.KeepEvery, KeepBest: int32(s.How.Checkpoint.KeepBest),
	}, nil
}

// ListJobs implements the service.
func (s *service) ListJobs(ctx context.Context, _ *rpcpb.ListJobsRequest) (*rpcpb.ListJobsResponse, error) {
	l, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	out := &rpcpb.ListJobsResponse{}
	for _, j := range s.c.fsm.View().Jobs {
		i := l.info(j)
		i.Events, i.Spec = nil, nil
		i.Generations, i.Checkpoints = last(i.Generations, 1), last(i.Checkpoints, 1)
		out.Jobs = append(out.Jobs, i)
	}
	return out, nil
}

func last[T any](s []T, n int) []T { return s[max(0, len(s)-n):] }

// GetJob implements the service.
func (s *service) GetJob(ctx context.Context, req *rpcpb.GetJobRequest) (*rpcpb.GetJobResponse, error) {
	l, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	j := s.c.fsm.View().Job(req.Id)
	if j == nil {
		return nil, status.Errorf(codes.NotFound, "job %q: %v", req.Id, state.ErrNotFound)
	}
	return &rpcpb.GetJobResponse{Job: l.info(j)}, nil
}

// ControlJob implements the service.
func (s *service) ControlJob(ctx context.Context, req *rpcpb.ControlJobRequest) (*rpcpb.ControlJobResponse, error) {
	l, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.c.proposeOne(&logpb.Command{Command: &logpb.Command_JobControlled{JobControlled: &logpb.JobControlled{JobId: req.Id, Action: logpb.JobAction(req.Action)}}})
	if err != nil {
		return nil, grpcError(err)
	}
	return &rpcpb.ControlJobResponse{Job: l.info(r.Job)}, nil
}

const (
	watchPause  = 100 * time.Millisecond // between two messages at least: what happens meanwhile comes as one
	watchEvents = 100                    // newest that a message carries
)

// WatchJob implements the service.
func (s *service) WatchJob(req *rpcpb.WatchJobRequest, stream rpcpb.CoordinatorService_WatchJobServer) error {
	ctx := stream.Context()
	l := s.confirmed()
	if l == nil {
		return s.notLeader(ctx, stream.SetTrailer)
	}
	remind := time.NewTicker(client.WatchInterval)
	defer remind.Stop()
	var sent *rpcpb.JobInfo
	for reminded := false; ; {
		changed := s.c.changed.wait()
		j := s.c.fsm.View().Job(req.Id)
		if j == nil {
			return status.Errorf(codes.NotFound, "job %q: %v", req.Id, state.ErrNotFound)
		}
		info := l.info(j)
		info.Events = last(info.Events, watchEvents)
		pause := (<-chan time.Time)(nil)
		if reminded || !proto.Equal(info, sent) {
			if err := stream.Send(&rpcpb.WatchJobResponse{Job: info}); err != nil {
				return err
			}
			sent, pause = info, time.After(watchPause)
		}
		if state.Ended(j) {
			return nil
		}
		var over bool
		if reminded, over = watchWait(ctx, l, changed, pause, remind.C); over {
			if ctx.Err() != nil {
				return status.FromContextError(ctx.Err()).Err()
			}
			return s.notLeader(ctx, stream.SetTrailer)
		}
	}
}

// watchWait waits for the pause, then for a change or a reminder.
func watchWait(ctx context.Context, l *leadership, changed <-chan struct{}, pause, remind <-chan time.Time) (reminded, over bool) {
	if pause != nil {
		select {
		case <-pause:
		case <-l.done:
			return false, true
		case <-ctx.Done():
			return false, true
		}
	}
	select {
	case <-changed:
		return false, false
	case <-remind:
		return true, false
	case <-l.done:
		return false, true
	case <-ctx.Done():
		return false, true
	}
}

// Cluster implements the service. Any coordinator answers with what it knows.
func (s *service) Cluster(context.Context, *rpcpb.ClusterRequest) (*rpcpb.ClusterResponse, error) {
	addr, id := s.c.raft.LeaderWithID()
	servers := s.c.configuration()
	out := &rpcpb.ClusterResponse{LeaderId: string(id), LeaderAddress: string(addr), SelfId: s.c.disk.id, Member: len(servers) > 0,
		Peers: s.c.cfg.Peers, AppliedIndex: s.c.raft.AppliedIndex()}
	for _, n := range servers {
		out.Coordinators = append(out.Coordinators, &rpcpb.CoordinatorInfo{Id: string(n.ID), Address: string(n.Address), Voter: n.Suffrage == 0})
	}
	slices.SortFunc(out.Coordinators, func(a, b *rpcpb.CoordinatorInfo) int { return strings.Compare(a.Address, b.Address) })
	var attached map[string]bool
	if l := s.c.leading.Load(); l != nil {
		attached = l.public.Load().attached
	}
	v := s.c.fsm.View()
	for _, w := range v.Workers {
		draining, here := attached[w.Id]
		out.Workers = append(out.Workers, &rpcpb.WorkerInfo{Id: w.Id, Address: w.Address, Host: w.Host, Device: w.Device,
			NumericsClass: w.NumericsClass, JobId: v.GangOf(w.Id).GetId(), Attached: here, Draining: draining})
	}
	return out, nil
}

// AddCoordinator implements the service.
func (s *service) AddCoordinator(ctx context.Context, req *rpcpb.AddCoordinatorRequest) (*rpcpb.AddCoordinatorResponse, error) {
	if req.Id == "" || len(req.Id) > maxID || req.Address == "" {
		return nil, status.Errorf(codes.InvalidArgument, "add coordinator: id %q, address %q: want both, the id at most %d long", req.Id, req.Address, maxID)
	}
	if _, err := s.leader(ctx); err != nil {
		return nil, err
	}
	if err := s.c.admit(ctx, req.Id, req.Address); err != nil {
		return nil, grpcError(err)
	}
	return &rpcpb.AddCoordinatorResponse{}, nil
}

// RemoveCoordinator implements the service.
func (s *service) RemoveCoordinator(ctx context.Context, req *rpcpb.RemoveCoordinatorRequest) (*rpcpb.RemoveCoordinatorResponse, error) {
	if _, err := s.leader(ctx); err != nil {
		return nil, err
	}
	if err := s.c.remove(ctx, req.Address); err != nil {
		return nil, grpcError(err)
	}
	return &rpcpb.RemoveCoordinatorResponse{}, nil
}

// DrainWorker implements the service.
func (s *service) DrainWorker(ctx context.Context, req *rpcpb.DrainWorkerRequest) (*rpcpb.DrainWorkerResponse, error) {
	l, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	told := make(chan bool, 1)
	if !l.post(ctx, func() error { told <- l.drain(req.Id); return nil }) {
		return nil, s.notLeader(ctx, trailer(ctx))
	}
	select {
	case attached := <-told:
		if !attached {
			return nil, status.Error(codes.NotFound, "it is not attached")
		}
		return &rpcpb.DrainWorkerResponse{}, nil
	case <-l.done:
		return nil, s.notLeader(ctx, trailer(ctx))
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}
