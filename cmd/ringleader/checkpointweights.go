package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/internal/atomicfile"
	"github.com/ringleader-dev/ringleader/job"
)

func checkpointExport() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "export URL", Short: "Write a checkpoint's parameters to one safetensors file", Args: cobra.ExactArgs(1),
		Long:    "The file has the parameters alone, float32, under the model's names: what other programs read, and checkpoint import.",
		Example: "  ringleader checkpoint export demo-run --out model.safetensors",
		RunE: func(cmd *cobra.Command, args []string) error {
			st, _, where, err := loadCheckpoint(cmd.Context(), args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			err = atomicfile.Write(out, 0o644, true, func(w io.Writer) error { return checkpoints.WriteWeights(w, st.Params) })
			if err != nil {
				return withCode(exitInput, fmt.Errorf("--out: %w", err))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d tensors of step %d, from %s\n", out, len(st.Params), st.Step, where)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write (required); it must not be there yet")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func checkpointImport() *cobra.Command {
	var flags jobFlags
	var file, out string
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Make a safetensors file's parameters the start of a job", Args: cobra.ExactArgs(1),
		Long: "FILE has all parameters of the job's model (ringleader job params lists them), float32, in any order. The checkpoint is at step 0,\n" +
			"nothing is trained and the moments are zero: the job begins with --resume, and its whole schedule is ahead.",
		Example: "  ringleader checkpoint import model.safetensors --job job.yaml --out s3://bucket/start\n" +
			"  ringleader local --job job.yaml --dir run --resume s3://bucket/start",
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, m, err := flags.load(cmd.Context(), file)
			if err != nil {
				return err
			}
			var model []checkpoints.Tensor
			for _, t := range m.Tensors() {
				model = append(model, checkpoints.Tensor{Name: t.Name, Shape: t.Shape})
			}
			params, err := readWeights(args[0], model)
			if err != nil {
				return withCode(exitInput, fmt.Errorf("%s: %w", args[0], err))
			}
			where, err := storeStart(cmd.Context(), out, spec, params)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d parameters at step 0 of job %s\n", where, m.Size(), spec.What.Digest())
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "job", "", "job file (required)")
	f.StringVar(&out, "out", "", "store to write to: a path, file:///PATH, s3://BUCKET/PREFIX (required)")
	flags.register(cmd)
	must(cmd.MarkFlagRequired("job"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func readWeights(path string, model []checkpoints.Tensor) ([]checkpoints.Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return checkpoints.ReadWeights(f, info.Size(), model)
}

// storeStart writes the checkpoint that a job begins with.
func storeStart(ctx context.Context, url string, spec job.Spec, params []checkpoints.Tensor) (string, error) {
	text, err := job.Canonical(spec)
	if err != nil {
		return "", err
	}
	st := checkpoints.Start(spec.What.Digest(), params)
	parts, err := checkpoints.Plan(st, text, 0)
	if err != nil {
		return "", err
	}
	store, err := openStore(ctx, url)
	if err != nil {
		return "", err
	}
	defer store.Close()
	m := &checkpoints.Manifest{Job: st.Job, State: st.Digest(), Volatile: checkpoints.Volatile{Program: version}}
	if m.Files, err = checkpoints.WriteParts(ctx, store, m.Dir(), parts); err == nil {
		_, err = checkpoints.WriteManifest(ctx, store, m.Dir(), m)
	}
	if err != nil {
		return "", storeError(err)
	}
	return join(store.URL(), m.Dir()), nil
}
