package dataset

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
)

// sink receives what a data set's files decode to: blocks of users in order, then the items' texts, then the vectors. The arguments are only valid during the call.
type sink interface {
	sequences(*block) error
	items(*texts) error
	vectors(Vectors) error
}

// scan fetches, verifies and decodes every file. What is wrong with the data goes to bad, what stops the scan (a sink that fails,
// an ended context) is returned.
func scan(ctx context.Context, src Source, meta *Meta, dir string, bad *problems, to sink) error {
	d := newDecoder(meta, bad)
	whole := true
	for _, f := range meta.parts() {
		err := spool(ctx, src, f, dir, func(tmp *os.File) error {
			return d.part(ctx, f.Name, tmp, func(b *block) error { return stop(to.sequences(b)) })
		})
		if err = bad.unlessFatal(ctx, err); err != nil {
			return err
		}
		whole = whole && len(bad.list) == 0
	}
	if whole { // else the counts are wrong because something else is
		if err := bad.unlessFatal(ctx, d.totals()); err != nil {
			return err
		}
	}
	err := spool(ctx, src, meta.file(ItemsName), dir, func(tmp *os.File) error {
		t, err := readItems(ItemsName, tmp, meta)
		if err != nil {
			return err
		}
		return stop(to.items(t))
	})
	if err = bad.unlessFatal(ctx, err); err != nil {
		return err
	}
	err = spool(ctx, src, meta.file(VectorsName), dir, func(tmp *os.File) error { return scanVectors(tmp, meta, to) })
	return bad.unlessFatal(ctx, err)
}

func scanVectors(tmp *os.File, meta *Meta, to sink) error {
	if _, err := tmp.Seek(0, 0); err != nil {
		return stop(err)
	}
	v, err := ReadVectors(tmp)
	if err != nil {
		return fmt.Errorf("%s: %w", VectorsName, err)
	}
	if v.Rows != meta.Items || v.Cols != meta.VectorDim {
		return fmt.Errorf("%s is %d x %d, %s says %d items x vector_dim %d", VectorsName, v.Rows, v.Cols, MetaName, meta.Items, meta.VectorDim)
	}
	for i, x := range v.Data {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("%s: row %d, lane %d is %g: want finite numbers", VectorsName, i/v.Cols, i%v.Cols, x)
		}
	}
	return stop(to.vectors(v))
}

// fatal marks an error that is not the data's.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

func stop(err error) error {
	if err == nil {
		return nil
	}
	return fatal{err}
}

// unlessFatal notes an error of the data and returns the others; a full list ends the scan too.
func (p *problems) unlessFatal(ctx context.Context, err error) error {
	var f fatal
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &f):
		return f.error
	case p.add(err):
		return errTooMany
	}
	return nil
}
