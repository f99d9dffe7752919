package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/importer"
	"github.com/ringleader-dev/ringleader/examples"
	"github.com/ringleader-dev/ringleader/job"
)

func newData() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "data",
		Short:   "Import, check and describe data sets; audit what a run trained on",
		Example: "  ringleader data import log.csv --out shop --user customer --time ordered_at --item sku",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(dataImport(), dataCheck(), dataDescribe(), dataAudit())
	return cmd
}

func dataImport() *cobra.Command {
	var o importer.Options
	cmd := &cobra.Command{
		Use:   "import SOURCE...",
		Short: "Make a data set of CSV, JSON lines or Parquet files",
		Long: "Columns may be any DuckDB expression over the source's columns. Importing the same files with the same options gives the same bytes.\n" +
			"The cut and the hold-out are fixed here, because the stand-in item vectors must not see what comes after the cut.",
		Example: "  ringleader data import log.csv.gz --out shop --user customer --time ordered_at --item sku --action kind --positive purchase,save \\\n" +
			"      --items products.csv --item-text title,category --cut 2022-09-01 --holdout 0.25\n" +
			"  ringleader data import ratings.dat --csv \"delim='::', header=false\" --out movies --user column0 --item column1 --time column3 \\\n" +
			"      --action \"CASE WHEN column2 >= 7 THEN 'liked' ELSE 'rated' END\" --positive liked",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Sources, o.Now = args, time.Now()
			o.Log = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
			meta, err := importTo(cmd.Context(), o)
			if err != nil {
				return storeError(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d users, %d items, %d actions; content digest %s\n", o.Out, meta.Users, meta.Items, meta.Actions, meta.Digest)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Out, "out", "", "where to: a new directory, or s3://BUCKET/PREFIX (required)")
	f.StringVar(&o.Name, "name", "", "name of the data set (default: the last part of --out)")
	f.StringVar(&o.User, "user", "", "column: who")
	f.StringVar(&o.Time, "time", "", "column: when; a timestamp, a date, or a number of s, ms or us since 1970")
	f.StringVar(&o.Item, "item", "", "column: what")
	f.StringVar(&o.Action, "action", "", "column: what was done (default: one type of action)")
	f.StringVar(&o.Duration, "duration", "", "column: for how many seconds")
	f.StringVar(&o.Surface, "surface", "", "column: where in the product")
	f.StringVar(&o.Where, "where", "", "condition for rows to be taken")
	f.StringVar(&o.CSV, "csv", "", "further options for reading CSV, such as delim='::', header=false")
	sqlFile := f.String("sql", "", "file with a query over src1, src2, ... that yields user, time, item and, if wanted, action, duration, surface; in place of the columns")
	f.StringSliceVar(&o.Positive, "positive", nil, "actions that are training targets")
	f.StringVar(&o.Items, "items", "", "file with a row for each item")
	f.StringVar(&o.ItemID, "item-id", "", "its column with the item (default: --item)")
	f.StringSliceVar(&o.ItemText, "item-text", nil, "its columns of text")
	f.StringVar(&o.Interest, "interest", "", "its column with the item's interest or category")
	f.StringVar(&o.Vectors, "vectors", "", "file with your own item vectors: columns id and vector (default: a stand-in from text and co-occurrence)")
	f.StringVar(&o.Cut, "cut", "", "time that ends training, UTC (default: --eval-days before the last action)")
	f.Float64Var(&o.EvalDays, "eval-days", 14, "length of the evaluation window after the cut")
	f.Float64Var(&o.Holdout, "holdout", 0.1, "fraction of users that never train and are evaluated")
	f.IntVar(&o.MinItemUsers, "min-item-users", 1, "users that must have wanted an item for it to be in the catalogue")
	f.BoolVar(&o.AllowFuture, "allow-future", false, "accept times later than now")
	f.StringVar(&o.Memory, "memory", "", "limit of memory, such as 4GB (default: 80 % of the machine's)")
	must(cmd.MarkFlagRequired("out"))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *sqlFile == "" {
			return nil
		}
		text, err := os.ReadFile(*sqlFile)
		o.SQL = string(text)
		return withCode(exitInput, err)
	}
	return cmd
}

// importTo imports into a directory, or into a temporary one that is then copied to a store, dataset.json last.
func importTo(ctx context.Context, o importer.Options) (meta dataset.Meta, err error) {
	if isLocal(o.Out) {
		if o.Out, err = localPath(o.Out); err != nil {
			return meta, err
		}
		return importer.Import(ctx, o)
	}
	store, err := openStore(ctx, o.Out)
	if err != nil {
		return meta, err
	}
	defer store.Close()
	if there, err := store.List(ctx, ""); err != nil || len(there) > 0 {
		return meta, errors.Join(err, fmt.Errorf("--out %s: %d objects are there; allowed: an empty prefix", o.Out, len(there)))
	}
	dir, err := os.MkdirTemp("", "ringleader-import-")
	if err != nil {
		return meta, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.Name == "" {
		_, o.Name = splitLast(strings.TrimRight(o.Out, "/"))
	}
	o.Out = filepath.Join(dir, "data")
	if meta, err = importer.Import(ctx, o); err != nil {
		return meta, err
	}
	return meta, uploadDir(ctx, store, o.Out)
}

// importData imports the shipped data set, as its README says.
func (d demo) importData(ctx context.Context) error {
	source, err := os.MkdirTemp("", "ringleader-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(source)
	if err := os.CopyFS(source, examples.CompleteJourney); err != nil {
		return err
	}
	files := filepath.Join(source, "data", "complete-journey")
	_, err = importer.Import(ctx, importer.Options{
		Sources: []string{filepath.Join(files, "purchases.parquet")}, Out: filepath.Join(d.dir, "data"), Name: "complete-journey",
		User: "household_id", Time: "unix_s", Item: "product_id", Action: "kind", Duration: "quantity",
		Positive: []string{"full price", "discounted"},
		Items:    filepath.Join(files, "products.parquet"), ItemID: "product_id",
		ItemText: []string{"department", "product_category", "product_type", "product_type", "brand"}, Interest: "product_category",
		Cut: "2017-11-15", EvalDays: 14, Holdout: 0.25, Now: time.Now(),
		Log: func(line string) { fmt.Fprintln(d.errs, line) },
	})
	return err
}

func dataCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check URL", Short: "Read a whole data set and report every problem", Example: "  ringleader data check shop", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := openStore(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer store.Close()
			if problems := dataset.Check(cmd.Context(), store); len(problems) > 0 {
				return storeError(fmt.Errorf("data set %s: %w", args[0], errors.Join(problems...)))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: no problem found\n", args[0])
			return err
		},
	}
}

func dataDescribe() *cobra.Command {
	return &cobra.Command{
		Use: "describe URL", Short: "Say what is in a data set", Example: "  ringleader data describe shop", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ds, closeData, err := openData(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), ds.Describe())
			return errors.Join(err, closeData())
		},
	}
}

func dataAudit() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "audit RUN",
		Short: "Recompute from the data which users a run must have trained, and compare with what it did",
		Long: "The ledger in a state is a hash over every (user, step) that was trained. This recomputes it from the job and the data: equal\n" +
			"means that no user was trained twice, skipped, or at another step, through all failures.",
		Example: "  ringleader data audit demo-run/faulted", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return auditRun(cmd.Context(), args[0], data, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "where the data set is now (default: where the job says)")
	return cmd
}

func auditRun(ctx context.Context, run, data string, out, warn io.Writer) (err error) {
	st, spec, where, err := loadWithJob(ctx, run, warn)
	if err != nil {
		return err
	}
	if data == "" {
		data = spec.What.Data
	}
	ds, closeData, err := openData(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeData()) }()
	if d := ds.Meta().Digest; d != spec.What.DataDigest {
		return withCode(exitInput, fmt.Errorf("data set %s: content digest %s, the run was trained on %s", data, d, spec.What.DataDigest))
	}
	sampler, err := dataset.NewSampler(ds, spec.What)
	if err != nil {
		return withCode(exitInput, err)
	}
	want, err := sampler.Audit(ctx, st.Step)
	if err != nil {
		return err
	}
	if want != st.Scalars.Ledger {
		return fmt.Errorf("%s: ledger %016x, the data and the job give %016x", where, st.Scalars.Ledger, want)
	}
	_, err = fmt.Fprintf(out, "%s: ledger %016x: the %d user visits of %d steps are exactly those of the job\n", where, want, st.Scalars.Users, st.Step)
	return err
}

// loadWithJob loads a checkpoint and the job that is stored beside it.
func loadWithJob(ctx context.Context, url string, warn io.Writer) (st *checkpoints.State, spec job.Spec, where string, err error) {
	st, m, where, err := loadCheckpoint(ctx, url, warn)
	if err != nil {
		return nil, spec, "", err
	}
	base, dir := splitLast(where)
	store, err := openStore(ctx, base)
	if err != nil {
		return nil, spec, "", err
	}
	defer store.Close()
	text, err := checkpoints.ReadJob(ctx, store, dir, m)
	if err != nil {
		return nil, spec, "", storeError(err)
	}
	if spec, err = job.FromCanonical(text); err != nil {
		return nil, spec, "", withCode(exitInput, fmt.Errorf("job of %s: %w", where, err))
	}
	return st, spec, where, nil
}
