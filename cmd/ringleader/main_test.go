package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
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
		{"port in use", t.Context(), usage("coordinator", "--data-dir", filepath.Join(t.TempDir(), "c"), "--bind", taken(t), "--token-file", tokenFile(t)), exitInput},
		{"directory that is a file", t.Context(), usage("coordinator", "--data-dir", tokenFile(t), "--bind", "127.0.0.1:0", "--token-file", tokenFile(t)), exitInput},
	} {
		if got := exitCode(c.ctx, c.err); got != c.want {
			t.Errorf("%s (%v): exit code %d, want %d", c.name, c.err, got, c.want)
		}
	}
}

// taken is an address that somebody listens on.
func taken(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	t.Cleanup(func() { noError(t, l.Close()) })
	return l.Addr().String()
}

func tokenFile(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "token")
	noError(t, os.WriteFile(file, []byte("0123456789abcdef"), 0o600))
	return file
}

// TestUsage: who mistypes is told what was meant, or how the command is called.
func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"jobs", `unknown command "jobs" for "ringleader"; did you mean job?`},
		{"job shwo x", `unknown command "shwo" for "ringleader job"; did you mean show?`},
		{"worker drian", `unknown command "drian" for "ringleader worker"; did you mean drain?`},
		{"frobnicate", `unknown command "frobnicate" for "ringleader"; see ringleader --help`},
		{"job show", "accepts 1 arg(s), received 0; usage: ringleader job show ID [flags]"},
		{"version 1", `unknown command "1" for "ringleader version"; usage: ringleader version [flags]`},
	} {
		if _, err := command(t, strings.Fields(c.args)...); err == nil || err.Error() != c.want || exitCode(t.Context(), err) != exitUsage {
			t.Errorf("ringleader %s: %v; want %s", c.args, err, c.want)
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
		"10/10": {Steps: 10, Checkpoints: []*rpcpb.CheckpointInfo{{Step: 10}}},                                                         // resumed at its end
		"5/10":  {Steps: 10, Progress: &rpcpb.Progress{Step: 3}, Generations: []*rpcpb.GenerationInfo{{FirstStep: 2}, {FirstStep: 5}}}, // nothing heard of the newest yet
		"7":     {Progress: &rpcpb.Progress{Step: 7}},                                                                                  // epochs
	} {
		if got := stepOf(j, "/"); got != want {
			t.Errorf("%v: %q, want %q", j, got, want)
		}
	}
}
