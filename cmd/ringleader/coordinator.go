package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/coordinator"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
)

// clusterFlags are what every process of a cluster, and every client of one, is told.
type clusterFlags struct {
	coordinators []string
	tokenFile    string
}

func (f *clusterFlags) register(cmd *cobra.Command) {
	addresses := []string{"127.0.0.1:7600"}
	if set := os.Getenv("RINGLEADER_COORDINATORS"); set != "" {
		addresses = strings.Split(set, ",")
	}
	cmd.Flags().StringSliceVar(&f.coordinators, "coordinators", addresses, "addresses of the coordinators, HOST:PORT,...; $RINGLEADER_COORDINATORS unless given")
	f.registerToken(cmd)
}

func (f *clusterFlags) registerToken(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.tokenFile, "token-file", defaultTokenFile(), "file with the cluster's token, at least 16 characters; $RINGLEADER_TOKEN_FILE unless given")
}

func (f *clusterFlags) token() (rpcauth.Token, error) {
	t, err := rpcauth.ReadToken(f.tokenFile)
	return t, withCode(exitInput, err)
}

func defaultTokenFile() string {
	if set := os.Getenv("RINGLEADER_TOKEN_FILE"); set != "" {
		return set
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "ringleader-token"
	}
	return filepath.Join(dir, "ringleader", "token")
}

func newCoordinator() *cobra.Command {
	cfg := coordinator.DefaultConfig()
	var cluster clusterFlags
	var supervised, troubled, join bool
	cmd := &cobra.Command{
		Use:   "coordinator",
		Short: "Run one coordinator of a cluster of 1, 3 or 5",
		Example: "  ringleader coordinator --data-dir /var/lib/ringleader --bind 127.0.0.1:7600 --advertise 127.0.0.1:7600 \\\n" +
			"      --peers 127.0.0.1:7600,127.0.0.1:7601,127.0.0.1:7602 --token-file token",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := cluster.token()
			if err != nil {
				return err
			}
			if host, _, err := net.SplitHostPort(cfg.Bind); err == nil && cfg.Advertise == "" && (host == "" || net.ParseIP(host).IsUnspecified()) {
				return withCode(exitUsage, fmt.Errorf("--bind %s is every address of this machine: --advertise must say HOST:PORT at which others reach it", cfg.Bind))
			}
			if join && len(cfg.Peers) == 0 {
				return withCode(exitUsage, errors.New("--join: --peers must name coordinators of the running cluster"))
			}
			if cfg.Token = token; join {
				cfg.Peers, cfg.Join = nil, cfg.Peers
			}
			cfg.Raft.Election, cfg.Raft.Lease = cfg.Raft.Heartbeat, cfg.Raft.Heartbeat
			if err := cfg.Validate(); err != nil {
				return withCode(exitUsage, err)
			}
			cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
			var made *troubles
			if troubled {
				made = &troubles{}
				cfg.Listen, cfg.Dial, cfg.Now = made.net.Listen, made.net.Dial, made.now
			}
			ctx := cmd.Context()
			if supervised {
				s := newSupervised(ctx, os.Stdin, os.Stdout, nil, made)
				defer s.stop()
				ctx = s.ctx
			}
			node, err := coordinator.Start(cfg)
			if err != nil {
				return withCode(exitInput, err) // the address or the directory
			}
			select {
			case <-ctx.Done():
			case <-node.Done():
			}
			return node.Close()
		},
	}
	cmd.AddCommand(coordinatorList(), coordinatorRemove())
	f := cmd.Flags()
	f.StringVar(&cfg.Dir, "data-dir", "", "directory of this node's log and snapshots (required); an empty one is a new node")
	f.StringVar(&cfg.Bind, "bind", cfg.Bind, "address to listen on, for services and Raft alike")
	f.StringVar(&cfg.Advertise, "advertise", "", "address under which the others reach this node (default: --bind)")
	f.StringSliceVar(&cfg.Peers, "peers", nil, "addresses of all initial coordinators, this one included; with --join, of running ones (default: a cluster of one)")
	f.BoolVar(&join, "join", false, "join the running cluster of --peers as a new node")
	f.DurationVar(&cfg.Raft.Heartbeat, "raft-heartbeat", cfg.Raft.Heartbeat, "how long the leader may be silent before others stand for election; more for slow networks and busy machines")
	f.BoolVar(&cfg.Insecure, "insecure", false, "allow addresses beyond loopback although traffic is not encrypted")
	f.BoolVar(&supervised, "supervised", false, "")
	f.BoolVar(&troubled, "troubled", false, "")
	cluster.registerToken(cmd)
	hide(cmd, "supervised")
	hide(cmd, "troubled")
	must(cmd.MarkFlagRequired("data-dir"))
	return cmd
}

// hide keeps a flag that only ringleader itself uses out of the help.
func hide(cmd *cobra.Command, flag string) { must(cmd.Flags().MarkHidden(flag)) }

// must is for mistakes in the program text: a flag that does not exist.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
