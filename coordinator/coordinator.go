package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// Coordinator is one running node.
type Coordinator struct {
	cfg  Config
	addr string // advertised
	disk *disk
	fsm  *fsm
	raft *raft.Raft
	mux  *mux
	net  *transport
	grpc *grpc.Server
	ask  *client.Client // to the other coordinators

	changed *broadcast                 // state or what the leader publishes
	leading atomic.Pointer[leadership] // nil: this node does not lead, or not yet

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	once   sync.Once
	closed error
}

// Start runs a coordinator until Close, or until it cannot go on (Done). It returns once the node serves; whether there
// is a leader is another matter. The order below is that of dependence: disk, port, log, services, then what uses all of them.
func Start(cfg Config) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start coordinator: %w", err)
	}
	c := &Coordinator{cfg: cfg.withDefaults(), changed: newBroadcast()}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	if err := c.start(); err != nil {
		return nil, fmt.Errorf("start coordinator: %w", errors.Join(err, c.Close()))
	}
	return c, nil
}

func (c *Coordinator) start() error {
	logger := raftLogger(c.cfg.Log)
	var err error
	if c.disk, err = openDisk(c.cfg.Dir, logger); err != nil {
		return err
	}
	l, err := c.cfg.Listen(c.cfg.Bind)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", c.cfg.Bind, err)
	}
	c.addr = advertised(c.cfg, l.Addr())
	c.mux = newMux(l, address(c.addr), func(conn net.Conn) error { return welcome(conn, c.cfg.Token, c.disk.id) })
	c.net = newTransport(streams{queue: c.mux.raft, token: c.cfg.Token, dial: c.cfg.Dial}, 5*c.cfg.Raft.Heartbeat, logger)
	c.fsm = newFSM(c.changed, func(err error) { c.cancel(err) })
	if c.raft, err = raft.NewRaft(c.raftConfig(logger), c.fsm, c.disk.log, c.disk.log, c.disk.snapshots, c.net); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	if c.ask, err = client.Dial(c.others(), c.cfg.Token, client.Options{Dialer: c.cfg.Dial, Attempt: time.Second}); err != nil {
		return err
	}
	c.serve()
	c.spawn(c.lead)
	c.spawn(c.assemble)
	c.cfg.Log.Info("coordinator serves", "address", c.addr, "id", c.disk.id)
	return nil
}

// advertised is the address that others use; a port that was left to the system is filled in.
func advertised(cfg Config, bound net.Addr) string {
	host, port, err := net.SplitHostPort(cfg.advertise())
	if err != nil || port != "0" {
		return cfg.advertise()
	}
	_, port, err = net.SplitHostPort(bound.String())
	if err != nil {
		return cfg.advertise()
	}
	return net.JoinHostPort(host, port)
}

// others are the addresses that a node asks about the cluster; a node of its own asks itself.
func (c *Coordinator) others() []string {
	var out []string
	known := slices.Concat(c.cfg.Peers, c.cfg.Join)
	for _, s := range c.configuration() {
		known = append(known, string(s.Address))
	}
	for _, a := range known {
		if a != c.addr && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return []string{c.addr}
	}
	return out
}

func (c *Coordinator) serve() {
	c.grpc = grpc.NewServer(append(c.cfg.Token.ServerOptions(),
		grpc.MaxRecvMsgSize(4<<20),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)...)
	rpcpb.RegisterCoordinatorServiceServer(c.grpc, &service{c: c})
	c.spawn(func() {
		if err := c.grpc.Serve(c.mux.grpc); err != nil && c.ctx.Err() == nil {
			c.cancel(fmt.Errorf("serve gRPC: %w", err))
		}
	})
}

func (c *Coordinator) spawn(f func()) {
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		f()
	}()
}

// Addr is the advertised address.
func (c *Coordinator) Addr() string { return c.addr }

// ID is the node's id: random, for as long as its directory lives.
func (c *Coordinator) ID() string { return c.disk.id }

// Leading reports whether the node leads and has caught up with its own log.
func (c *Coordinator) Leading() bool { return c.leading.Load() != nil }

// StateHash is the index of the last entry that was applied here, and a hash of the state after it: equal on all nodes.
func (c *Coordinator) StateHash() (uint64, string, error) {
	v := c.fsm.View()
	h, err := v.Hash()
	return v.Index, h, err
}

// Done is closed when the node has stopped or cannot go on; Close then returns why.
func (c *Coordinator) Done() <-chan struct{} { return c.ctx.Done() }

var errClosed = errors.New("closed")

// Close stops the node; a leader hands over first. It returns why the node could not go on, if that was so.
func (c *Coordinator) Close() error {
	c.once.Do(func() {
		if c.leading.Load() != nil {
			if err := c.raft.LeadershipTransfer().Error(); err != nil {
				c.cfg.Log.Debug("leadership was not handed over", "error", err)
			}
		}
		c.cancel(errClosed)
		var errs []error
		if c.grpc != nil {
			c.grpc.Stop()
		}
		if c.ask != nil {
			errs = append(errs, c.ask.Close())
		}
		if c.raft != nil {
			errs = append(errs, c.raft.Shutdown().Error())
		}
		if c.net != nil {
			c.net.CloseStreams()
			errs = append(errs, c.net.Close())
		}
		if c.mux != nil {
			errs = append(errs, c.mux.close())
		}
		c.wg.Wait()
		if c.disk != nil {
			errs = append(errs, c.disk.close())
		}
		if cause := context.Cause(c.ctx); !errors.Is(cause, errClosed) {
			errs = append(errs, cause)
		}
		c.closed = errors.Join(errs...)
	})
	return c.closed
}
