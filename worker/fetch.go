package worker

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/exact"
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

// FetchState streams words of the state. Another step than the one asked for is FAILED_PRECONDITION, also in the middle: the caller's
// generation is over, or this worker's has not begun.
func (s *stateServer) FetchState(req *rpcpb.FetchStateRequest, stream grpc.ServerStreamingServer[rpcpb.FetchStateResponse]) error {
	r := s.agent.held(req.JobId)
	if r == nil {
		return status.Errorf(codes.NotFound, "worker %s holds no state of job %s", s.agent.cfg.ID, req.JobId)
	}
	n := uint64(r.words())
	if req.Count == 0 && req.First < n {
		req.Count = n - req.First
	}
	if req.First >= n || req.Count > n-req.First {
		return status.Errorf(codes.InvalidArgument, "words %d to %d of a state that has %d", req.First, req.First+req.Count, n)
	}
	header, err := r.stand(ringleader.Step(req.Step))
	if err != nil {
		return status.Errorf(codes.FailedPrecondition, "worker %s, job %s: %v", s.agent.cfg.ID, req.JobId, err)
	}
	if err := stream.Send(&rpcpb.FetchStateResponse{Header: header}); err != nil {
		return err
	}
	buf := make([]float32, min(fetchChunk, req.Count))
	for at, end := req.First, req.First+req.Count; at < end; at += fetchChunk {
		part := buf[:min(fetchChunk, end-at)]
		if err := r.read(ringleader.Step(req.Step), int(at), part); err != nil {
			return status.Errorf(codes.FailedPrecondition, "worker %s, job %s: %v", s.agent.cfg.ID, req.JobId, err)
		}
		data := bytesOf(part)
		if err := stream.Send(&rpcpb.FetchStateResponse{Data: data, Crc32C: crc32.Checksum(data, castagnoli)}); err != nil {
			return err
		}
	}
	return nil
}

// maxSources bounds the members that one joiner copies from at a time.
const maxSources = 4

// fetchFromHolders copies the state from several holders at a time, beginning at a place of its own so that several joiners spread over them. The state that
// is held stays until the new one has been verified.
func (g *generation) fetchFromHolders(ctx context.Context, step ringleader.Step) error {
	holders := slices.DeleteFunc(slices.Clone(g.assign.Holders), func(rank int32) bool {
		return rank == int32(g.rank) // the leader thinks so; it knows better itself
	})
	if len(holders) == 0 {
		return fmt.Errorf("state at step %d: this worker is the only holder, and has lost it", step)
	}
	all := make([]float32, g.replica.words())
	pieces := min(len(holders), maxSources)
	var mu sync.Mutex // of header and sum
	var header *rpcpb.StateHeader
	var sum uint64 // the words' part of the digest
	group, ctx := errgroup.WithContext(ctx)
	for i := range pieces {
		first, end := i*len(all)/pieces, (i+1)*len(all)/pieces
		group.Go(func() error {
			h, hash, err := g.fetchPiece(ctx, holders, i+int(g.rank), step, first, all[first:end])
			mu.Lock()
			defer mu.Unlock()
			header = h
			sum += hash
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return g.adopt(header, step, all, sum)
}

// fetchPiece tries the holders in turn for words of the state, and returns their part of its digest.
func (g *generation) fetchPiece(ctx context.Context, holders []int32, begin int, step ringleader.Step, first int, into []float32) (*rpcpb.StateHeader, uint64, error) {
	var errs []error
	for i := range holders {
		m := g.assign.Members[holders[(begin+i)%len(holders)]]
		header, err := g.fetch(ctx, m.Address, step, first, into)
		if err == nil {
			return header, exact.HashFloats(into, uint64(first)), nil
		}
		errs = append(errs, fmt.Errorf("fetch state at step %d from %s: %w", step, m.WorkerId, err))
	}
	return nil, 0, errors.Join(errs...)
}

func (g *generation) fetch(ctx context.Context, address string, step ringleader.Step, first int, into []float32) (*rpcpb.StateHeader, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := g.agent.peers.conn(address)
	if err != nil {
		return nil, err
	}
	req := &rpcpb.FetchStateRequest{JobId: g.assign.JobId, Step: int64(step), First: uint64(first), Count: uint64(len(into))}
	stream, err := rpcpb.NewPeerServiceClient(conn).FetchState(ctx, req)
	if err != nil {
		return nil, err
	}
	begin, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	h, n := begin.Header, g.replica.model.Size()
	if h == nil || h.Parameters != uint64(n) {
		return nil, fmt.Errorf("header %v: want %d parameters", h, n)
	}
	for rest := bytesOf(into); len(rest) > 0; {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("stream ended %d bytes early", len(rest))
		}
		if err != nil {
			return nil, err
		}
		if len(m.Data) > len(rest) || crc32.Checksum(m.Data, castagnoli) != m.Crc32C {
			return nil, errors.New("checksum or length of a chunk is wrong")
		}
		rest = rest[copy(rest, m.Data):]
		g.agent.beat.Add(1)
	}
	return h, nil
}

// adopt makes what was fetched the replica's state, if it is what was announced.
func (g *generation) adopt(h *rpcpb.StateHeader, step ringleader.Step, all []float32, sum uint64) error {
	r, n := g.replica, g.replica.model.Size()
	scalars := checkpoints.Scalars{Beta1Power: h.Beta1Power, Beta2Power: h.Beta2Power, Ledger: h.Ledger, Users: h.Users, Tokens: h.Tokens}
	sum += exact.HashWords(scalars.Words(), uint64(len(all)))
	if got := exact.FinishDigest(sum, step, r.digest).String(); got != h.Digest || ringleader.Step(h.Step) != step {
		return fmt.Errorf("state at step %d with digest %s, announced %s at step %d", step, got, h.Digest, h.Step)
	}
	exponents := make([]int8, len(all)-3*n)
	for i, word := range all[3*n:] {
		exponents[i] = int8(math.Float32bits(word))
	}
	return r.install(all[:n], all[n:2*n], all[2*n:3*n], exponents, scalars, step)
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
