// Package synth writes small data sets in the real layout, with something to learn in them: users have tastes, items have topics,
// topics have favourites, and tastes drift with time. The same options write the same bytes.
package synth

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ringleader-dev/ringleader/dataset"
	"github.com/ringleader-dev/ringleader/internal/counter"
)

// Options of a synthetic data set. Zero values take the defaults in parentheses.
type Options struct {
	Users    int     // (200)
	Items    int     // (100)
	Actions  int     // mean per user; a user has between half and one and a half of it (30)
	Topics   int     // groups of items (5)
	Dim      int     // of the item vectors, at least Topics (16)
	Days     float64 // length of the log (120); the cut is EvalDays before its end
	EvalDays float64 // (14)
	Holdout  float64 // 0 means .25; negative means none
	Ties     float64 // share of actions at the time of the one before: baskets (.3)
	Plain    bool    // without surfaces and durations
	Seed     uint64
}

func (o Options) withDefaults() Options {
	setInt := func(p *int, x int) {
		if *p == 0 {
			*p = x
		}
	}
	setFloat := func(p *float64, x float64) {
		if *p == 0 {
			*p = x
		}
	}
	setInt(&o.Users, 200)
	setInt(&o.Items, 100)
	setInt(&o.Actions, 30)
	setInt(&o.Topics, 5)
	setInt(&o.Dim, 16)
	setFloat(&o.Days, 120)
	setFloat(&o.EvalDays, 14)
	setFloat(&o.Holdout, .25)
	setFloat(&o.Ties, .3)
	o.Holdout = max(o.Holdout, 0)
	return o
}

func (o *Options) validate() error {
	switch {
	case o.Users < 1 || o.Items < o.Topics || o.Topics < 1 || o.Dim < o.Topics:
		return fmt.Errorf("%d users, %d items, %d topics, dimension %d: want at least 1 user, topics <= items, topics <= dimension", o.Users, o.Items, o.Topics, o.Dim)
	case o.Actions < 2:
		return fmt.Errorf("actions %d: want at least 2", o.Actions)
	case !(o.Days > o.EvalDays && o.EvalDays > 0 && o.Days < 36600):
		return fmt.Errorf("days %g, eval_days %g: want 0 < eval_days < days < 36600", o.Days, o.EvalDays)
	}
	return nil
}

const dayMS = 24 * 60 * 60 * 1000

// StartMS is the time at which every synthetic log begins: 2024-01-01.
const StartMS = 1704067200000

// Write makes a data set in a folder, which it creates.
func Write(dir string, o Options) (dataset.Meta, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return dataset.Meta{}, fmt.Errorf("synthesise data set: %w", err)
	}
	m := dataset.Meta{
		Name:  "synthetic",
		CutMS: StartMS + int64((o.Days-o.EvalDays)*dayMS), EvalDays: o.EvalDays, Holdout: o.Holdout,
		Types: []string{"buy", "hide", "view"}, Positive: []bool{true, false, true},
		Durations: !o.Plain, Source: []string{"synth"},
	}
	if !o.Plain {
		m.Surfaces = []string{"home", "search"}
	}
	w, err := dataset.NewWriter(dir, m)
	if err != nil {
		return m, fmt.Errorf("synthesise data set: %w", err)
	}
	if err := fill(w, &o); err != nil {
		return m, fmt.Errorf("synthesise data set: %w (close: %v)", err, w.Abort())
	}
	return w.Close()
}

func fill(w *dataset.Writer, o *Options) error {
	for i := range o.Items {
		topic := i % o.Topics
		if err := w.Item(fmt.Sprintf("item%05d", i), fmt.Sprintf("topic%d thing %d", topic, i), fmt.Sprintf("topic%d", topic)); err != nil {
			return err
		}
	}
	for u := range o.Users {
		if err := w.User(o.user(u)); err != nil {
			return err
		}
	}
	return w.Vectors(o.vectors(), "synthetic: topic and noise")
}

// user draws one sequence: a favourite topic that changes once, halfway; within a topic low numbers are popular.
func (o *Options) user(u int) dataset.Sequence {
	key := counter.Key(o.Seed, counter.Label, uint64(u))
	n := o.Actions/2 + counter.Below(key, 0, o.Actions+1)
	n = max(n, 1)
	favourites := [2]int{counter.Below(key, 1, o.Topics), counter.Below(key, 2, o.Topics)}
	rows := make([]row, n)
	gap := o.Days * dayMS / float64(n)
	for i := range rows {
		draw := func(k uint64) float64 { return counter.Unit(key, 8*uint64(i)+8+k) }
		t := StartMS + int64((float64(i)+draw(0))*gap)
		if i > 0 && draw(1) < o.Ties {
			t = rows[i-1].time
		}
		topic := favourites[2*i/n]
		if draw(2) < .2 {
			topic = int(draw(3) * float64(o.Topics))
		}
		perTopic := (o.Items - topic + o.Topics - 1) / o.Topics
		place := int(float64(perTopic) * draw(4) * draw(4))
		rows[i] = row{t, int32(topic + place*o.Topics), int32(draw(5) * 3), int32(draw(6) * 2), float32(int(draw(7) * 120))}
	}
	slices.SortFunc(rows, row.compare)
	return o.sequence(fmt.Sprintf("user%06d", u), rows)
}

type row struct {
	time                  int64
	item, action, surface int32
	duration              float32
}

func (a row) compare(b row) int {
	return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.item, b.item), cmp.Compare(a.action, b.action),
		cmp.Compare(a.surface, b.surface), cmp.Compare(a.duration, b.duration))
}

func (o *Options) sequence(id string, rows []row) dataset.Sequence {
	s := dataset.Sequence{ID: id}
	for _, r := range rows {
		s.TimeMS, s.Item, s.Action = append(s.TimeMS, r.time), append(s.Item, r.item), append(s.Action, r.action)
		if !o.Plain {
			s.Surface, s.Duration = append(s.Surface, r.surface), append(s.Duration, r.duration)
		}
	}
	return s
}

// vectors are the topic's unit vector and noise, at unit length.
func (o *Options) vectors() dataset.Vectors {
	v := dataset.Vectors{Rows: o.Items, Cols: o.Dim, Data: make([]float32, o.Items*o.Dim)}
	for i := range o.Items {
		key := counter.Key(o.Seed, counter.Sketch, uint64(i))
		row, norm := v.Row(i), 0.0
		for c := range row {
			x := .6 * (counter.Unit(key, uint64(c)) - .5)
			if c == i%o.Topics {
				x++
			}
			row[c] = float32(x)
			norm += float64(x * x)
		}
		for c := range row {
			row[c] = float32(float64(row[c]) / math.Sqrt(norm))
		}
	}
	return v
}
