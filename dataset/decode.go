package dataset

import (
	"context"
	"fmt"
	"math"
	"os"

	"github.com/parquet-go/parquet-go"
)

// block is one row group of sequences, decoded: columns of all actions, and where each user's begin.
type block struct {
	first    int // index of the first user
	id       []string
	offset   []int64 // len(id)+1
	item     []int32
	time     []int64
	action   []int32
	surface  []int32   // empty without the column
	duration []float32 // empty without the column
}

// lists counts the values of a column by row, and so finds where a row's values begin.
type lists struct{ offset []int64 }

func (l *lists) count(row int) {
	for len(l.offset) < row+1 {
		l.offset = append(l.offset, l.last())
	}
	if len(l.offset) == row+1 {
		l.offset = append(l.offset, l.last())
	}
	l.offset[row+1]++
}

func (l *lists) last() int64 {
	if len(l.offset) == 0 {
		return 0
	}
	return l.offset[len(l.offset)-1]
}

func (l *lists) reset() { l.offset = append(l.offset[:0], 0) }

// finish adds the empty rows at the end.
func (l *lists) finish(rows int) {
	for len(l.offset) < rows+1 {
		l.offset = append(l.offset, l.last())
	}
}

// decoder reads the files of sequences and reports what is wrong with them.
type decoder struct {
	meta *Meta
	bad  *problems

	block   block
	columns []intColumn
	lengths []lists // by column
	lastID  string
	users   int
	actions int64
}

// intColumn is a list column and where its values go.
type intColumn struct {
	name  string
	kinds []parquet.Kind
	put   func(parquet.Value) error
}

func newDecoder(meta *Meta, bad *problems) *decoder {
	d := &decoder{meta: meta, bad: bad}
	integer := []parquet.Kind{parquet.Int32, parquet.Int64}
	d.columns = []intColumn{
		{"time_ms", []parquet.Kind{parquet.Int64}, func(v parquet.Value) error { d.block.time = append(d.block.time, v.Int64()); return nil }},
		{"item", integer, func(v parquet.Value) error { return putIndex(&d.block.item, v, meta.Items, "items") }},
		{"action", integer, func(v parquet.Value) error { return putIndex(&d.block.action, v, len(meta.Types), "action types") }},
	}
	if len(meta.Surfaces) > 0 {
		d.columns = append(d.columns, intColumn{"surface", integer, func(v parquet.Value) error {
			return putIndex(&d.block.surface, v, len(meta.Surfaces), "surfaces")
		}})
	}
	if meta.Durations {
		d.columns = append(d.columns, intColumn{"duration", []parquet.Kind{parquet.Float, parquet.Double}, d.putDuration})
	}
	d.lengths = make([]lists, len(d.columns))
	return d
}

func putIndex(to *[]int32, v parquet.Value, n int, what string) error {
	x := v.Int64()
	if v.Kind() == parquet.Int32 {
		x = int64(v.Int32())
	}
	if x < 0 || x >= int64(n) {
		return fmt.Errorf("value %d is out of range: %s has %d %s, want 0 to %d", x, MetaName, n, what, n-1)
	}
	*to = append(*to, int32(x))
	return nil
}

func (d *decoder) putDuration(v parquet.Value) error {
	x := v.Double()
	if v.Kind() == parquet.Float {
		x = float64(v.Float())
	}
	if !(x >= 0 && x <= math.MaxFloat32) {
		return fmt.Errorf("value %g: want seconds, finite and not negative", x)
	}
	d.block.duration = append(d.block.duration, float32(x))
	return nil
}

// part decodes one file, row group by row group. A file that cannot be decoded is one problem; the checks of its users may be many.
func (d *decoder) part(ctx context.Context, name string, f *os.File, use func(*block) error) error {
	t, err := openTable(name, f)
	if err != nil {
		return err
	}
	user, err := t.need("user", false, parquet.ByteArray)
	if err != nil {
		return err
	}
	leaves := make([]*leaf, len(d.columns))
	for i, c := range d.columns {
		if leaves[i], err = t.need(c.name, true, c.kinds...); err != nil {
			return err
		}
	}
	for _, group := range t.file.RowGroups() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.group(name, group, user, leaves); err != nil {
			return err
		}
		if err := use(&d.block); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) group(name string, group parquet.RowGroup, user *leaf, leaves []*leaf) error {
	b := &d.block
	b.first = d.users
	b.id, b.item, b.time, b.action, b.surface, b.duration = b.id[:0], b.item[:0], b.time[:0], b.action[:0], b.surface[:0], b.duration[:0]
	rows, err := user.each(group, func(row int, v parquet.Value) error {
		if row != len(b.id) {
			return fmt.Errorf("row %d has no user", len(b.id))
		}
		b.id = append(b.id, string(v.ByteArray()))
		return nil
	})
	if err != nil {
		return err
	}
	if rows != len(b.id) {
		return fmt.Errorf("%s: column %q: row %d has no user", name, "user", len(b.id))
	}
	for i, c := range leaves {
		d.lengths[i].reset()
		n, err := c.each(group, func(row int, v parquet.Value) error {
			d.lengths[i].count(row)
			if err := d.columns[i].put(v); err != nil {
				return fmt.Errorf("user %q: %w", at(b.id, row), err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if n != rows {
			return fmt.Errorf("%s: column %q has %d rows, %q has %d", name, c.name, n, "user", rows)
		}
		d.lengths[i].finish(rows)
	}
	b.offset = d.lengths[0].offset
	d.users += rows
	d.actions += int64(len(b.time))
	return d.check(name)
}

func at(ids []string, row int) string {
	if row < len(ids) {
		return ids[row]
	}
	return "?"
}

// check looks at each user of a block. Lengths that differ end the decoding: what follows would be attributed to the wrong user.
func (d *decoder) check(name string) error {
	b := &d.block
	for u, id := range b.id {
		n := b.offset[u+1] - b.offset[u]
		for i, c := range d.columns {
			if m := d.lengths[i].offset[u+1] - d.lengths[i].offset[u]; m != n {
				if n == 0 {
					return fmt.Errorf("%s: user %q without time: time_ms is empty, %s has %d values", name, id, c.name, m)
				}
				return fmt.Errorf("%s: user %q: time_ms has %d values, %s has %d", name, id, n, c.name, m)
			}
		}
		if err := d.checkUser(id, b.time[b.offset[u]:b.offset[u+1]]); err != nil && d.bad.add(fmt.Errorf("%s: %w", name, err)) {
			return errTooMany
		}
	}
	return nil
}

func (d *decoder) checkUser(id string, times []int64) error {
	last := d.lastID
	d.lastID = id
	switch {
	case id == "":
		return fmt.Errorf("a user's id is empty")
	case id == last:
		return fmt.Errorf("user %q has two rows: want one row a user", id)
	case id < last:
		return fmt.Errorf("user %q follows %q: want users in the order of their ids' bytes", id, last)
	case len(times) == 0:
		return fmt.Errorf("user %q has no actions", id)
	}
	for i, t := range times {
		switch {
		case i > 0 && t < times[i-1]:
			return fmt.Errorf("user %q: time_ms %d follows %d: want times in ascending order", id, t, times[i-1])
		case t > d.meta.LastMS:
			return fmt.Errorf("user %q: time_ms %d is later than last_ms %d of %s", id, t, d.meta.LastMS, MetaName)
		case t < d.meta.FirstMS:
			return fmt.Errorf("user %q: time_ms %d is earlier than first_ms %d of %s", id, t, d.meta.FirstMS, MetaName)
		}
	}
	return nil
}

// totals compares what the files hold with what dataset.json says.
func (d *decoder) totals() error {
	if d.users != d.meta.Users {
		return fmt.Errorf("%s holds %d users, %s says %d", SequencesDir, d.users, MetaName, d.meta.Users)
	}
	if d.actions != d.meta.Actions {
		return fmt.Errorf("%s holds %d actions, %s says %d", SequencesDir, d.actions, MetaName, d.meta.Actions)
	}
	return nil
}
