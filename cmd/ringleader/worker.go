package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/device/cuda"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/worker"
)

func newWorker() *cobra.Command {
	var cluster clusterFlags
	var o struct {
		dir, cache, id, device, bind, advertise, isa string
		lanes                                        int
		insecure, supervised, troubled, ownProducts  bool
		hold                                         []int64
		wire                                         string
	}
	cmd := &cobra.Command{
		Use:     "worker",
		Short:   "Run one worker",
		Example: "  ringleader worker --coordinators 127.0.0.1:7600,127.0.0.1:7601,127.0.0.1:7602 --device cpu --dir /var/lib/ringleader-worker --token-file token",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			token, err := cluster.token()
			if err != nil {
				return err
			}
			if err := client.CheckAddresses(cluster.coordinators); err != nil {
				return withCode(exitUsage, fmt.Errorf("--coordinators: %w", err))
			}
			if err := rpcauth.CheckBind("--bind", o.bind, o.insecure); err != nil {
				return withCode(exitUsage, err)
			}
			if err := os.MkdirAll(o.dir, 0o755); err != nil {
				return withCode(exitInput, fmt.Errorf("--dir: %w", err))
			}
			if o.id == "" {
				if o.id, err = workerID(o.dir); err != nil {
					return err
				}
			}
			dev, err := openDevice(o.device, o.isa, o.ownProducts, o.lanes)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, dev.Close()) }()
			cfg := worker.Config{OpenStore: openStore, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
			if products := cuda.Products(dev); products != "" {
				cfg.Log.Info("device", "name", dev.Name(), "class", dev.Class(), "products", products)
			}
			var made *troubles
			listen := func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
			if o.troubled {
				made = &troubles{memory: newMemory(dev)}
				dev, listen, cfg.Dial, cfg.OpenStore = made.memory, made.net.Listen, made.net.Dial, made.openStore
			}
			listener, err := listen(o.bind)
			if err != nil {
				return withCode(exitInput, fmt.Errorf("--bind %s: %w", o.bind, err))
			}
			if o.advertise, err = advertised(o.advertise, listener.Addr()); err != nil {
				return withCode(exitUsage, err)
			}
			host, err := os.Hostname()
			if err != nil {
				return err
			}
			if o.cache == "" {
				o.cache = o.dir
			}
			cfg.ID, cfg.Host, cfg.Coordinators, cfg.Token = ringleader.WorkerID(o.id), host, cluster.coordinators, token
			cfg.Listener, cfg.Advertise, cfg.Dir, cfg.Device = listener, o.advertise, o.cache, dev
			cfg.Evaluate, cfg.Libraries, cfg.Program = evaluateBeside(dev), libraries(), version
			ctx := cmd.Context()
			if o.supervised {
				s := newSupervised(ctx, os.Stdin, os.Stdout, o.hold, made)
				defer s.stop()
				cfg.Observer, ctx = s, s.ctx
			}
			if o.wire != "" {
				cfg.Dial = throughWire(o.wire)
			}
			err = worker.Run(ctx, cfg)
			switch {
			case errors.As(err, new(*worker.DeviceError)):
				err = withCode(exitDevice, err)
			case status.Code(err) != codes.Unknown: // the coordinators refuse it: its token is wrong
				err = answered(err)
			}
			return err
		},
	}
	cmd.AddCommand(workerList(), workerDrain())
	f := cmd.Flags()
	cluster.register(cmd)
	f.StringVar(&o.device, "device", "cpu", "what to compute on: "+deviceNames)
	f.StringVar(&o.dir, "dir", "", "directory for the worker's identity and caches (required)")
	f.StringVar(&o.cache, "cache", "", "directory for caches of data sets, may be shared by the workers of a machine (default: --dir)")
	f.StringVar(&o.id, "id", "", "name of this worker (default: random, kept in --dir)")
	f.StringVar(&o.bind, "bind", "127.0.0.1:0", "address to listen on for other workers")
	f.StringVar(&o.advertise, "advertise", "", "address under which other workers reach this one (default: the bound one)")
	f.StringVar(&o.isa, "isa", "", "cap on the instruction set, so that unlike machines give the same bits: avx2, avx512, avx512_bf16, amx (default: the best there is)")
	f.BoolVar(&o.ownProducts, "own-products", false, ownProductsUsage)
	f.IntVar(&o.lanes, "lanes", 0, "shards computed at a time (default: one for each CPU)")
	f.BoolVar(&o.insecure, "insecure", false, "allow addresses beyond loopback although traffic is not encrypted")
	f.BoolVar(&o.supervised, "supervised", false, "")
	f.BoolVar(&o.troubled, "troubled", false, "")
	f.Int64SliceVar(&o.hold, "hold", nil, "")
	f.StringVar(&o.wire, "wire", "", "")
	hide(cmd, "wire")
	hide(cmd, "supervised")
	hide(cmd, "troubled")
	hide(cmd, "hold")
	must(cmd.MarkFlagRequired("dir"))
	return cmd
}

// advertised is the address that others are told: the bound one, unless that is no address of this machine in particular.
func advertised(asked string, bound net.Addr) (string, error) {
	if asked != "" {
		if host, port, err := net.SplitHostPort(asked); err != nil || host == "" || port == "" {
			return "", fmt.Errorf("--advertise %q: allowed: HOST:PORT", asked)
		}
		return asked, nil
	}
	if tcp, ok := bound.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return "", fmt.Errorf("--bind %s is every address of this machine: --advertise must say HOST:PORT at which others reach it", bound)
	}
	return bound.String(), nil
}

// workerID reads the worker's name from its directory, or chooses one and keeps it there.
func workerID(dir string) (string, error) {
	path := filepath.Join(dir, "id")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := "w-" + strings.ToLower(rand.Text()[:10])
		return id, atomicfile.WriteFile(path, []byte(id+"\n"), 0o644)
	}
	if err != nil {
		return "", fmt.Errorf("read worker's name: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if id == "" {
		return "", fmt.Errorf("worker's name in %s is empty; remove the file to get a new one", path)
	}
	return id, nil
}
