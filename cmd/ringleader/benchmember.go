package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
)

// benchMember is one process of `bench allreduce`.
func benchMember() *cobra.Command {
	return &cobra.Command{
		Use: "member", Short: "One process of the benchmark (started by it)", Example: "  ringleader bench allreduce", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runMember(cmd.Context(), json.NewDecoder(cmd.InOrStdin()), json.NewEncoder(cmd.OutOrStdout()))
		},
	}
}

// runMember does what the plan says and stays until its input ends: the others may still be at work.
func runMember(ctx context.Context, in *json.Decoder, out *json.Encoder) (err error) {
	var plan memberPlan
	if err := in.Decode(&plan); err != nil {
		return fmt.Errorf("read plan: %w", err)
	}
	m, err := openMember(&plan)
	if err != nil {
		return err
	}
	defer m.close()
	var addresses []string
	if err := errors.Join(out.Encode(memberHello{Address: m.listener.Addr().String()}), in.Decode(&addresses)); err != nil {
		return fmt.Errorf("exchange addresses: %w", err)
	}
	if err := m.join(ctx, addresses); err != nil {
		return err
	}
	for _, mib := range plan.MiB {
		for _, codec := range plan.Codecs {
			row, err := m.measure(ctx, mib<<18, codec)
			if err != nil {
				return fmt.Errorf("%d MiB, %s: %w", mib, codec, err)
			}
			if err := out.Encode(row); err != nil {
				return err
			}
		}
	}
	if err := in.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait for the end: %w", err)
	}
	return nil
}

// member is one end of the measured ring.
type member struct {
	plan     *memberPlan
	links    *grpclink.Server
	listener net.Listener
	server   *grpc.Server
	conn     *grpc.ClientConn
	group    *allreduce.Group
	path     string
	step     ringleader.Step
}

func openMember(plan *memberPlan) (*member, error) {
	m := &member{plan: plan, links: grpclink.NewServer()}
	m.links.Apart = plan.Path == pathUnix
	var err error
	if m.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	m.server = grpc.NewServer(append(rpcauth.Token(plan.Token).ServerOptions(), grpclink.ServerOptions()...)...)
	m.links.Register(m.server)
	go m.server.Serve(grpclink.Listen(m.listener)) // until close stops it
	if plan.Path == pathTCP {
		return m, nil
	}
	local, err := grpclink.ListenLocal(m.listener.Addr().String())
	if err == nil {
		go m.server.Serve(local)
	} else if plan.Path != pathAuto {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *member) close() {
	if m.group != nil {
		m.group.Close(nil)
	}
	if m.conn != nil {
		_ = m.conn.Close() // nothing travels on it any more
	}
	m.links.Close()
	m.server.Stop()
}

// join links the member with its neighbours.
func (m *member) join(ctx context.Context, addresses []string) (err error) {
	cfg := allreduce.DefaultConfig()
	cfg.Job, cfg.Generation, cfg.Rank, cfg.Size = 1, 1, ringleader.Rank(m.plan.Rank), m.plan.Size
	cfg.Hang = time.Minute // a member that checks 256 MiB does not beat meanwhile
	cfg.Assemble = cfg.Hang
	if cfg.Size == 1 {
		m.path = "none"
		m.group, err = allreduce.NewGroup(cfg, nil, nil)
		return err
	}
	to, from := (m.plan.Rank+1)%cfg.Size, (m.plan.Rank+cfg.Size-1)%cfg.Size
	options := append(rpcauth.Token(m.plan.Token).DialOptions(), grpclink.DialOptions()...)
	if m.plan.Path == pathTCP {
		options = append(options, grpc.WithContextDialer(grpclink.DialTCP))
	} else {
		options = append(options, grpc.WithContextDialer(grpclink.DialContext))
	}
	if m.conn, err = grpc.NewClient("passthrough:///"+addresses[to], options...); err != nil {
		return err
	}
	var next, prev allreduce.Link
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		next, err = grpclink.Dial(ctx, m.conn, grpclink.Hello{Job: cfg.Job, Generation: cfg.Generation, From: cfg.Rank})
		return err
	})
	both.Go(func() (err error) {
		prev, err = m.links.Accept(ctx, cfg.Job, cfg.Generation, ringleader.Rank(from))
		return err
	})
	if err := both.Wait(); err != nil {
		return err
	}
	m.path = grpclink.Path(next)
	m.group, err = allreduce.NewGroup(cfg, next, prev)
	return err
}

// measure sums vectors of n elements.
func (m *member) measure(ctx context.Context, n int, name string) (*memberRow, error) {
	c, err := openCodec(name, n, m.plan.Size)
	if err != nil {
		return nil, err
	}
	defer c.close()
	row := &memberRow{Path: m.path}
	x := make([]float32, n)
	for round := range m.plan.Rounds + 1 {
		for i := range x {
			x[i] = element(m.plan.Rank, i)
		}
		c.load(x)
		m.step++
		if err := m.group.Barrier(ctx, m.step); err != nil {
			return nil, err
		}
		before, began := cpuTime(), time.Now()
		if err := c.sum(ctx, m.group, m.step); err != nil {
			return nil, err
		}
		wall, cpu := time.Since(began).Seconds(), (cpuTime() - before).Seconds()
		if round > 0 {
			row.Seconds, row.CPU = append(row.Seconds, wall), append(row.CPU, cpu)
		}
		c.unload(x)
		worst := worstOf(x, m.plan.Size)
		if worst > c.bound(m.plan.Size) {
			return nil, fmt.Errorf("round %d: an element is %g from the true sum, want at most %g", round, worst, c.bound(m.plan.Size))
		}
		row.Error = max(row.Error, worst)
	}
	return row, nil
}

// element is what a rank puts at a place: a multiple of 2^-12 in -1/8..29/32, so that float32 holds sums of up to 64 without error.
func element(rank, i int) float32 {
	return float32(int32(uint32(i)*0x9E3779B1>>22)-512+int32(rank%8)*96) / 4096
}

// worstOf is the largest distance of x from the true sums over that many members; that of NaN is infinite.
func worstOf(x []float32, size int) float64 {
	rest := 0. // what the ranks' elements differ by
	for rank := range size {
		rest += float64(element(rank, 0) - element(0, 0))
	}
	worst := 0.
	for i, v := range x {
		d := math.Abs(float64(v) - (float64(size)*float64(element(0, i)) + rest))
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst
}
