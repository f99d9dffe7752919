package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/model"
)

// jobFlags are --set, on every command that takes a job file.
type jobFlags struct{ set []string }

func (f *jobFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "override a field of the job file, for example --set what.optimizer.lr=0.001 (repeatable)")
}

// load reads a job file, applies --set, checks it against its data, and pins the data's digest. The model is the one that the job describes.
func (f *jobFlags) load(ctx context.Context, path string) (job.Spec, *model.Model, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return job.Spec{}, nil, withCode(exitInput, fmt.Errorf("read job file: %w", err))
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return job.Spec{}, nil, err
	}
	spec, err := job.Parse(text, dir, f.set...)
	if err != nil {
		return job.Spec{}, nil, withCode(exitInput, fmt.Errorf("job file %s: %w", path, err))
	}
	m, err := pin(ctx, &spec)
	if err != nil {
		return job.Spec{}, nil, fmt.Errorf("job file %s: %w", path, err)
	}
	return spec, m, nil
}

// pin fixes the content of the data that the job was written for, and refuses a model that cannot be built on it.
func pin(ctx context.Context, spec *job.Spec) (*model.Model, error) {
	store, err := openStore(ctx, spec.What.Data)
	if err != nil {
		return nil, fmt.Errorf("what.data: %w", err)
	}
	defer store.Close()
	meta, err := dataset.ReadMeta(ctx, store)
	if err != nil {
		return nil, dataError("what.data", spec.What.Data, err)
	}
	if d := spec.What.DataDigest; d != "" && d != meta.Digest {
		return nil, withCode(exitInput, fmt.Errorf("what.data_digest %s: the data set at %s has %s", d, spec.What.Data, meta.Digest))
	}
	spec.What.DataDigest = meta.Digest
	if every := spec.How.Evaluate.Every; every > 0 && meta.Holdout == 0 {
		return nil, withCode(exitInput, fmt.Errorf("how.evaluate.every %d: the data set was imported with --holdout 0, so that there is nobody to evaluate; want 0", every))
	}
	m, err := model.New(spec.What, meta)
	return m, withCode(exitInput, err)
}
