package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/allreduce"
)

func benchAllreduce() *cobra.Command {
	o := ringOptions{}
	var json string
	cmd := &cobra.Command{
		Use:   "allreduce",
		Short: "Time sums of float32 vectors over processes on this machine",
		Long: "Each member of the ring is a process with one thread for arithmetic. What is timed is float32 to float32: conversion by the codec, the\n" +
			"ring's sum over gRPC, conversion back. Every result is compared with the true sum. A round takes as long as its slowest member;\n" +
			"CPU seconds are all members', user and system.",
		Example: "  ringleader bench allreduce --workers 2,3,4 --mib 1,16,64 --codec float32 --codec exact64\n" +
			"  ringleader bench allreduce --workers 2 --mib 64 --path tcp --json allreduce.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return withCode(exitUsage, err)
			}
			r, err := o.run(cmd.Context())
			if err != nil {
				return err
			}
			return r.write(cmd, json)
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&o.workers, "workers", []int{2, 3, 4}, "sizes of the ring")
	f.IntSliceVar(&o.mib, "mib", []int{1, 16, 64, 256}, "sizes of the vector, MiB of float32")
	f.StringSliceVar(&o.codecs, "codec", []string{"float32"}, "how elements travel: "+strings.Join(codecNames(), ", "))
	f.StringVar(&o.path, "path", pathAuto, "what payloads travel through: "+strings.Join(paths(), ", ")+" (auto: what workers of one machine choose)")
	f.IntVar(&o.rounds, "rounds", 9, "sums that are timed, after one to warm up")
	f.StringVar(&json, "json", "", "write the report to this file; - is standard output")
	cmd.AddCommand(benchMember())
	return cmd
}

// ringOptions say what is measured.
type ringOptions struct {
	workers, mib []int
	codecs       []string
	path         string
	rounds       int
}

func (o *ringOptions) check() error {
	var errs []error
	for _, n := range o.workers {
		if n < 1 || n > 64 {
			errs = append(errs, fmt.Errorf("--workers %d: allowed: 1 to 64", n))
		}
	}
	for _, m := range o.mib {
		if m < 1 || m > 4096 {
			errs = append(errs, fmt.Errorf("--mib %d: allowed: 1 to 4096", m))
		}
	}
	for _, c := range o.codecs {
		if !slices.Contains(codecNames(), c) {
			errs = append(errs, fmt.Errorf("--codec %q: allowed: %s", c, strings.Join(codecNames(), ", ")))
		}
	}
	if !slices.Contains(paths(), o.path) {
		errs = append(errs, fmt.Errorf("--path %q: allowed: %s", o.path, strings.Join(paths(), ", ")))
	}
	if o.rounds < 1 || o.rounds > 1<<16 {
		errs = append(errs, fmt.Errorf("--rounds %d: allowed: 1 to 65536", o.rounds))
	}
	return errors.Join(errs...)
}

// ringReport is what was measured, and on what.
type ringReport struct {
	Processor string    `json:"cpu"`
	Program   string    `json:"program"`
	Chunk     int       `json:"chunk_bytes"`
	Rows      []ringRow `json:"rows"`
}

// ringRow is one size of ring and vector by one codec.
type ringRow struct {
	Workers int     `json:"workers"`
	MiB     int     `json:"mib"` // of float32
	Codec   string  `json:"codec"`
	Path    string  `json:"path"` // memory, unix or tcp; none in a ring of one
	Rounds  int     `json:"rounds"`
	Median  float64 `json:"median_s"`
	Min     float64 `json:"min_s"`
	Max     float64 `json:"max_s"`
	CPU     float64 `json:"cpu_s"`              // of all members, median
	PerCPU  float64 `json:"cpu_ns_per_element"` // the same, by element
	Error   float64 `json:"max_error"`          // of a member's element against the true sum
}

// run measures one ring after another; the members of one ring measure all of its rows.
func (o *ringOptions) run(ctx context.Context) (*ringReport, error) {
	r := &ringReport{Processor: processor(), Program: version, Chunk: allreduce.DefaultConfig().ChunkBytes}
	for _, n := range o.workers {
		rows, err := o.ring(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("ring of %d: %w", n, err)
		}
		r.Rows = append(r.Rows, rows...)
	}
	return r, nil
}

func (r *ringReport) write(cmd *cobra.Command, json string) error {
	if json != "" {
		if err := writeJSON(cmd.OutOrStdout(), json, r); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if json == "-" {
		return nil
	}
	return r.print(cmd.OutOrStdout())
}

func (r *ringReport) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "workers\tMiB\tcodec\tpath\tmedian\tmin\tmax\tCPU s\tCPU ns/element\tmax error\t\n")
	for _, x := range r.Rows {
		d := func(s float64) time.Duration { return time.Duration(s * 1e9).Round(10 * time.Microsecond) }
		fmt.Fprintf(w, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%.3f\t%.3f\t%.3g\t\n", x.Workers, x.MiB, x.Codec, x.Path, d(x.Median), d(x.Min), d(x.Max), x.CPU, x.PerCPU, x.Error)
	}
	return w.Flush()
}
