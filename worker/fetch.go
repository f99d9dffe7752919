package worker

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// fetchChunk is the payload of one message, in float32 elements.
const fetchChunk = 1 << 18

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stateServer hands the state that this worker holds to joiners.
type stateServer struct {
	rpcpb.UnimplementedPeerServiceServer
	agent *agent
}

// FetchState streams a copy of the state, taken between two steps. Another step than the one asked for is FAILED_PRECONDITION: the caller's
// generation is over, or this worker's has not begun.
func (s *stateServer) FetchState(req *rpcpb.FetchStateRequest, stream grpc.ServerStreamingServer[rpcpb.FetchStateResponse]) error {
	r := s.agent.held(req.JobId)
	if r == nil {
		return status.Errorf(codes.NotFound, "worker %s holds no state of job %s", s.agent.cfg.ID, req.JobId)
	}
	st, err := r.snapshot()
	if err != nil {
		return status.Errorf(codes.Internal, "copy state: %v", err)
	}
	if int64(st.Step) != req.Step {
		return status.Errorf(codes.FailedPrecondition, "worker %s holds step %d of job %s, not %d", s.agent.cfg.ID, st.Step, req.JobId, req.Step)
	}
	header := &rpcpb.StateHeader{
		Step: int64(st.Step), Digest: st.Digest().String(), Parameters: uint64(r.model.Size()),
		Beta1Power: st.Scalars.Beta1Power, Beta2Power: st.Scalars.Beta2Power,
		Ledger: st.Scalars.Ledger, Users: st.Scalars.Users, Tokens: st.Scalars.Tokens,
	}
	if err := stream.Send(&rpcpb.FetchStateResponse{Header: header}); err != nil {
		return err
	}
	for _, flat := range [][]float32{flatten(st.Params), flatten(st.Moment1), flatten(st.Moment2)} {
		for lo := 0; lo < len(flat); lo += fetchChunk {
			data := bytesOf(flat[lo:min(lo+fetchChunk, len(flat))])
			if err := stream.Send(&rpcpb.FetchStateResponse{Data: data, Crc32C: crc32.Checksum(data, castagnoli)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetchFromHolders tries the holders in turn, beginning at a place of its own so that several joiners spread over them.
func (g *generation) fetchFromHolders(ctx context.Context, step ringleader.Step) error {
	var errs []error
	holders := g.assign.Holders
	for i := range holders {
		rank := holders[(i+int(g.rank))%len(holders)]
		if rank == int32(g.rank) {
			continue // the leader thinks so; it knows better itself
		}
		m := g.assign.Members[rank]
		err := g.fetch(ctx, m.Address, step)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("fetch state at step %d from %s: %w", step, m.WorkerId, err))
	}
	if len(errs) == 0 {
		return fmt.Errorf("state at step %d: this worker is the only holder, and has lost it", step)
	}
	return errors.Join(errs...)
}

func (g *generation) fetch(ctx context.Context, address string, step ringleader.Step) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := g.agent.peers.conn(address)
	if err != nil {
		return err
	}
	stream, err := rpcpb.NewPeerServiceClient(conn).FetchState(ctx, &rpcpb.FetchStateRequest{JobId: g.assign.JobId, Step: int64(step)})
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	h, n := first.Header, g.replica.model.Size()
	if h == nil || h.Parameters != uint64(n) {
		return fmt.Errorf("header %v: want %d parameters", h, n)
	}
	all := make([]float32, 3*n)
	for rest := bytesOf(all); len(rest) > 0; {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("stream ended %d bytes early", len(rest))
		}
		if err != nil {
			return err
		}
		if len(m.Data) > len(rest) || crc32.Checksum(m.Data, castagnoli) != m.Crc32C {
			return errors.New("checksum or length of a chunk is wrong")
		}
		rest = rest[copy(rest, m.Data):]
		g.agent.beat.Add(1)
	}
	r := g.replica
	st := &checkpoints.State{
		Job: r.digest, Step: ringleader.Step(h.Step),
		Params: r.tensors(all[:n]), Moment1: r.tensors(all[n : 2*n]), Moment2: r.tensors(all[2*n:]),
		Scalars: checkpoints.Scalars{Beta1Power: h.Beta1Power, Beta2Power: h.Beta2Power, Ledger: h.Ledger, Users: h.Users, Tokens: h.Tokens},
	}
	if got := st.Digest().String(); got != h.Digest || st.Step != step {
		return fmt.Errorf("state at step %d with digest %s, announced %s", st.Step, got, h.Digest)
	}
	return r.install(all[:n], all[n:2*n], all[2*n:], st.Scalars, st.Step)
}

// bytesOf views little-endian floats as bytes; the package builds for little-endian machines only (see allreduce).
func bytesOf(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), 4*len(x))
}

// peers keeps one connection for each other worker.
type peers struct {
	options []grpc.DialOption
	mu      sync.Mutex
	conns   map[string]*grpc.ClientConn
}

func newPeers(token rpcauth.Token, dial func(context.Context, string) (net.Conn, error)) *peers {
	options := append(token.DialOptions(), grpclink.DialOptions()...)
	if dial == nil {
		dial = grpclink.DialContext
	}
	options = append(options, grpc.WithContextDialer(dial))
	return &peers{options: options, conns: map[string]*grpc.ClientConn{}}
}

// conn returns the connection to an address; it connects when it is first used. One that failed before is made anew: it says what was
// true then, and would wait before it tries again.
func (p *peers) conn(address string) (*grpc.ClientConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.conns[address]; c != nil {
		if c.GetState() != connectivity.TransientFailure {
			return c, nil
		}
		_ = c.Close() // nothing travels on it
	}
	c, err := grpc.NewClient("passthrough:///"+address, p.options...)
	if err != nil {
		return nil, fmt.Errorf("connect to worker at %s: %w", address, err)
	}
	p.conns[address] = c
	return c, nil
}

// keep closes the connections to addresses that are no longer members'.
func (p *peers) keep(members []*rpcpb.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := map[string]bool{}
	for _, m := range members {
		wanted[m.Address] = true
	}
	for address, c := range p.conns {
		if !wanted[address] {
			// A connection to a worker that has left; whatever it still had to say is of no interest.
			_ = c.Close()
			delete(p.conns, address)
		}
	}
}

func (p *peers) close() { p.keep(nil) }
