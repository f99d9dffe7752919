package serving

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/model"
)

const (
	itemsMatrix = "items.safetensors"
	itemsTable  = "items.parquet"
)

// makeItems embeds the whole catalogue, which costs little, and writes its files.
func (x *export) makeItems(ctx context.Context, e *model.Embedder) (files []checkpoints.FileInfo, err error) {
	dim := x.id.Dim
	embeddings, halves := make([]float32, x.meta.Items*dim), make([]uint16, x.meta.Items*dim)
	if err := e.Items(embeddings); err != nil {
		return nil, err
	}
	for i := range x.meta.Items {
		if err := toHalves(halves[i*dim:(i+1)*dim], embeddings[i*dim:(i+1)*dim]); err != nil {
			id, _, _ := x.Data.Item(i)
			return nil, fmt.Errorf("item %s: %w", id, err)
		}
	}
	table, err := x.spooled(ctx, itemsTable, func(w io.Writer) error { return x.writeItems(w, halves) })
	if err != nil {
		return nil, err
	}
	all, err := x.newMatrix(itemsMatrix, x.meta.Items)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, all.close()) }()
	if err := all.append(halves); err != nil {
		return nil, err
	}
	matrix, err := all.put(ctx, x.Out, x.id.Generation(), itemsMatrix)
	return []checkpoints.FileInfo{table, matrix}, err
}

// writeItems writes the catalogue's table.
func (x *export) writeItems(w io.Writer, halves []uint16) error {
	t := newTableWriter(w, itemTable)
	for i := range x.meta.Items {
		id, _, _ := x.Data.Item(i)
		if err := t.write(halves[i*x.id.Dim:(i+1)*x.id.Dim], parquet.ByteArrayValue([]byte(id))); err != nil {
			return errors.Join(err, t.close())
		}
	}
	return t.close()
}
