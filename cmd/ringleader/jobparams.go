package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/model"
)

func jobParams() *cobra.Command {
	var flags jobFlags
	cmd := &cobra.Command{
		Use: "params FILE", Short: "List the parameters that a job's model has on its data set, by part of the network", Args: cobra.ExactArgs(1),
		Example: "  ringleader job params job.yaml\n  ringleader job params job.yaml --set what.model.preset=pinnerformer",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, m, err := flags.load(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			printNotes(cmd.OutOrStdout(), m.Notes())
			return printParams(cmd.OutOrStdout(), m)
		},
	}
	flags.register(cmd)
	return cmd
}

// printParams shows groups with their tensors; one that is shaped like the group before it, with its name alone.
func printParams(w io.Writer, m *model.Model) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "PART\tSHAPE\tPARAMETERS")
	var before []model.Tensor
	for _, g := range m.Groups() {
		alike := slices.EqualFunc(g.Tensors, before, func(a, b model.Tensor) bool { return slices.Equal(a.Shape, b.Shape) })
		before = g.Tensors
		if alike {
			fmt.Fprintf(t, "%s\tas before\t%s\n", g.Name, grouped(g.Parameters))
			continue
		}
		fmt.Fprintf(t, "%s\t\t%s\n", g.Name, grouped(g.Parameters))
		for _, x := range g.Tensors {
			fmt.Fprintf(t, "  %s\t%s\t  %s\n", x.Name, strings.Trim(strings.ReplaceAll(fmt.Sprint(x.Shape), " ", " x "), "[]"), grouped(x.Len()))
		}
	}
	fmt.Fprintf(t, "total\t\t%s\n", grouped(m.Size()))
	return t.Flush()
}

// grouped writes a number with commas between thousands.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
