// Command ringleader is the one binary: coordinator, worker, command line. One sub-command a file; only here are
// implementations of the seams chosen, and only here is the environment read.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Exit codes, documented in docs/exit-codes.md.
const (
	exitOK          = 0
	exitFailed      = 1 // the command did its work and the answer is no: a fault without effect, digests differ, a job failed
	exitUsage       = 2 // wrong flags or arguments
	exitInput       = 3 // a job file, data set or checkpoint that is wrong
	exitUnreachable = 4 // coordinators, a store or a worker could not be reached
	exitDevice      = 5 // a worker's device failed
	exitInterrupted = 130
)

// exitError gives an error its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code, err}
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	// One line on stderr, whatever was joined into the error.
	fmt.Fprintln(os.Stderr, "ringleader:", strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	return exitCode(ctx, err)
}

// exitCode is what an error ends the program with. Whatever an interrupt breaks on its way, it is the interrupt that counts.
func exitCode(ctx context.Context, err error) int {
	var coded *exitError
	switch {
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled):
		return exitInterrupted
	case errors.As(err, &coded):
		return coded.code
	case ctx.Err() != nil:
		return exitInterrupted
	case strings.HasPrefix(err.Error(), "required flag(s)"), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage // the library has no type for them
	}
	return exitFailed
}

// answered gives an error of the coordinators' its exit code: they refuse what is wrong, or cannot be reached.
func answered(err error) error {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.Unauthenticated, codes.PermissionDenied:
		return withCode(exitInput, err)
	case codes.ResourceExhausted, codes.DataLoss:
		return err
	}
	return withCode(exitUnreachable, err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "ringleader",
		Short:         "Train user-sequence models on an elastic gang of workers; the bits depend on the job, never on the cluster",
		SilenceErrors: true,
		SilenceUsage:  true,
		Example:       "  ringleader demo\n  ringleader local --job job.yaml --dir run --workers 2\n  ringleader job submit job.yaml --wait",
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return withCode(exitUsage, err) })
	root.AddCommand(
		newDemo(), newLocal(), newChaos(),
		newData(), newJob(), newCheckpoint(), newEvaluate(), newEmbed(), newReproduce(), newBench(),
		newCoordinator(), newWorker(), newDevices(), newVersion(),
	)
	usageErrors(root)
	return root
}

// usageErrors makes wrong positional arguments exit like wrong flags, and say what is right.
func usageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err == nil {
				return nil
			}
			return withCode(exitUsage, fmt.Errorf("%w; %s", err, advice(cmd, args)))
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// advice is for whoever gave a command wrong arguments.
func advice(cmd *cobra.Command, args []string) string {
	if !cmd.HasSubCommands() {
		return "usage: " + cmd.UseLine()
	}
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		return "did you mean " + strings.Join(like, " or ") + "?"
	}
	return "see " + cmd.CommandPath() + " --help"
}
