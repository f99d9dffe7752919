package main

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

func workerList() *cobra.Command {
	var cluster clusterFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the workers that a cluster knows", Example: "  ringleader worker list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(&cluster, func(cl *client.Client) error {
				info, err := cl.Cluster(cmd.Context())
				if err != nil {
					return answered(err)
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), "-", workersAsJSON(info.Workers))
				}
				t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
				fmt.Fprintln(t, "WORKER\tSTATE\tJOB\tHOST\tADDRESS\tDEVICE\tNUMERICS CLASS")
				for _, w := range info.Workers {
					fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", w.Id, workerState(w), w.JobId, w.Host, w.Address, w.Device, w.NumericsClass)
				}
				return t.Flush()
			})
		},
	}
	cluster.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return cmd
}

func workerState(w *rpcpb.WorkerInfo) string {
	switch {
	case !w.Attached:
		return "away"
	case w.Draining:
		return "draining"
	case w.JobId != "":
		return "training"
	}
	return "idle"
}

func workerDrain() *cobra.Command {
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use: "drain ID", Short: "Have a worker leave its gang after its step, and end", Args: cobra.ExactArgs(1),
		Long: "The worker leaves after the step that it is at, hands the state on to whoever needs it, and its process ends with exit code 0, as after SIGTERM. The others go on\n" +
			"without it; a gang that becomes smaller than how.workers.min waits. The command ends when the worker has gone.",
		Example: "  ringleader worker drain w-abcdefghij",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(&cluster, func(cl *client.Client) error {
				if err := drainWorker(cmd.Context(), cl, args[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s has left\n", args[0])
				return err
			})
		},
	}
	cluster.register(cmd)
	cmd.ValidArgsFunction = completeID(&cluster, attachedWorkers)
	return cmd
}

// drainWorker asks again until the worker has gone: a leader may fall before it has told it.
func drainWorker(ctx context.Context, cl *client.Client, id string) error {
	for asked := false; ; asked = true {
		err := cl.Drain(ctx, id)
		if status.Code(err) == codes.NotFound && asked {
			return nil
		}
		if status.Code(err) == codes.NotFound {
			err = fmt.Errorf("%w; %s", err, knownWorkers(ctx, cl))
		}
		if err != nil {
			return answered(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// knownWorkers tells whoever mistyped a name which there are.
func knownWorkers(ctx context.Context, cl *client.Client) string {
	ids, err := attachedWorkers(ctx, cl)
	if err != nil {
		return err.Error()
	}
	slices.Sort(ids)
	return fmt.Sprintf("attached are %v", ids)
}

func attachedWorkers(ctx context.Context, cl *client.Client) (ids []string, err error) {
	info, err := cl.Cluster(ctx)
	for _, w := range info.GetWorkers() {
		if w.Attached {
			ids = append(ids, w.Id)
		}
	}
	return ids, err
}
