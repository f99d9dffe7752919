package worker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/job"
)

// replica is one job on this worker: its data, and the training that it goes on with. It outlives generations.
type replica struct {
	id ringleader.JobID
	*Training
}

// openReplica opens the job's data, builds its model and reserves its memory. An error that the job itself causes, on any worker,
// is a *jobError.
func openReplica(ctx context.Context, cfg *Config, b *beat, id ringleader.JobID, what job.What) (*replica, error) {
	if err := withinCap(what.ISA, cfg.Device.Class()); err != nil {
		return nil, err
	}
	source, err := cfg.OpenStore(ctx, what.Data)
	if err != nil {
		return nil, fmt.Errorf("open data %s: %w", what.Data, err)
	}
	defer source.Close() // opening reads all that is needed into the cache
	data, err := dataset.Open(ctx, source, filepath.Join(cfg.Dir, "data"))
	if err != nil {
		return nil, fmt.Errorf("open data %s: %w", what.Data, err)
	}
	if got := data.Meta().Digest; got != what.DataDigest {
		err = &jobError{fmt.Errorf("what.data %s: content digest %s, the job was submitted with %s", what.Data, got, what.DataDigest)}
	}
	r := &replica{id: id}
	if err == nil {
		r.Training, err = OpenTraining(what, data, cfg.Device, b)
	}
	if err != nil {
		_ = data.Close() // it was only read
		return nil, err
	}
	return r, nil
}

// withinCap refuses a device that computes with more than the job allows: its bits would be others. The instruction set is part of the
// class of CPUs: cpu/amd64/avx2/...
func withinCap(isa, class string) error {
	order := []string{"avx2", "avx512", "avx512_bf16", "amx", "best"}
	kind, rest, _ := strings.Cut(class, "/")
	if parts := strings.Split(rest, "/"); isa != "" && kind == "cpu" && len(parts) > 1 && slices.Index(order, parts[1]) > slices.Index(order, isa) {
		return fmt.Errorf("what.isa is %s, and this worker computes with %s; start it with --isa %s", isa, parts[1], isa)
	}
	return nil
}

// close waits for whoever is still copying the state out.
func (r *replica) close() {
	r.Training.Close()
	_ = r.data.Close() // the files were only read; there is nothing to lose
}

// jobError is an error that would meet the job on every worker.
type jobError struct{ error }

func (e *jobError) Unwrap() error { return e.error }

func isJobError(err error) bool { var e *jobError; return errors.As(err, &e) }
