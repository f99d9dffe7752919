package dataset

import (
	"fmt"
	"os"

	"github.com/parquet-go/parquet-go"
)

// texts are the items' three columns in one run of bytes: column c of item i is bytes[offset[3i+c]:offset[3i+c+1]].
type texts struct {
	offset []int64
	bytes  []byte
}

// itemColumns of items.parquet, in the order of texts; interest may be absent or null.
var itemColumns = [3]string{"id", "text", "interest"}

// readItems decodes items.parquet.
func readItems(name string, f *os.File, meta *Meta) (*texts, error) {
	t, err := openTable(name, f)
	if err != nil {
		return nil, err
	}
	var columns [3][]string
	for c, column := range itemColumns {
		if columns[c], err = t.strings(column, c == 0); err != nil {
			return nil, err
		}
	}
	out := &texts{offset: []int64{0}}
	for i, id := range columns[0] {
		if id == "" {
			return nil, fmt.Errorf("%s: item %d has no id", name, i)
		}
		for _, column := range columns {
			if column != nil {
				out.bytes = append(out.bytes, column[i]...)
			}
			out.offset = append(out.offset, int64(len(out.bytes)))
		}
	}
	if n := len(columns[0]); n != meta.Items {
		return nil, fmt.Errorf("%s holds %d items, %s says %d", name, n, MetaName, meta.Items)
	}
	return out, nil
}

// strings reads a text column; nulls are empty. A column that need not be there is nil.
func (t *table) strings(name string, must bool) ([]string, error) {
	find := t.column
	if must {
		find = t.need
	}
	c, err := find(name, false, parquet.ByteArray)
	if err != nil || c == nil {
		return nil, err
	}
	out := make([]string, 0, min(t.file.NumRows(), 1<<20))
	for _, group := range t.file.RowGroups() {
		base := len(out)
		rows, err := c.each(group, func(row int, v parquet.Value) error {
			for len(out) < base+row {
				out = append(out, "")
			}
			out = append(out, string(v.ByteArray()))
			return nil
		})
		if err != nil {
			return nil, err
		}
		for len(out) < base+rows {
			out = append(out, "")
		}
	}
	if int64(len(out)) != t.file.NumRows() {
		return nil, fmt.Errorf("%s: column %q has %d rows, the file %d", t.name, name, len(out), t.file.NumRows())
	}
	return out, nil
}
