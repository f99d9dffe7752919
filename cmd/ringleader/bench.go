package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/device"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Measure training steps, sums, recovery and checkpoints on this machine",
		Example: "  ringleader bench step\n  ringleader bench train --data demo-run/data",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(benchStep(), benchTrain(), benchLoss(), benchAllreduce(), benchRecovery(), benchCheckpoint())
	return cmd
}

// benchFlags are what all benchmarks share.
type benchFlags struct {
	threads, steps int
	json           string
}

func (f *benchFlags) register(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.threads, "threads", 0, "lanes that compute shards at the same time (default: one for each CPU)")
	cmd.Flags().IntVar(&f.steps, "steps", 8, "steps that are measured, after two to warm up")
	cmd.Flags().StringVar(&f.json, "json", "", "write the report to this file; - is standard output")
}

func (f *benchFlags) check() error {
	switch {
	case f.threads < 0 || f.threads > 1<<10:
		return fmt.Errorf("--threads %d: allowed: 1 to 1024, or 0 for one a CPU", f.threads)
	case f.steps < 1 || f.steps > 1<<20:
		return fmt.Errorf("--steps %d: allowed: 1 to 1048576", f.steps)
	}
	return nil
}

// benchReport is what was measured, and on what. Times are medians over steps unless they say otherwise.
type benchReport struct {
	Workload   string `json:"workload"` // peer, a preset on synthetic data, or a data set
	DType      string `json:"dtype"`
	Threads    int    `json:"threads"`
	Shards     int    `json:"shards"`
	Users      int    `json:"users"`     // of a step
	Tokens     int    `json:"tokens"`    // of a step, mean
	Negatives  int    `json:"negatives"` // of a shard
	Parameters int    `json:"parameters"`
	Class      string `json:"class"` // numerics class
	Processor  string `json:"cpu"`
	Program    string `json:"program"`
	Steps      int    `json:"steps"` // that were measured

	StepMedian float64 `json:"step_s_median"`
	StepMin    float64 `json:"step_s_min"`
	StepMax    float64 `json:"step_s_max"`
	StepMean   float64 `json:"step_s_mean"`
	CPU        float64 `json:"cpu_s"` // user and system time of a step
	CPUMean    float64 `json:"cpu_s_mean"`
	UsersPerS  float64 `json:"users_per_s"`
	TokensPerS float64 `json:"tokens_per_s"`
	GFLOPs     float64 `json:"gflops"` // a second, by the formula of flops
	PeakRSS    float64 `json:"peak_rss_mib"`
	PeakDevice float64 `json:"peak_device_mib,omitempty"` // of a GPU's memory
	Digest     string  `json:"digest"`                    // of the state after the measured steps

	MatMul       float64 `json:"matmul_s"` // the step's matrix products alone
	MatMulCPU    float64 `json:"matmul_cpu_s"`
	MatMulGFLOPs float64 `json:"matmul_gflops"`

	Input      *benchCost  `json:"input,omitempty"` // drawing users, windows and negatives; within "outside of operators"
	Breakdown  []benchCost `json:"breakdown"`
	OutsideCPU float64     `json:"outside_cpu_s"` // of a step, in no operator
	Outside    float64     `json:"outside_share"`
}

// benchCost is what an operator takes of a step, on all lanes.
type benchCost struct {
	Operator string  `json:"operator"`
	Calls    float64 `json:"calls"`
	CPU      float64 `json:"cpu_s"`
	Share    float64 `json:"share"` // of the step's CPU seconds
}

func (r *benchReport) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "workload\t%s: %d users, %d tokens, %d parameters, %s, %d shards of %d negatives\n", r.Workload, r.Users, r.Tokens, r.Parameters, r.DType, r.Shards, r.Negatives)
	fmt.Fprintf(w, "machine\t%s, %d threads, class %s\n", r.Processor, r.Threads, r.Class)
	fmt.Fprintf(w, "step\t%.4f s (%.4f to %.4f, %d steps), %.3f CPU s\n", r.StepMedian, r.StepMin, r.StepMax, r.Steps, r.CPU)
	fmt.Fprintf(w, "speed\t%.0f users/s, %.0f tokens/s, %.1f GFLOP/s\n", r.UsersPerS, r.TokensPerS, r.GFLOPs)
	fmt.Fprintf(w, "matrix products alone\t%.4f s, %.3f CPU s, %.1f GFLOP/s\n", r.MatMul, r.MatMulCPU, r.MatMulGFLOPs)
	fmt.Fprintf(w, "peak memory\t%.0f MiB\n", r.PeakRSS)
	if r.PeakDevice > 0 {
		fmt.Fprintf(w, "peak memory of the GPU\t%.0f MiB\n", r.PeakDevice)
	}
	fmt.Fprintf(w, "state digest\t%s\n", r.Digest)
	if err := w.Flush(); err != nil {
		return err
	}
	w = tabwriter.NewWriter(to, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\noperator\tcalls\tCPU ms\tshare\t\n")
	for _, c := range r.Breakdown {
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.1f %%\t\n", c.Operator, c.Calls, 1e3*c.CPU, 100*c.Share)
	}
	fmt.Fprintf(w, "outside of operators\t\t%.2f\t%.1f %%\t\n", 1e3*r.OutsideCPU, 100*r.Outside)
	if c := r.Input; c != nil {
		fmt.Fprintf(w, "of which input\t%.0f\t%.2f\t%.1f %%\t\n", c.Calls, 1e3*c.CPU, 100*c.Share)
	}
	return w.Flush()
}

// write prints the report, and the JSON if it is wanted.
func (r *benchReport) write(cmd *cobra.Command, json string) error {
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

// processor is the CPU's name, as far as the system knows it.
func processor() string {
	if name, ok := fieldOf("/proc/cpuinfo", "model name"); ok {
		return name
	}
	return "unknown"
}

// peakRSS is the most memory that the process ever had, in MiB. getrusage would count that of whoever started it.
func peakRSS() (float64, error) {
	text, _ := fieldOf("/proc/self/status", "VmHWM")
	kib, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("read peak memory: VmHWM is %q in /proc/self/status", text)
	}
	return kib / 1024, nil
}

// peakDevice is the most memory that was allocated on the device at a time, in MiB; 0 if that is the host's.
func peakDevice(dev device.Device) float64 {
	if d, ok := dev.(interface{ Peak() int }); ok {
		return float64(d.Peak()) / (1 << 20)
	}
	return 0
}

// fieldOf is the first value of a name in a file of "name: value" lines.
func fieldOf(file, name string) (string, bool) {
	f, err := os.Open(file)
	if err != nil {
		return "", false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}
