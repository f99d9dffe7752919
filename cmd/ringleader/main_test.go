package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

func TestMain(m *testing.M) {
	// A benchmark starts the program that it is part of: here, this one.
	if slices.Equal(os.Args[1:], memberArgs) {
		os.Exit(run(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// TestHelp: every command says what it does and shows how it is called, with flags that it has.
func TestHelp(t *testing.T) {
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		if c.Short == "" || !strings.Contains(c.Example, "  ringleader ") {
			t.Errorf("%s: short help %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		for line := range strings.Lines(c.Example) {
			for _, word := range strings.Fields(line) {
				name, isFlag := strings.CutPrefix(word, "--")
				if isFlag && strings.HasPrefix(strings.TrimSpace(line), c.CommandPath()+" ") && len(c.Commands()) == 0 && c.Flags().Lookup(name) == nil {
					t.Errorf("%s: the example uses --%s, which it does not have", c.CommandPath(), name)
				}
			}
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(newRoot())
}

func TestExitCode(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	usage := func(args ...string) error {
		root := newRoot()
		root.SetArgs(args)
		return root.ExecuteContext(t.Context())
	}
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"plain", t.Context(), errors.New("no"), exitFailed},
		{"coded, joined and wrapped", t.Context(), fmt.Errorf("x: %w", errors.Join(withCode(exitInput, errors.New("no")), errors.New("more"))), exitInput},
		{"interrupted", interrupted, errors.New("no"), exitInterrupted},
		{"a coded error that the interrupt caused", interrupted, withCode(exitUnreachable, fmt.Errorf("watch: %w", context.Canceled)), exitInterrupted},
		{"a call that the interrupt cut off", interrupted, answered(status.Error(codes.Canceled, "x")), exitInterrupted},
		{"a coded error beside the interrupt", interrupted, withCode(exitInput, errors.New("no")), exitInput},
		{"no leader", t.Context(), answered(client.ErrNoLeader), exitUnreachable},
		{"refused by the leader", t.Context(), answered(fmt.Errorf("get job: %w", status.Error(codes.NotFound, "x"))), exitInput},
		{"unknown command", t.Context(), usage("bogus"), exitUsage},
		{"unknown sub-command", t.Context(), usage("job", "bogus"), exitUsage},
		{"unknown flag", t.Context(), usage("local", "--bogus"), exitUsage},
		{"missing flag", t.Context(), usage("local", "--job", "x"), exitUsage},
		{"missing argument", t.Context(), usage("job", "show"), exitUsage},
	} {
		if got := exitCode(c.ctx, c.err); got != c.want {
			t.Errorf("%s (%v): exit code %d, want %d", c.name, c.err, got, c.want)
		}
	}
}

func TestAdvertised(t *testing.T) {
	for _, c := range []struct {
		asked string
		bound net.IP
		want  string // empty: refused
	}{
		{"", net.IPv4(127, 0, 0, 1), "127.0.0.1:7"},
		{"host:9", net.IPv4zero, "host:9"},
		{"", net.IPv4zero, ""},
		{"", net.IPv6zero, ""},
		{"host", net.IPv4(127, 0, 0, 1), ""},
		{":9", net.IPv4(127, 0, 0, 1), ""},
	} {
		if got, err := advertised(c.asked, &net.TCPAddr{IP: c.bound, Port: 7}); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("--advertise %q, bound to %v: %q, %v; want %q", c.asked, c.bound, got, err, c.want)
		}
	}
}

func TestStepOf(t *testing.T) {
	for want, j := range map[string]*rpcpb.JobInfo{
		"3/10":  {Steps: 10, Progress: &rpcpb.Progress{Step: 3}},
		"0/10":  {Steps: 10},
		"10/10": {Steps: 10, Checkpoints: []*rpcpb.CheckpointInfo{{Step: 10}}}, // resumed at its end
		"7":     {Progress: &rpcpb.Progress{Step: 7}},                          // epochs
	} {
		if got := stepOf(j, "/"); got != want {
			t.Errorf("%v: %q, want %q", j, got, want)
		}
	}
}
