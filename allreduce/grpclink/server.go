package grpclink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// ErrClosed is wrapped by Accept after Close.
var ErrClosed = errors.New("ring server is closed")

// Server collects the links that other members dial until somebody accepts them.
type Server struct {
	rpcpb.UnimplementedRingServiceServer

	// Patience is how long a link waits for Accept before it is refused; MaxPending is how many may wait. Set before Register.
	Patience   time.Duration
	MaxPending int
	// Apart keeps payloads in the stream also where memory could be shared. Set before Register.
	Apart bool

	mu sync.Mutex
	// Invariant: no Hello is in both; of the offers of a job none is older than what is awaited of it.
	offers  map[Hello]*offer
	waiting map[Hello]chan *link // each with room for one
	closed  bool
}

// offer is a link that nobody has accepted yet.
type offer struct {
	link    *link
	settled chan error // room for one: nil = accepted
}

// NewServer collects links; it serves after Register.
func NewServer() *Server {
	return &Server{
		Patience:   30 * time.Second,
		MaxPending: 64,
		offers:     map[Hello]*offer{},
		waiting:    map[Hello]chan *link{},
	}
}

// Register adds the service to a gRPC server that was made with ServerOptions.
func (s *Server) Register(r grpc.ServiceRegistrar) { rpcpb.RegisterRingServiceServer(r, s) }

// Close refuses all links that wait and all that come, and ends every Accept. Accepted links live on.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for h, o := range s.offers {
		s.refuse(h, o, codes.Unavailable, "worker is going away")
	}
	for h, c := range s.waiting {
		delete(s.waiting, h)
		close(c)
	}
}

// Accept returns the link that rank from dials in that generation of the job. Links of older generations of the job that still
// wait are refused. It ends with an error when ctx or the server does.
func (s *Server) Accept(ctx context.Context, job ringleader.Digest, gen ringleader.Generation, from ringleader.Rank) (allreduce.Link, error) {
	h := Hello{Job: job, Generation: gen, From: from}
	c, err := s.await(h)
	if err != nil {
		return nil, fmt.Errorf("accept %s: %w", h, err)
	}
	select {
	case l := <-c:
		if l == nil {
			return nil, fmt.Errorf("accept %s: %w", h, ErrClosed)
		}
		return l, nil
	case <-ctx.Done():
		err := fmt.Errorf("accept %s: %w", h, context.Cause(ctx))
		if l := s.giveUp(h, c); l != nil {
			err = errors.Join(err, l.Close(err))
		}
		return nil, err
	}
}

// await finds the offer, or gets ready for it.
func (s *Server) await(h Hello) (chan *link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if _, twice := s.waiting[h]; twice {
		return nil, errors.New("somebody waits for it already")
	}
	s.refuseOlder(h)
	c := make(chan *link, 1)
	if o := s.offers[h]; o != nil {
		delete(s.offers, h)
		c <- o.link
		o.settled <- nil
		return c, nil
	}
	s.waiting[h] = c
	return c, nil
}

// giveUp returns the link if it came in the last moment.
func (s *Server) giveUp(h Hello, c chan *link) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[h] == c {
		delete(s.waiting, h)
	}
	select {
	case l := <-c:
		return l
	default:
		return nil
	}
}

// Ring handles one stream for as long as its link lives.
func (s *Server) Ring(st grpc.BidiStreamingServer[rpcpb.RingRequest, rpcpb.RingResponse]) error {
	h, err := parseHello(st.Context())
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	o := &offer{link: newLink(st, pathOf(st.Context())), settled: make(chan error, 1)}
	accepted := metadata.Pairs(keyVersion, version)
	if o.link.from = queueOf(s.shared(st.Context(), toRead)); o.link.from != nil {
		accepted.Set(keyMemory, memoryShared)
	}
	if err := s.offer(h, o); err != nil {
		return err
	}
	if err := s.settle(st.Context(), h, o); err != nil {
		return err
	}
	if err := st.SendHeader(accepted); err != nil {
		// Somebody has accepted the link: it learns what has become of it.
		o.link.end(err, false)
		close(o.link.gone)
		return err
	}
	o.link.serve()
	return nil
}

// shared is the memory that the dialler offers, if it is on this machine. A link without it is as good.
func (s *Server) shared(ctx context.Context, protection int) *memory {
	md, _ := metadata.FromIncomingContext(ctx)
	offered := md.Get(keyMemory)
	if s.Apart || pathOf(ctx) != pathUnix || len(offered) != 1 {
		return nil
	}
	name, err := parseMemoryName(offered[0])
	if err != nil {
		return nil
	}
	m, err := openMemory(name, protection)
	if err != nil {
		return nil
	}
	return m
}

// offer hands the link to whoever waits for it, or makes it wait.
func (s *Server) offer(h Hello, o *offer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return status.Error(codes.Unavailable, "worker is going away")
	}
	if c := s.waiting[h]; c != nil {
		delete(s.waiting, h)
		c <- o.link
		o.settled <- nil
		return nil
	}
	if newer := s.newer(h); newer > h.Generation {
		return status.Errorf(codes.FailedPrecondition, "%s: the job is in generation %d already", h, newer)
	}
	s.refuseOlder(h)
	if old := s.offers[h]; old != nil {
		s.refuse(h, old, codes.Aborted, "the member has dialled again")
	}
	if len(s.offers) >= s.MaxPending {
		return status.Errorf(codes.ResourceExhausted, "%s: %d links wait already", h, len(s.offers))
	}
	s.offers[h] = o
	return nil
}

// settle waits until the offer is accepted (nil) or refused.
func (s *Server) settle(ctx context.Context, h Hello, o *offer) error {
	timer := time.NewTimer(s.Patience)
	defer timer.Stop()
	select {
	case err := <-o.settled:
		return err
	case <-timer.C:
		s.withdraw(h, o, status.Errorf(codes.DeadlineExceeded, "%s: nobody has waited for it within %s", h, s.Patience))
	case <-ctx.Done():
		s.withdraw(h, o, status.FromContextError(ctx.Err()).Err())
	}
	return <-o.settled
}

// withdraw refuses the offer unless it was settled meanwhile.
func (s *Server) withdraw(h Hello, o *offer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.offers[h] == o {
		delete(s.offers, h)
		o.settled <- err
	}
}

func (s *Server) refuse(h Hello, o *offer, code codes.Code, why string) {
	delete(s.offers, h)
	o.settled <- status.Errorf(code, "%s: %s", h, why)
}

func (s *Server) refuseOlder(h Hello) {
	for k, o := range s.offers {
		if k.Job == h.Job && k.Generation < h.Generation {
			s.refuse(k, o, codes.FailedPrecondition, fmt.Sprintf("the job is in generation %d already", h.Generation))
		}
	}
}

// newer is the newest generation of the job that is offered or awaited.
func (s *Server) newer(h Hello) (g ringleader.Generation) {
	for k := range s.offers {
		if k.Job == h.Job {
			g = max(g, k.Generation)
		}
	}
	for k := range s.waiting {
		if k.Job == h.Job {
			g = max(g, k.Generation)
		}
	}
	return g
}
