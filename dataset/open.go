package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"github.com/ringleader-dev/ringleader/internal/counter"
)

// Dataset is an open data set. Its methods may be called from several goroutines; what they return aliases mapped memory and is
// read only and valid until Close.
type Dataset struct {
	meta    Meta
	mapping *mapping

	offset     []int64
	hash       []uint64
	time       []int64
	item       []int32
	action     []int32
	surface    []int32
	duration   []float32
	vectors    []float32
	idOffset   []int64
	id         []byte
	textOffset []int64
	text       []byte
}

// Open reads dataset.json and maps the decoded data set, which it keeps in cacheDir under the content digest. The first one to open
// a data set on a machine fetches its files, verifies them against their SHA-256 and decodes them; several processes may do so at
// once. Errors name the file, the user and the value that are wrong.
func Open(ctx context.Context, src Source, cacheDir string) (*Dataset, error) {
	meta, err := ReadMeta(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("open data set %s: %w", src.URL(), err)
	}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return nil, fmt.Errorf("open data set %s: %w", src.URL(), err)
	}
	mp, err := openOrBuild(ctx, src, &meta, cacheDir)
	if err != nil {
		return nil, fmt.Errorf("open data set %s: %w", src.URL(), err)
	}
	return &Dataset{
		meta: meta, mapping: mp,
		offset: view[int64](mp, secOffset), hash: view[uint64](mp, secHash),
		time: view[int64](mp, secTime), item: view[int32](mp, secItem), action: view[int32](mp, secAction),
		surface: view[int32](mp, secSurface), duration: view[float32](mp, secDuration), vectors: view[float32](mp, secVectors),
		idOffset: view[int64](mp, secIDOffset), id: view[byte](mp, secID),
		textOffset: view[int64](mp, secTextOffset), text: view[byte](mp, secText),
	}, nil
}

func openOrBuild(ctx context.Context, src Source, m *Meta, dir string) (*mapping, error) {
	name := m.Digest + ".flat"
	path := filepath.Join(dir, name)
	mp, err := openMapping(path, m)
	if err == nil {
		return mp, nil
	}
	if errors.Is(err, errDamaged) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("remove damaged cache: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := build(ctx, src, m, dir, name); err != nil {
		return nil, err
	}
	return openMapping(path, m)
}

// Close unmaps the data set. Nothing that came from it may be used afterwards.
func (d *Dataset) Close() error { return d.mapping.close() }

// Meta is dataset.json.
func (d *Dataset) Meta() Meta { return d.meta }

// Users is the number of users.
func (d *Dataset) Users() int { return d.meta.Users }

// User is the whole sequence of user i, 0 <= i < Users.
func (d *Dataset) User(i int) Sequence {
	s := d.sequence(i)
	s.ID = string(d.id[d.idOffset[i]:d.idOffset[i+1]])
	return s
}

// UserHash is the xxhash64 of user i's id, which keys everything that is drawn for the user.
func (d *Dataset) UserHash(i int) uint64 { return d.hash[i] }

// sequence is User without the id, which costs an allocation.
func (d *Dataset) sequence(i int) Sequence {
	a, b := d.offset[i], d.offset[i+1]
	s := Sequence{Item: d.item[a:b:b], TimeMS: d.time[a:b:b], Action: d.action[a:b:b]}
	if d.surface != nil {
		s.Surface = d.surface[a:b:b]
	}
	if d.duration != nil {
		s.Duration = d.duration[a:b:b]
	}
	return s
}

// Item is what items.parquet says about item i, 0 <= i < Meta().Items. Pages of the file are loaded when they are asked for.
func (d *Dataset) Item(i int) (id, text, interest string) {
	column := func(c int) string { return string(d.text[d.textOffset[3*i+c]:d.textOffset[3*i+c+1]]) }
	return column(0), column(1), column(2)
}

// Vectors are the items' content vectors, always float32.
func (d *Dataset) Vectors() Vectors { return Vectors{d.meta.Items, d.meta.VectorDim, d.vectors} }

// Heldout says whether user i never trains.
func (d *Dataset) Heldout(i int) bool { return heldout(d.hash[i], d.meta.Holdout) }

// HeldoutID is Heldout for a user's id and a fraction.
func HeldoutID(id string, fraction float64) bool { return heldout(xxhash.Sum64String(id), fraction) }

// heldout depends on the id's text and the fraction alone: a user stays on its side when the data grows.
func heldout(idHash uint64, fraction float64) bool {
	return counter.Unit(counter.Key(0, counter.Holdout, idHash), 0) < fraction
}
