package importer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/dataset/importer/standin"
)

// Import reads the sources and writes a data set's folder. It appears whole or not at all. Errors name the option, the value, and what
// there is instead.
func Import(ctx context.Context, o Options) (meta dataset.Meta, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return meta, fmt.Errorf("import: %w", err)
	}
	if err := vacant(o.Out); err != nil {
		return meta, fmt.Errorf("import: %w", err)
	}
	work, err := workDir(&o)
	if err != nil {
		return meta, fmt.Errorf("import: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	e, err := openEngine(ctx, work, &o)
	if err != nil {
		return meta, fmt.Errorf("import: %w", err)
	}
	meta, err = e.run(ctx, &o)
	if err = errors.Join(err, e.close()); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return meta, fmt.Errorf("import: %w", err)
	}
	return meta, nil
}

// vacant refuses to overwrite.
func vacant(out string) error {
	entries, err := os.ReadDir(out)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("out: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("out %s: the folder is not empty: want a new one", out)
	}
	return nil
}

// workDir holds DuckDB's files. It is beside the target, where there is room for as much again.
func workDir(o *Options) (string, error) {
	parent := o.TempDir
	if parent == "" {
		parent = filepath.Dir(o.Out)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	return os.MkdirTemp(parent, ".import-*")
}

// run goes from the sources to the finished folder.
func (e *engine) run(ctx context.Context, o *Options) (dataset.Meta, error) {
	m := dataset.Meta{Name: o.Name, Holdout: o.Holdout, EvalDays: o.EvalDays}
	for _, s := range slices.Concat(o.Sources, []string{o.Items}) {
		if s != "" {
			m.Source = append(m.Source, filepath.Base(s))
		}
	}
	if err := e.views(ctx, o); err != nil {
		return m, err
	}
	kind, err := e.stage(ctx, o)
	if err != nil {
		return m, err
	}
	if err := e.sound(ctx); err != nil {
		return m, err
	}
	toMS, err := e.milliseconds(ctx, o, kind)
	if err != nil {
		return m, err
	}
	if err := e.distinct(ctx, o, toMS); err != nil {
		return m, err
	}
	if err := e.past(ctx, o); err != nil {
		return m, err
	}
	if err := e.cut(ctx, o, &m); err != nil {
		return m, err
	}
	positive, err := e.positives(ctx, o)
	if err != nil {
		return m, err
	}
	if err := e.catalogue(ctx, o, &m); err != nil {
		return m, err
	}
	if err := e.vocabularies(ctx, o, &m, positive); err != nil {
		return m, err
	}
	items, err := e.describe(ctx, o)
	if err != nil {
		return m, err
	}
	return e.write(ctx, o, m, items)
}

// write makes the folder under another name beside the target, and renames it when it is complete.
func (e *engine) write(ctx context.Context, o *Options, m dataset.Meta, items []item) (_ dataset.Meta, err error) {
	parent, base := filepath.Dir(o.Out), filepath.Base(o.Out)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return m, fmt.Errorf("make folder: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "."+base+"-*")
	if err != nil {
		return m, fmt.Errorf("make folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil {
		return m, fmt.Errorf("make folder: %w", err)
	}
	w, err := dataset.NewWriter(dir, m)
	if err != nil {
		return m, err
	}
	if err := e.fill(ctx, o, w, &m, items); err != nil {
		return m, errors.Join(err, w.Abort())
	}
	if m, err = w.Close(); err != nil {
		return m, err
	}
	if err := os.Rename(dir, o.Out); err != nil {
		return m, fmt.Errorf("publish: %w", err)
	}
	o.logf("data set %s: %d users, %d items, %d actions, digest %s", m.Name, m.Users, m.Items, m.Actions, m.Digest)
	return m, nil
}

func (e *engine) fill(ctx context.Context, o *Options, w *dataset.Writer, m *dataset.Meta, items []item) error {
	history := standin.NewHistory(len(items), m)
	for _, x := range items {
		if err := w.Item(x.id, x.text, x.interest); err != nil {
			return err
		}
		history.Text = append(history.Text, x.text)
	}
	err := e.sequences(ctx, m, func(s dataset.Sequence) error {
		if o.Vectors == "" {
			history.Add(s)
		}
		return w.User(s)
	})
	if err != nil {
		return err
	}
	if o.Vectors != "" {
		v, origin, err := e.ownVectors(ctx, o, len(items))
		if err != nil {
			return err
		}
		return w.Vectors(v, origin)
	}
	v, origin, err := history.Vectors(ctx)
	if err != nil {
		return fmt.Errorf("compute stand-in vectors: %w", err)
	}
	o.logf("vectors: %s, dimension %d (give your own with vectors)", origin, v.Cols)
	return w.Vectors(v, origin)
}
