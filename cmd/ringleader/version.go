package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/device/cpu"
)

// version is set by the linker.
var version = "dev"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, and what decides the bits of a result beside the job",
		Example: "  ringleader version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dev, err := cpu.Open(cpu.Options{})
			if err != nil {
				return err
			}
			defer func() { _ = dev.Close() }() // nothing was allocated
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ringleader %s %s\nnumerics class of this machine's CPU: %s\n", version, runtime.Version(), dev.Class())
			return err
		},
	}
}

// libraries are the versions that manifests record: what a gradient is computed with. Transport and storage cannot change a bit.
func libraries() map[string]string { return map[string]string{"go": runtime.Version()} }
