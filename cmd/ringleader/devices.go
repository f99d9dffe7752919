package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/device/cpu"
	"github.com/ringleader-dev/ringleader/device/cuda"
)

// deviceNames is what --device may be.
const deviceNames = "cpu, or cuda:0, cuda:1, ... (see 'ringleader devices')" // not in backquotes: pflag takes them for the name of the value

// ownProductsUsage is what --own-products does.
const ownProductsUsage = "multiply on a GPU with kernels of this program also where cuBLASLt is there, so that unlike machines give the same bits"

// openDevice opens what --device names.
func openDevice(name, isa string, ownProducts bool, lanes int) (device.Device, error) {
	if name == "cpu" {
		if ownProducts {
			return nil, withCode(exitUsage, fmt.Errorf("--own-products: it is about GPUs; --device is %q", name))
		}
		dev, err := cpu.Open(cpu.Options{Lanes: lanes, ISA: isa})
		return dev, withCode(exitUsage, err)
	}
	ordinal, ok := cudaOrdinal(name)
	if !ok {
		return nil, withCode(exitUsage, fmt.Errorf("--device %q: allowed: %s", name, deviceNames))
	}
	if isa != "" {
		return nil, withCode(exitUsage, fmt.Errorf("--isa %q: it caps what a CPU computes with; --device is %q", isa, name))
	}
	dev, err := cuda.Open(ordinal, cuda.Options{Lanes: lanes, OwnProducts: ownProducts})
	if err != nil {
		return nil, withCode(exitUsage, fmt.Errorf("--device %q: %w", name, err))
	}
	return dev, nil
}

// cudaOrdinal is N of cuda:N; cuda alone is the first.
func cudaOrdinal(name string) (int, bool) {
	if name == "cuda" {
		return 0, true
	}
	text, ok := strings.CutPrefix(name, "cuda:")
	n, err := strconv.ParseUint(text, 10, 16)
	return int(n), ok && err == nil
}

func newDevices() *cobra.Command {
	return &cobra.Command{
		Use:     "devices",
		Short:   "List what this machine can compute on, as --device names it",
		Example: "  ringleader devices",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			dev, err := cpu.Open(cpu.Options{})
			if err != nil {
				return err
			}
			defer func() { _ = dev.Close() }() // nothing was allocated
			fmt.Fprintf(out, "%-8s %d lanes, numerics class %s\n", dev.Name(), dev.Lanes(), dev.Class())
			gpus, err := cuda.List()
			if err != nil {
				_, err = fmt.Fprintf(out, "%-8s none: %v\n", "cuda", err)
				return err
			}
			for _, g := range gpus {
				fmt.Fprintf(out, "%-8s %s, %s, %d MiB, numerics class %s, products by %s\n", g.Name, g.Model, g.Arch, g.Bytes>>20, g.Class, g.Products)
			}
			return nil
		},
	}
}
