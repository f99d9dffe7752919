package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"
)

// Sizes of what is written. A row group is decoded in memory as a whole.
const (
	groupActions = 1 << 20
	partActions  = 1 << 26
)

// Writer writes a data set's folder: users in the order of their ids' bytes, items in the order of their indices, the vectors, and
// dataset.json at last. The same calls write the same bytes.
type Writer struct {
	dir   string
	meta  Meta
	parts int
	part  *tableWriter
	item  *tableWriter

	row       parquet.Row
	inPart    int64
	inGroup   int64
	lastUser  string
	vectorsOK bool

	groupActions, partActions int64
}

// NewWriter begins a data set in an empty folder. Of m it takes what is not counted: name, cut, evaluation window, hold-out,
// vocabularies, whether there are durations, source, and the origin of the vectors.
func NewWriter(dir string, m Meta) (*Writer, error) {
	m.Users, m.Items, m.Actions, m.VectorDim, m.Digest = 0, 0, 0, 0, ""
	w := &Writer{dir: dir, meta: m, groupActions: groupActions, partActions: partActions}
	if err := os.MkdirAll(filepath.Join(dir, SequencesDir), 0o755); err != nil {
		return nil, fmt.Errorf("write data set: %w", err)
	}
	var err error
	text := parquet.String()
	w.item, err = newTableWriter(filepath.Join(dir, ItemsName), parquet.Group{"id": text, "text": text, "interest": text})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// User appends one user.
func (w *Writer) User(s Sequence) error {
	n := len(s.Item)
	if n == 0 || len(s.TimeMS) != n || len(s.Action) != n || w.surfaces() && len(s.Surface) != n || w.meta.Durations && len(s.Duration) != n {
		return fmt.Errorf("write user %q: columns of %d items, %d times, %d actions, %d surfaces, %d durations: want equal lengths, not empty",
			s.ID, n, len(s.TimeMS), len(s.Action), len(s.Surface), len(s.Duration))
	}
	if s.ID <= w.lastUser {
		return fmt.Errorf("write user %q: follows %q: want ascending ids", s.ID, w.lastUser)
	}
	w.lastUser = s.ID
	if err := w.room(int64(n)); err != nil {
		return err
	}
	// A row's values go in the order of the columns, which is that of their names.
	w.row = w.row[:0]
	appendList(w, "action", s.Action, parquet.Int32Value)
	if w.meta.Durations {
		appendList(w, "duration", s.Duration, parquet.FloatValue)
	}
	appendList(w, "item", s.Item, parquet.Int32Value)
	if w.surfaces() {
		appendList(w, "surface", s.Surface, parquet.Int32Value)
	}
	appendList(w, "time_ms", s.TimeMS, parquet.Int64Value)
	w.row = append(w.row, parquet.ByteArrayValue([]byte(s.ID)).Level(0, 0, w.part.index["user"]))
	w.count(s.TimeMS)
	return w.part.write(w.row)
}

func (w *Writer) surfaces() bool { return len(w.meta.Surfaces) > 0 }

func (w *Writer) count(times []int64) {
	m, first, last := &w.meta, times[0], times[len(times)-1]
	if m.Users == 0 {
		m.FirstMS, m.LastMS = first, last
	}
	m.FirstMS, m.LastMS = min(m.FirstMS, first), max(m.LastMS, last)
	m.Users++
	m.Actions += int64(len(times))
}

// room starts a new row group or file when the last one is full.
func (w *Writer) room(n int64) (err error) {
	if w.part != nil && w.inPart+n > w.partActions {
		if err := w.part.close(); err != nil {
			return err
		}
		w.part = nil
	}
	if w.part == nil {
		name := filepath.Join(w.dir, SequencesDir, fmt.Sprintf("part-%05d.parquet", w.parts))
		if w.part, err = newTableWriter(name, w.sequenceColumns()); err != nil {
			return err
		}
		w.parts++
		w.inPart, w.inGroup = 0, 0
	}
	if w.inGroup > 0 && w.inGroup+n > w.groupActions {
		if err := w.part.flush(); err != nil {
			return err
		}
		w.inGroup = 0
	}
	w.inPart, w.inGroup = w.inPart+n, w.inGroup+n
	return nil
}

func (w *Writer) sequenceColumns() parquet.Group {
	index := parquet.List(parquet.Leaf(parquet.Int32Type))
	columns := parquet.Group{
		"user":    parquet.String(),
		"time_ms": parquet.List(parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.DeltaBinaryPacked)),
		"item":    index,
		"action":  index,
	}
	if w.surfaces() {
		columns["surface"] = index
	}
	if w.meta.Durations {
		columns["duration"] = parquet.List(parquet.Leaf(parquet.FloatType))
	}
	return columns
}

func appendList[T any](w *Writer, column string, data []T, value func(T) parquet.Value) {
	c := w.part.index[column]
	for i, x := range data {
		w.row = append(w.row, value(x).Level(min(i, 1), 1, c))
	}
}

// Item appends one item.
func (w *Writer) Item(id, text, interest string) error {
	if id == "" {
		return fmt.Errorf("write item %d: its id is empty", w.meta.Items)
	}
	w.meta.Items++
	w.row = w.row[:0]
	for column, s := range []string{id, interest, text} { // by name
		w.row = append(w.row, parquet.ByteArrayValue([]byte(s)).Level(0, 0, column))
	}
	return w.item.write(w.row)
}

// Vectors writes the items' vectors, once. origin says where they came from.
func (w *Writer) Vectors(v Vectors, origin string) (err error) {
	f, err := os.Create(filepath.Join(w.dir, VectorsName))
	if err != nil {
		return fmt.Errorf("write vectors: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w.meta.VectorDim, w.meta.Vectors, w.vectorsOK = v.Cols, origin, true
	return WriteVectors(f, v)
}

// Close completes the files and writes dataset.json.
func (w *Writer) Close() (Meta, error) {
	if err := w.Abort(); err != nil {
		return w.meta, err
	}
	if w.meta.Users == 0 || w.meta.Items == 0 || !w.vectorsOK {
		return w.meta, fmt.Errorf("write data set: %d users, %d items, vectors %t: want some of each", w.meta.Users, w.meta.Items, w.vectorsOK)
	}
	return Seal(w.dir, w.meta)
}

// Abort closes the files and leaves them as they are.
func (w *Writer) Abort() error {
	var err error
	if w.part != nil {
		err = w.part.close()
		w.part = nil
	}
	if w.item != nil {
		err = errors.Join(err, w.item.close())
		w.item = nil
	}
	return err
}

// tableWriter writes one Parquet file.
type tableWriter struct {
	path  string
	file  *os.File
	w     *parquet.GenericWriter[any]
	index map[string]int // column of each field
}

func newTableWriter(path string, columns parquet.Group) (*tableWriter, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write data set: %w", err)
	}
	schema := parquet.NewSchema("table", columns)
	t := &tableWriter{path: path, file: f, index: map[string]int{}}
	for i, leaf := range schema.Columns() {
		t.index[leaf[0]] = i
	}
	// The writer's own name and version would make bytes depend on the release of a dependency.
	t.w = parquet.NewGenericWriter[any](f, schema, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("ringleader", "1", ""))
	return t, nil
}

// write appends a row, whose values are in the order of the columns.
func (t *tableWriter) write(row parquet.Row) error {
	if _, err := t.w.WriteRows([]parquet.Row{row}); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(t.path), err)
	}
	return nil
}

func (t *tableWriter) flush() error {
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(t.path), err)
	}
	return nil
}

func (t *tableWriter) close() error {
	if err := errors.Join(t.w.Close(), t.file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(t.path), err)
	}
	return nil
}
