package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// coordinatorJSON is a line of coordinator list.
type coordinatorJSON struct {
	Address string `json:"address"`
	State   string `json:"state"` // leads, follows; listens: it has no vote yet; waits: it is no member yet; away: it does not answer
	Index   uint64 `json:"index"` // of the last entry of the log that it has applied
	ID      string `json:"id,omitempty"`
	Error   string `json:"error,omitempty"` // why it is away
}

func coordinatorList() *cobra.Command {
	var cluster clusterFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the coordinators of a cluster, and which of them leads", Args: cobra.NoArgs,
		Long:    "Each of --coordinators and each that they name is asked, so that this answers also when none leads; then the exit code is 4.",
		Example: "  ringleader coordinator list --coordinators 127.0.0.1:7600,127.0.0.1:7601,127.0.0.1:7602",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(&cluster, func(cl *client.Client) error {
				list, err := listCoordinators(cmd.Context(), cl, cluster.coordinators)
				if err != nil {
					return err
				}
				if asJSON {
					err = writeJSON(cmd.OutOrStdout(), "-", list)
				} else {
					t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
					fmt.Fprintln(t, "ADDRESS\tSTATE\tINDEX\tID")
					for _, c := range list {
						fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", c.Address, c.State, c.Index, cmp.Or(c.ID, c.Error))
					}
					err = t.Flush()
				}
				if err == nil && !slices.ContainsFunc(list, func(c coordinatorJSON) bool { return c.State == "leads" }) {
					err = withCode(exitUnreachable, errors.New("no coordinator leads; a majority of them must be up and reach one another"))
				}
				return err
			})
		},
	}
	cluster.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the list as JSON")
	return cmd
}

func coordinatorRemove() *cobra.Command {
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use: "remove ADDRESS", Short: "Take a coordinator out of its cluster that will not come back", Args: cobra.ExactArgs(1),
		Long: "A coordinator that is gone still counts in every majority until it is removed. One that comes back empty at its old address replaces itself\n" +
			"and need not be removed. The coordinator must be stopped.",
		Example: "  ringleader coordinator remove 127.0.0.1:7602",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(&cluster, func(cl *client.Client) error {
				if err := cl.RemoveCoordinator(cmd.Context(), args[0]); err != nil {
					return answered(err)
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is removed\n", args[0])
				return err
			})
		},
	}
	cluster.register(cmd)
	return cmd
}

// listCoordinators asks all that are known, and those whom they name, by address. An error is a cluster that refuses to answer.
func listCoordinators(ctx context.Context, cl *client.Client, known []string) ([]coordinatorJSON, error) {
	answers := map[string]*rpcpb.ClusterResponse{}
	problems := map[string]error{}
	for ask := slices.Clone(known); len(ask) > 0; {
		askAll(ctx, cl, ask, answers, problems)
		ask = nil
		for _, r := range answers {
			for _, n := range r.Coordinators {
				if answers[n.Address] == nil && problems[n.Address] == nil && !slices.Contains(ask, n.Address) {
					ask = append(ask, n.Address)
				}
			}
		}
	}
	var list []coordinatorJSON
	for address, r := range answers {
		list = append(list, coordinatorJSON{Address: address, State: coordinatorState(r), Index: r.AppliedIndex, ID: r.SelfId})
	}
	for address, err := range problems {
		if c := status.Code(err); c == codes.Unauthenticated || ctx.Err() != nil {
			return nil, answered(err)
		}
		list = append(list, coordinatorJSON{Address: address, State: "away", Error: strings.TrimPrefix(err.Error(), "describe cluster at "+address+": ")})
	}
	slices.SortFunc(list, func(a, b coordinatorJSON) int { return cmp.Compare(a.Address, b.Address) })
	return list, nil
}

// askAll asks coordinators at the same time: one that does not answer takes its time.
func askAll(ctx context.Context, cl *client.Client, addresses []string, answers map[string]*rpcpb.ClusterResponse, problems map[string]error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, address := range addresses {
		all.Go(func() {
			r, err := cl.ClusterAt(ctx, address)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				problems[address] = err
			} else {
				answers[address] = r
			}
		})
	}
	all.Wait()
}

func coordinatorState(r *rpcpb.ClusterResponse) string {
	at := slices.IndexFunc(r.Coordinators, func(n *rpcpb.CoordinatorInfo) bool { return n.Id == r.SelfId })
	switch {
	case at < 0:
		return "waits"
	case r.LeaderId == r.SelfId:
		return "leads"
	case !r.Coordinators[at].Voter:
		return "listens"
	}
	return "follows"
}
