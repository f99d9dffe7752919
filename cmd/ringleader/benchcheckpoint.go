package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/checkpoints/s3"
	"github.com/ringleader-dev/ringleader/device"
	"github.com/ringleader-dev/ringleader/model"
	"github.com/ringleader-dev/ringleader/worker"
)

func benchCheckpoint() *cobra.Command {
	var o checkpointBench
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Time what a checkpoint costs: the copy that training waits for, the upload, the reading back",
		Long: "The state is that of a transformer of about --mib. Training waits for its copy, which is measured beside a plain copy of as many bytes.\n" +
			"The upload is hashed and conditional, and measured in turn with what the client library of S3 moves by itself, with its own defaults.\n" +
			"Without --store a MinIO server is started on loopback for the time of the measurement: scripts/minio.sh makes one.",
		Example: "  RINGLEADER_MINIO=$(scripts/minio.sh) ringleader bench checkpoint --json checkpoint.json\n" +
			"  ringleader bench checkpoint --store s3://bucket/bench --mib 1024",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return withCode(exitUsage, err)
			}
			r, err := o.run(cmd.Context())
			if err != nil {
				return err
			}
			if o.json != "" {
				if err := writeJSON(cmd.OutOrStdout(), o.json, r); err != nil {
					return fmt.Errorf("--json: %w", err)
				}
			}
			if o.json == "-" {
				return nil
			}
			return r.print(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.mib, "mib", 192, "size of the state: parameters and both moments")
	f.IntVar(&o.trials, "trials", 7, "how often each thing is measured")
	f.StringVar(&o.store, "store", "", "where to write: a path, file:///PATH, s3://BUCKET/PREFIX (default: a MinIO of its own)")
	f.StringVar(&o.minio, "minio", os.Getenv(minioVariable), "MinIO server to start, if there is no --store (default: $"+minioVariable+")")
	f.StringVar(&o.json, "json", "", "write the report to this file; - is standard output")
	return cmd
}

type checkpointBench struct {
	mib, trials        int
	store, minio, json string
}

func (o *checkpointBench) check() error {
	switch {
	case o.mib < 16 || o.mib > 1<<16:
		return fmt.Errorf("--mib %d: allowed: 16 to 65536", o.mib)
	case o.trials < 1 || o.trials > 1<<10:
		return fmt.Errorf("--trials %d: allowed: 1 to 1024", o.trials)
	case o.store == "" && o.minio == "":
		return fmt.Errorf("--store and --minio are empty; want a store, or a MinIO server to start (scripts/minio.sh prints the path of one)")
	}
	return nil
}

// checkpointReport is what was measured. All times are seconds.
type checkpointReport struct {
	StateMiB   float64 `json:"state_mib"`
	Parameters int     `json:"parameters"`
	Store      string  `json:"store"`
	Trials     int     `json:"trials"`
	Processor  string  `json:"cpu"`
	Program    string  `json:"program"`

	First  float64  `json:"first_stall_s"` // of the first checkpoint, into memory that is new
	Stall  benchRow `json:"stall"`         // that training waits for
	Copy   benchRow `json:"copy"`          // of as many bytes
	Upload benchRow `json:"upload"`        // hashing, all files, the manifest
	Plain  benchRow `json:"plain"`         // the same files by the client library alone; zero if the store is not S3
	Verify benchRow `json:"verify"`        // reading all back

	StallPerCopy float64 `json:"stall_per_copy"`
	UploadMiBps  float64 `json:"upload_mib_per_s"`
	PlainMiBps   float64 `json:"plain_mib_per_s"`
	UploadShare  float64 `json:"upload_per_plain"` // of throughputs
}

// benchRow is one thing, measured some times.
type benchRow struct {
	Median float64 `json:"median_s"`
	Min    float64 `json:"min_s"`
	Max    float64 `json:"max_s"`
}

func rowOf(seconds []float64) benchRow {
	return benchRow{median(seconds), slices.Min(seconds), slices.Max(seconds)}
}

func (r benchRow) String() string {
	return fmt.Sprintf("%.4f s (%.4f to %.4f)", r.Median, r.Min, r.Max)
}

func (r *checkpointReport) print(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "state\t%.0f MiB: %d parameters and their moments\n", r.StateMiB, r.Parameters)
	fmt.Fprintf(w, "machine\t%s\n", r.Processor)
	fmt.Fprintf(w, "store\t%s\n", r.Store)
	fmt.Fprintf(w, "training waits\t%v, the first time %.4f s\n", r.Stall, r.First)
	fmt.Fprintf(w, "a copy in memory\t%v: waiting takes %.2f of it\n", r.Copy, r.StallPerCopy)
	fmt.Fprintf(w, "upload\t%v: %.0f MiB/s\n", r.Upload, r.UploadMiBps)
	if r.PlainMiBps > 0 {
		fmt.Fprintf(w, "client library alone\t%v: %.0f MiB/s; the upload has %.2f of its speed\n", r.Plain, r.PlainMiBps, r.UploadShare)
	}
	fmt.Fprintf(w, "reading back\t%v\n", r.Verify)
	return w.Flush()
}

func (o *checkpointBench) run(ctx context.Context) (_ *checkpointReport, err error) {
	store, closeStore, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	r := &checkpointReport{Store: store.URL(), Trials: o.trials, Processor: processor(), Program: version}
	st, err := o.stall(r)
	if err != nil {
		return nil, err
	}
	return r, o.upload(ctx, r, store, st)
}

// stall measures the copy of a state that training waits for, and returns it.
func (o *checkpointBench) stall(r *checkpointReport) (_ *checkpoints.State, err error) {
	dev, err := openDevice("cpu", "", false, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	what, err := peerWhat()
	if err != nil {
		return nil, err
	}
	what.Shards = 1
	const perLayer = 12 * 256 * 256 * 12 // bytes of a layer's parameters and moments
	what.Model.Layers = max(1, o.mib<<20/perLayer)
	m, err := model.NewEncoded(what, peerWidth)
	if err != nil {
		return nil, err
	}
	engine, err := worker.OpenEngine(worker.EngineConfig{What: what, Model: m, Steps: math.MaxInt32, Device: dev,
		Open: func(device.Lane) (worker.Gradients, error) { return noGradients{}, nil }})
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	if err := engine.Initialise(); err != nil {
		return nil, err
	}
	r.Parameters, r.StateMiB = m.Size(), float64(m.Size())*12/(1<<20)
	from, to := make([]float32, 3*m.Size()), make([]float32, 3*m.Size())
	for i := range from {
		from[i] = float32(i)
	}
	copy(to, from) // both are there
	began := time.Now()
	snap, err := engine.Snapshot(nil)
	r.First = time.Since(began).Seconds()
	var stalls, copies []float64
	for range o.trials {
		if err == nil {
			began = time.Now()
			snap, err = engine.Snapshot(snap)
			stalls = append(stalls, time.Since(began).Seconds())
		}
		began = time.Now()
		copy(to, from)
		copies = append(copies, time.Since(began).Seconds())
	}
	if err != nil {
		return nil, err
	}
	r.Stall, r.Copy = rowOf(stalls), rowOf(copies)
	r.StallPerCopy = r.Stall.Median / r.Copy.Median
	return &snap.State, nil
}

// noGradients are those of an engine that takes no step.
type noGradients struct{ worker.Gradients }

// Close implements worker.Gradients.
func (noGradients) Close() {}

// upload measures the writing of a checkpoint and its reading back, and, in turn, what the client library does with the same bytes.
func (o *checkpointBench) upload(ctx context.Context, r *checkpointReport, store checkpoints.Store, st *checkpoints.State) error {
	parts, err := checkpoints.Plan(st, []byte("{}"), 0)
	if err != nil {
		return err
	}
	var files [][]byte
	for _, p := range parts {
		b, err := io.ReadAll(p.Reader())
		if err != nil {
			return err
		}
		files = append(files, b)
	}
	plainStore, _ := store.(*s3.Store)
	var upload, plain, verify []float64
	digest := st.Digest()
	dir := checkpoints.Dir(st.Step, digest)
	for range o.trials {
		began := time.Now()
		if err := save(ctx, store, dir, st, digest); err != nil {
			return storeError(err)
		}
		upload = append(upload, time.Since(began).Seconds())
		began = time.Now()
		if problems := checkpoints.Verify(ctx, store, dir); len(problems) > 0 {
			return storeError(errors.Join(problems...))
		}
		verify = append(verify, time.Since(began).Seconds())
		if err := checkpoints.Delete(ctx, store, dir); err != nil {
			return storeError(err)
		}
		if plainStore == nil {
			continue
		}
		began = time.Now()
		for i, b := range files {
			if err := plainStore.PutPlain(ctx, fmt.Sprintf("plain/%s", parts[i].Name), bytes.NewReader(b), int64(len(b))); err != nil {
				return storeError(err)
			}
		}
		plain = append(plain, time.Since(began).Seconds())
		for _, p := range parts {
			if err := store.Delete(ctx, "plain/"+p.Name); err != nil {
				return storeError(err)
			}
		}
	}
	r.Upload, r.Verify = rowOf(upload), rowOf(verify)
	r.UploadMiBps = r.StateMiB / r.Upload.Median
	if plainStore != nil {
		r.Plain = rowOf(plain)
		r.PlainMiBps = r.StateMiB / r.Plain.Median
		r.UploadShare = r.UploadMiBps / r.PlainMiBps
	}
	return nil
}

// save writes a whole checkpoint, as a gang of one does.
func save(ctx context.Context, store checkpoints.Store, dir string, st *checkpoints.State, digest ringleader.Digest) error {
	parts, err := checkpoints.Plan(st, []byte("{}"), 0)
	if err != nil {
		return err
	}
	infos, err := checkpoints.WriteParts(ctx, store, dir, parts)
	if err != nil {
		return err
	}
	_, err = checkpoints.WriteManifest(ctx, store, dir, &checkpoints.Manifest{Job: st.Job, Step: st.Step, State: digest, Files: infos,
		Volatile: checkpoints.Volatile{Program: version}})
	return err
}

// open opens the store, or one in a server of its own.
func (o *checkpointBench) open(ctx context.Context) (checkpoints.Store, func() error, error) {
	if o.store != "" {
		store, err := openStore(ctx, o.store)
		if err != nil {
			return nil, nil, err
		}
		return store, func() error { store.Close(); return nil }, nil
	}
	server, err := startMinio(ctx, o.minio, "bench")
	if err != nil {
		return nil, nil, withCode(exitUnreachable, err)
	}
	store, err := server.open(ctx, "")
	if err != nil {
		return nil, nil, errors.Join(err, server.stop())
	}
	return store, func() error { store.Close(); return server.stop() }, nil
}
