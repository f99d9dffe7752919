// Package client is the only door to the coordinators, for workers and the command line: it finds the leader, finds it
// again when it changes, and retries what may be repeated, within a bound.
package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// LeaderTrailer is the trailer in which a coordinator that does not lead names the one that does.
const LeaderTrailer = "ringleader-leader"

// ErrNoLeader: no coordinator that was asked led the cluster within the bound. The error names each and what it said.
var ErrNoLeader = errors.New("no leader found")

// Options bound the waits. The zero value of each is its default.
type Options struct {
	Timeout time.Duration // how long to look for a leader before a call fails; 15 s
	Attempt time.Duration // one try at one coordinator; 3 s
	// Dialer opens connections; nil: TCP.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Attempt == 0 {
		o.Attempt = 3 * time.Second
	}
	if o.Dialer == nil {
		o.Dialer = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	return o
}

// Client talks to the coordinators of one cluster. Its methods may be called from several goroutines.
type Client struct {
	token rpcauth.Token
	o     Options
	addrs []string

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	leader string // address that last led or was last named as leader; empty: unknown
	turn   int    // whom of addrs to ask next
	closed bool
}

// Dial prepares a client; it connects when it is used. addrs are HOST:PORT of any of the coordinators.
func Dial(addrs []string, token rpcauth.Token, o Options) (*Client, error) {
	if err := CheckAddresses(addrs); err != nil {
		return nil, fmt.Errorf("dial coordinators: %w", err)
	}
	return &Client{token: token, o: o.withDefaults(), addrs: slices.Clone(addrs), conns: map[string]*grpc.ClientConn{}}, nil
}

// CheckAddresses wants what Dial does: one address at least, and each HOST:PORT.
func CheckAddresses(addrs []string) error {
	if len(addrs) == 0 {
		return errors.New("no address is given, want HOST:PORT")
	}
	for _, a := range addrs {
		if err := checkAddress(a); err != nil {
			return err
		}
	}
	return nil
}

func checkAddress(a string) error {
	host, port, err := net.SplitHostPort(a)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("address %q: want HOST:PORT", a)
	}
	return nil
}

// Close ends all connections; calls in progress fail.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for a, conn := range c.conns {
		errs = append(errs, conn.Close())
		delete(c.conns, a)
	}
	return errors.Join(errs...)
}

// Submit admits a job. A request without a key is given a random one, so that a retry cannot submit twice.
func (c *Client) Submit(ctx context.Context, req *rpcpb.SubmitJobRequest) (*rpcpb.JobInfo, error) {
	if req.Key == "" {
		req = &rpcpb.SubmitJobRequest{Key: rand.Text(), Spec: req.Spec, ResumeUrl: req.ResumeUrl, ResumeStep: req.ResumeStep}
	}
	var out *rpcpb.SubmitJobResponse
	err := c.call(ctx, "submit job", func(ctx context.Context, s rpcpb.CoordinatorServiceClient, o ...grpc.CallOption) (err error) {
		out, err = s.SubmitJob(ctx, req, o...)
		return err
	})
	return out.GetJob(), err
}

// List returns all jobs that are remembered, oldest first, without their histories.
func (c *Client) List(ctx context.Context) ([]*rpcpb.JobInfo, error) {
	var out *rpcpb.ListJobsResponse
	err := c.call(ctx, "list jobs", func(ctx context.Context, s rpcpb.CoordinatorServiceClient, o ...grpc.CallOption) (err error) {
		out, err = s.ListJobs(ctx, &rpcpb.ListJobsRequest{}, o...)
		return err
	})
	return out.GetJobs(), err
}

// Get returns a job as it is now.
func (c *Client) Get(ctx context.Context, id string) (*rpcpb.JobInfo, error) {
	var out *rpcpb.GetJobResponse
	err := c.call(ctx, "get job "+id, func(ctx context.Context, s rpcpb.CoordinatorServiceClient, o ...grpc.CallOption) (err error) {
		out, err = s.GetJob(ctx, &rpcpb.GetJobRequest{Id: id}, o...)
		return err
	})
	return out.GetJob(), err
}

// Control pauses, resumes or cancels a job; asking again for what is asked for already is no error.
func (c *Client) Control(ctx context.Context, id string, action rpcpb.JobAction) (*rpcpb.JobInfo, error) {
	var out *rpcpb.ControlJobResponse
	err := c.call(ctx, "control job "+id, func(ctx context.Context, s rpcpb.CoordinatorServiceClient, o ...grpc.CallOption) (err error) {
		out, err = s.ControlJob(ctx, &rpcpb.ControlJobRequest{Id: id, Action: action}, o...)
		return err
	})
	return out.GetJob(), err
}

// Cluster describes the cluster, as the leader sees it.
func (c *Client) Cluster(ctx context.Context) (*rpcpb.ClusterResponse, error) {
	var out *rpcpb.ClusterResponse
	err := c.call(ctx, "describe cluster", func(ctx context.Context, s rpcpb.CoordinatorServiceClient, o ...grpc.CallOption) (err error) {
		out, err = s.Cluster(ctx, &rpcpb.ClusterRequest{}, o...)
		if err == nil && out.LeaderId != out.SelfId {
			return &redirect{to: out.LeaderAddress}
		}
		return err
	})
	return out, err
}

// ClusterAt describes the cluster as one coordinator sees it, whether it leads or not. It is tried once.
func (c *Client) ClusterAt(ctx context.Context, addr string) (*rpcpb.ClusterResponse, error) {
	conn, err := c.conn(addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Attempt)
	defer cancel()
	out, err := rpcpb.NewCoordinatorServiceClient(conn).Cluster(ctx, &rpcpb.ClusterRequest{})
	if err != nil {
		return nil, fmt.Errorf("describe cluster at %s: %w", addr, explain(err))
	}
	return out, nil
}

// AddCoordinator admits a new node; see the service.
func (c *Client) AddCoordinator(ctx context.Context, id, addr string) error {
	return c.call(ctx, "add coordinator "+addr, func(ctx context.Context, s rpcpb.CoordinatorServiceClient, o ...grpc.CallOption) error {
		_, err := s.AddCoordinator(ctx, &rpcpb.AddCoordinatorRequest{Id: id, Address: addr}, o...)
		return err
	})
}

// RemoveCoordinator takes a stopped node out; see the service. One that is asked again, as its answer was lost, is not found any more.
func (c *Client) RemoveCoordinator(ctx context.Context, addr string) error {
	return c.call(ctx, "remove coordinator "+addr, func(ctx context.Context, s rpcpb.CoordinatorServiceClient, o ...grpc.CallOption) error {
		_, err := s.RemoveCoordinator(ctx, &rpcpb.RemoveCoordinatorRequest{Address: addr}, o...)
		return err
	})
}

// Drain tells an attached worker to leave its gang after its step and to end; see the service.
func (c *Client) Drain(ctx context.Context, worker string) error {
	return c.call(ctx, "drain worker "+worker, func(ctx context.Context, s rpcpb.CoordinatorServiceClient, o ...grpc.CallOption) error {
		_, err := s.DrainWorker(ctx, &rpcpb.DrainWorkerRequest{Id: worker}, o...)
		return err
	})
}

// conn returns the connection to an address; the first call for it makes one.
func (c *Client) conn(addr string) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("coordinator client is closed")
	}
	if conn := c.conns[addr]; conn != nil {
		return conn, nil
	}
	opts := append(c.token.DialOptions(),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(c.o.Dialer),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		// The library's own wait between attempts would outlast an election; ours follows the leader.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	conn, err := grpc.NewClient("passthrough:///"+addr, opts...)
	if err != nil {
		return nil, fmt.Errorf("dial coordinator %s: %w", addr, err)
	}
	c.dropStale()
	c.conns[addr] = conn
	return conn, nil
}

const maxMessage = 64 << 20

// dropStale closes connections to leaders of the past that nobody configured, so that they do not pile up.
func (c *Client) dropStale() {
	for a, conn := range c.conns {
		if a != c.leader && !slices.Contains(c.addrs, a) {
			_ = conn.Close() // it carried nothing that anyone waits for
			delete(c.conns, a)
		}
	}
}

// String names the coordinators.
func (c *Client) String() string { return "coordinators " + strings.Join(c.addrs, ", ") }
