package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// maxProblems bounds the list of Check.
const maxProblems = 100

// Check reads the whole data set and returns every problem that it finds, at most 100; none means that Open will succeed. Problems
// that hide others (a file that is missing or damaged, a column of the wrong kind) hide those of their file only.
func Check(ctx context.Context, src Source) []error {
	meta, err := ReadMeta(ctx, src)
	if err != nil {
		return []error{err}
	}
	dir, err := os.MkdirTemp("", "ringleader-check-*")
	if err != nil {
		return []error{fmt.Errorf("check data set: %w", err)}
	}
	bad := &problems{max: maxProblems}
	to := &checker{bad: bad, meta: &meta, least: meta.LastMS, most: meta.FirstMS}
	err = errors.Join(scan(ctx, src, &meta, dir, bad, to), os.RemoveAll(dir))
	if len(bad.list) == 0 {
		to.ranges()
	}
	if err != nil && !errors.Is(err, errTooMany) {
		bad.list = append(bad.list, err)
	}
	return bad.list
}

// checker is the sink that keeps nothing, and looks at what only a whole data set can show.
type checker struct {
	bad         *problems
	meta        *Meta
	least, most int64
}

func (c *checker) sequences(b *block) error {
	for _, t := range b.time {
		c.least, c.most = min(c.least, t), max(c.most, t)
	}
	return nil
}

func (c *checker) items(t *texts) error {
	seen := make(map[string]int, c.meta.Items)
	for i := range c.meta.Items {
		id := string(t.bytes[t.offset[3*i]:t.offset[3*i+1]])
		if j, ok := seen[id]; ok && c.bad.add(fmt.Errorf("%s: items %d and %d have the same id %q", ItemsName, j, i, id)) {
			return errTooMany
		}
		seen[id] = i
	}
	return nil
}

func (c *checker) vectors(Vectors) error { return nil }

func (c *checker) ranges() {
	if c.least != c.meta.FirstMS || c.most != c.meta.LastMS {
		c.bad.add(fmt.Errorf("times are from %d to %d, %s says first_ms %d, last_ms %d", c.least, c.most, MetaName, c.meta.FirstMS, c.meta.LastMS))
	}
	if c.meta.CutMS < c.meta.FirstMS || c.meta.CutMS > c.meta.LastMS {
		c.bad.add(fmt.Errorf("cut_ms %d: want a time from first_ms %d to last_ms %d: otherwise nothing is trained, or nothing evaluated", c.meta.CutMS, c.meta.FirstMS, c.meta.LastMS))
	}
}
