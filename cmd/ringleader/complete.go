package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/coordinator/client"
)

// completionLimit bounds how long a shell waits for names at the press of a key.
const completionLimit = 2 * time.Second

// completeID offers a shell the ids that a cluster knows, for a command that takes one. Without an answer it offers nothing: a file would be wrong.
func completeID(cluster *clusterFlags, list func(context.Context, *client.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (ids []cobra.Completion, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
		defer cancel()
		err := withClient(cluster, func(cl *client.Client) (err error) {
			ids, err = list(ctx, cl)
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

// jobIDs are those of all jobs that are remembered, with their names.
func jobIDs(ctx context.Context, cl *client.Client) (ids []string, err error) {
	jobs, err := cl.List(ctx)
	for _, j := range jobs {
		ids = append(ids, j.Id+"\t"+j.Name+", "+stateName(j.State))
	}
	return ids, err
}
