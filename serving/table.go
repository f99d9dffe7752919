package serving

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/ringleader-dev/ringleader/checkpoints"
	"github.com/ringleader-dev/ringleader/internal/parquetfile"
)

// groupRows bounds a row group: readers take one into memory as a whole.
const groupRows = 1 << 13

// float16 is Parquet's FLOAT16, for which the library has no constructor.
type float16 struct{ parquet.Type }

func (float16) LogicalType() *format.LogicalType {
	return &format.LogicalType{Value: &format.Float16Type{}}
}
func (float16) String() string { return "FLOAT16" }

var (
	half      = parquet.FixedLenByteArrayType(2)
	userTable = usersOf(float16{half})
	userRead  = usersOf(half) // userTable as the library reads it: it takes a FLOAT16 for its bytes
	itemTable = parquet.NewSchema("items", parquet.Group{"item": parquet.String(), "vector": vectorOf(float16{half})})
)

func usersOf(element parquet.Type) *parquet.Schema {
	return parquet.NewSchema("users", parquet.Group{
		"user": parquet.String(), "as_of_ms": parquet.Int(64), "input_hash": parquet.Uint(64), "vector": vectorOf(element),
	})
}

func vectorOf(element parquet.Type) parquet.Node { return parquet.List(parquet.Leaf(element)) }

// Columns are in the order of their names.
const (
	userAsOf = iota
	userInput
	userID
	userVector
	userColumns
)

// tableWriter writes one Parquet file.
type tableWriter struct {
	w    *parquet.GenericWriter[any]
	row  parquet.Row
	half []byte // the row's vector
	rows int
}

func newTableWriter(w io.Writer, schema *parquet.Schema) *tableWriter {
	// No compression: vectors are noise, and bytes would depend on the release of a compressor; so they would on the library's own name. No bounds of vectors: half
	// precision has another order than the bytes.
	return &tableWriter{w: parquet.NewGenericWriter[any](w, schema, parquet.Compression(&parquet.Uncompressed), parquet.CreatedBy("ringleader", "1", ""),
		parquet.SkipPageBounds("vector", "list", "element"))}
}

// write appends a row: its values in the order of the columns, and the vector, which is the last.
func (t *tableWriter) write(vector []uint16, values ...parquet.Value) error {
	t.row = t.row[:0]
	for column, v := range values {
		t.row = append(t.row, v.Level(0, 0, column))
	}
	t.half = t.half[:0]
	for _, x := range vector {
		t.half = binary.LittleEndian.AppendUint16(t.half, x)
	}
	for i := range vector {
		t.row = append(t.row, parquet.FixedLenByteArrayValue(t.half[2*i:2*i+2]).Level(min(i, 1), 1, len(values)))
	}
	if _, err := t.w.WriteRows([]parquet.Row{t.row}); err != nil {
		return fmt.Errorf("write row %d: %w", t.rows, err)
	}
	if t.rows++; t.rows%groupRows == 0 {
		return t.w.Flush()
	}
	return nil
}

func (t *tableWriter) close() error { return t.w.Close() }

// part is some users in the order of their ids; row i of vectors is that of user i.
type part struct {
	dim     int
	ids     []string
	asOfMS  []int64 // of the newest action
	inputs  []uint64
	vectors []uint16 // halves
}

func (p *part) vector(i int) []uint16 { return p.vectors[i*p.dim : (i+1)*p.dim] }

// writeTo writes the part's file.
func (p *part) writeTo(w io.Writer) error {
	t := newTableWriter(w, userTable)
	for i, id := range p.ids {
		err := t.write(p.vector(i), parquet.Int64Value(p.asOfMS[i]), parquet.Int64Value(int64(p.inputs[i])), parquet.ByteArrayValue([]byte(id)))
		if err != nil {
			return errors.Join(err, t.close())
		}
	}
	return t.close()
}

// readPart reads what writeTo wrote, with vectors of dim lanes; anything else is checkpoints.ErrCorrupt.
func readPart(name string, file []byte, dim int) (*part, error) {
	p := &part{dim: dim}
	if err := p.readFrom(file); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, checkpoints.ErrCorrupt, err)
	}
	return p, nil
}

func (p *part) readFrom(file []byte) error {
	f, err := parquetfile.Open(bytes.NewReader(file), int64(len(file)), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	if have := f.Schema(); !parquet.EqualNodes(have, userRead) {
		return fmt.Errorf("columns %v, or their types, are not those of users: %v", have.Columns(), userTable.Columns())
	}
	for _, group := range f.RowGroups() {
		if err := parquetfile.Shielded(func() error { return p.readGroup(group) }); err != nil {
			return err
		}
	}
	return nil
}

func (p *part) readGroup(group parquet.RowGroup) (err error) {
	rows := group.Rows()
	defer func() { err = errors.Join(err, rows.Close()) }()
	buf := make([]parquet.Row, 64)
	for {
		n, err := rows.ReadRows(buf)
		for _, row := range buf[:n] {
			if err := p.take(row); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (p *part) take(row parquet.Row) error {
	if len(row) != userColumns-1+p.dim {
		return fmt.Errorf("row %d has %d values: want %d, the last %d of a vector", len(p.ids), len(row), userColumns-1+p.dim, p.dim)
	}
	p.asOfMS = append(p.asOfMS, row[userAsOf].Int64())
	p.inputs = append(p.inputs, row[userInput].Uint64())
	p.ids = append(p.ids, string(row[userID].ByteArray()))
	for _, v := range row[userVector:] {
		p.vectors = append(p.vectors, binary.LittleEndian.Uint16(v.ByteArray()))
	}
	return nil
}
