// Package worker is the loop of one worker: it attaches to the leader, runs the generations that it is assigned,
// holds a state between them, hands it to joiners, and writes its share of checkpoints.
//
// A worker is crash-only: it may be killed at any time and keeps nothing on disk that matters. It decides nothing
// about membership; it reports what it saw and waits for a newer generation.
package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// Config is what a worker needs. The zero value of an optional field means none.
type Config struct {
	ID           ringleader.WorkerID
	Host         string // shown to people; tells members of one machine
	Coordinators []string
	Token        rpcauth.Token
	Listener     net.Listener // of the worker's own services; Run closes it
	Advertise    string       // address under which other workers reach Listener
	Dir          string       // scratch: caches of data sets
	Device       device.Device
	OpenStore    func(ctx context.Context, url string) (checkpoints.Store, error)
	Libraries    map[string]string // versions of the libraries that decide bits, for manifests
	Program      string            // version of the program, for manifests
	Log          *slog.Logger
	// Dial connects to coordinators and workers; nil: TCP. Tests of clusters in one process set it.
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	Evaluate Evaluate // nil: how.evaluate is not served
	Observer Observer // nil: Ignore
}

// Evaluate scores the parameters of a state. It runs beside training and must leave its inputs alone.
type Evaluate func(ctx context.Context, what job.What, data *dataset.Dataset, params []checkpoints.Tensor) (Evaluation, error)

// Evaluation is what the parameters are worth.
type Evaluation struct {
	Text  string  // for people
	Score float64 // the higher the better: it decides with which checkpoints are kept
}

// Observer follows a worker from inside its process.
type Observer interface {
	// Attached is called when a leader knows the worker, on every new stream; Asked when the leader wants the gang to do something after
	// its next step, Assigned when a generation was accepted and Left when it has ended. All are called by the control loop and must not wait.
	Attached()
	Asked(action rpcpb.ChangeAction)
	Assigned(Membership)
	Left(Membership)
	// Joined is called when a generation's ring stands, before its first step, Completed when an update is complete; the next step waits for
	// it to return. Both are called by the goroutine that trains.
	Joined(Membership)
	Completed(ctx context.Context, s StepReport)
}

// Ignore is an Observer that follows nothing.
type Ignore struct{}

// Attached implements Observer.
func (Ignore) Attached() {}

// Asked implements Observer.
func (Ignore) Asked(rpcpb.ChangeAction) {}

// Assigned implements Observer.
func (Ignore) Assigned(Membership) {}

// Left implements Observer.
func (Ignore) Left(Membership) {}

// Joined implements Observer.
func (Ignore) Joined(Membership) {}

// Completed implements Observer.
func (Ignore) Completed(context.Context, StepReport) {}

// Membership is the worker's place in a generation.
type Membership struct {
	Job        ringleader.JobID
	Generation ringleader.Generation
	Rank       ringleader.Rank
	Size       int
	Step       ringleader.Step // completed steps at which it starts
}

// StepReport is what every member knows about a completed step.
type StepReport struct {
	Membership
	Step    ringleader.Step // completed steps, this one included
	Loss    float64         // mean over the step's users
	Users   int64           // of this step, all shards
	Tokens  int64
	Seconds float64
	Widened bool // it took a second pass, for a shard's gradient was beyond the exponents of its blocks
}

// Validate reports every field that is missing.
func (c *Config) Validate() error {
	var errs []error
	need := func(ok bool, field string) {
		if !ok {
			errs = append(errs, fmt.Errorf("worker config: %s is not set", field))
		}
	}
	need(c.ID != "", "ID")
	need(len(c.Coordinators) > 0, "Coordinators")
	need(c.Token != "", "Token")
	need(c.Listener != nil, "Listener")
	need(c.Advertise != "", "Advertise")
	need(c.Dir != "", "Dir")
	need(c.Device != nil, "Device")
	need(c.OpenStore != nil, "OpenStore")
	need(c.Log != nil, "Log")
	return errors.Join(errs...)
}

// DeviceError is why a process cannot go on as a worker: its device failed, and one that failed once is not trusted again.
type DeviceError struct {
	Device string // its name
	Err    error
}

func (e *DeviceError) Error() string { return "device " + e.Device + ": " + e.Err.Error() }

// Unwrap is Err.
func (e *DeviceError) Unwrap() error { return e.Err }

// Run attaches and works until ctx ends; then it leaves its gang and returns nil. Any other return means that the process
// cannot go on as a worker and should exit; with a *DeviceError, whoever starts it again may have to look after the device first.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Observer == nil {
		cfg.Observer = Ignore{}
	}
	w := &agent{
		cfg:         cfg,
		incarnation: rand.Text(),
		overdue:     make(chan map[string][]string, 1),
		links:       grpclink.NewServer(),
		peers:       newPeers(cfg.Token, cfg.Dial),
	}
	w.overdue <- map[string][]string{}
	defer w.peers.close()
	defer w.drop()

	options := append(cfg.Token.ServerOptions(), grpclink.ServerOptions()...)
	server := grpc.NewServer(append(options, grpc.WaitForHandlers(true))...)
	w.links.Register(server)
	rpcpb.RegisterPeerServiceServer(server, &stateServer{agent: w})
	served := make(chan error, 1)
	go func() {
		defer close(served)
		served <- server.Serve(grpclink.Listen(cfg.Listener))
	}()
	var local sync.WaitGroup
	if l := listenLocal(&cfg); l != nil {
		local.Go(func() { _ = server.Serve(l) }) // it ends with the server
	}
	defer func() { w.links.Close(); server.Stop(); <-served; local.Wait() }()

	cl, err := client.Dial(cfg.Coordinators, cfg.Token, client.Options{Dialer: cfg.Dial})
	if err != nil {
		return err
	}
	defer func() {
		if err := cl.Close(); err != nil {
			cfg.Log.Warn("close client", "error", err)
		}
	}()
	return w.run(ctx, cl, served)
}

// listenLocal is where workers of this machine find this one; nil if TCP has to do. An address that is not the listener's own is left alone: what
// is on the way to it (a proxy, a tunnel) is there for a reason.
func listenLocal(cfg *Config) net.Listener {
	bound, isTCP := cfg.Listener.Addr().(*net.TCPAddr)
	_, port, err := net.SplitHostPort(cfg.Advertise)
	if cfg.Dial != nil || !isTCP || err != nil || port != strconv.Itoa(bound.Port) {
		return nil
	}
	l, err := grpclink.ListenLocal(cfg.Advertise)
	if err != nil {
		cfg.Log.Info("workers of this machine come over TCP", "error", err)
		return nil
	}
	return l
}

// beat proves progress: operators, the ring and the control loop advance it.
type beat = atomic.Uint64

// seconds since t, as reports carry them.
func seconds(t time.Time) float64 { return time.Since(t).Seconds() }
