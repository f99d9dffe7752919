package dataset

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/ringleader-dev/ringleader/internal/parquetfile"
)

// table reads the leaf columns of one Parquet file whatever they are nested in: engines differ in how they call the levels
// of a list ("list.element", "list.item", "bag.array_element") and in what they mark as optional.
type table struct {
	name string
	file *parquet.File
}

func openTable(name string, f *os.File) (*table, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	file, err := parquetfile.Open(f, info.Size(), parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return &table{name, file}, nil
}

// leaf is one column of a table: a list column has one level of repetition, a plain one none.
type leaf struct {
	table *table
	name  string
	parquet.LeafColumn
}

// column finds the only leaf under a top-level field and checks its physical kind. A column that is not there is nil.
func (t *table) column(name string, list bool, kinds ...parquet.Kind) (*leaf, error) {
	var found *leaf
	for _, path := range t.file.Schema().Columns() {
		if path[0] != name {
			continue
		}
		c, ok := t.file.Schema().Lookup(path...)
		if !ok || found != nil {
			return nil, fmt.Errorf("%s: column %q has several parts: want one list or value", t.name, name)
		}
		found = &leaf{t, name, c}
	}
	if found == nil {
		return nil, nil
	}
	if isList := found.MaxRepetitionLevel == 1; found.MaxRepetitionLevel > 1 || isList != list {
		return nil, fmt.Errorf("%s: column %q is nested %d deep: want %d", t.name, name, found.MaxRepetitionLevel, levels(list))
	}
	have := found.Node.Type().Kind()
	for _, k := range kinds {
		if k == have {
			return found, nil
		}
	}
	return nil, fmt.Errorf("%s: column %q is of kind %s: want %s", t.name, name, have, kindNames(kinds))
}

func levels(list bool) int {
	if list {
		return 1
	}
	return 0
}

func kindNames(kinds []parquet.Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.String())
	}
	return strings.Join(names, " or ")
}

// need is column for one that must be there; its error lists those that are.
func (t *table) need(name string, list bool, kinds ...parquet.Kind) (*leaf, error) {
	c, err := t.column(name, list, kinds...)
	if err == nil && c == nil {
		var have []string
		for _, f := range t.file.Schema().Fields() {
			have = append(have, f.Name())
		}
		err = fmt.Errorf("%s: column %q is missing; there are: %s", t.name, name, strings.Join(have, ", "))
	}
	return c, err
}

// cell is called for each value, with the number of its row in the row group. An empty or null list, or a null, has no value.
type cell func(row int, v parquet.Value) error

// each walks the values of one row group and returns the number of rows.
func (c *leaf) each(group parquet.RowGroup, f cell) (rows int, err error) {
	err = parquetfile.Shielded(func() (err error) {
		pages := group.ColumnChunks()[c.ColumnIndex].Pages()
		defer func() { err = errors.Join(err, pages.Close()) }()
		rows, err = c.pages(pages, f)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: column %q: %w", c.table.name, c.name, err)
	}
	return rows, nil
}

func (c *leaf) pages(pages parquet.Pages, f cell) (rows int, err error) {
	var buf [512]parquet.Value
	row := -1
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return row + 1, nil
		}
		if err != nil {
			return 0, err
		}
		row, err = c.eachOf(page, row, buf[:], f)
		parquet.Release(page)
		if err != nil {
			return 0, err
		}
	}
}

func (c *leaf) eachOf(page parquet.Page, row int, buf []parquet.Value, f cell) (int, error) {
	values := page.Values()
	for {
		n, err := values.ReadValues(buf)
		for _, v := range buf[:n] {
			if v.RepetitionLevel() == 0 {
				row++
			}
			if v.IsNull() {
				// A list's own null or emptiness is "no value"; a null inside of a list would shift its neighbours' places.
				if c.MaxRepetitionLevel > 0 && v.DefinitionLevel() >= c.elementLevel() {
					return row, fmt.Errorf("row %d holds a null", row)
				}
				continue
			}
			if row < 0 {
				return row, fmt.Errorf("values before the first row")
			}
			if err := f(row, v); err != nil {
				return row, err
			}
		}
		if errors.Is(err, io.EOF) {
			return row, nil
		}
		if err != nil {
			return row, err
		}
	}
}

// elementLevel is the definition level from which on a list has elements: a null element reaches it, an empty list does not.
func (c *leaf) elementLevel() int {
	if c.Node.Optional() {
		return c.MaxDefinitionLevel - 1
	}
	return c.MaxDefinitionLevel
}
