package evaluation

import (
	"slices"
	"sort"

	"github.com/ringleader-dev/ringleader/dataset"
)

// population are the users whose 10 best are looked at.
type population struct {
	data      *dataset.Dataset
	meta      dataset.Meta
	items     int
	interest  []int32 // of each item; -1 for none; empty if the data set has no interests
	interests int
	members   []member // by user
	evaluated int      // members with targets
}

// member is one user.
type member struct {
	user    int32
	history int     // actions up to the cut
	targets []int32 // items of the positives after it, oldest first, repeats kept; empty for users that are only there for coverage
	times   []int64 // of the targets
}

func populate(d *dataset.Dataset, minHistory int) *population {
	p := &population{data: d, meta: d.Meta(), items: d.Meta().Items}
	for u := range d.Users() {
		q := d.User(u)
		m := member{user: int32(u), history: until(q.TimeMS, p.meta.CutMS)}
		if m.history < minHistory {
			continue
		}
		if d.Heldout(u) {
			m.targets, m.times = targets(&q, &p.meta, m.history)
		}
		if len(m.targets) > 0 {
			p.evaluated++
		}
		p.members = append(p.members, m)
	}
	p.readInterests()
	return p
}

// thin leaves out users that are only there for coverage, evenly, so that all together are at most most or as many as are evaluated.
func (p *population) thin(most int) {
	others := len(p.members) - p.evaluated
	room := max(0, min(others, most-p.evaluated))
	seen := 0
	p.members = slices.DeleteFunc(p.members, func(m member) bool {
		if len(m.targets) > 0 {
			return false
		}
		seen++
		return seen*room/others == (seen-1)*room/others
	})
}

// targets are the items and times of the positives in the evaluation window.
func targets(q *dataset.Sequence, m *dataset.Meta, history int) (items []int32, times []int64) {
	for i := history; i < len(q.Item) && q.TimeMS[i] <= m.EvalEndMS(); i++ {
		if m.Positive[q.Action[i]] {
			items, times = append(items, q.Item[i]), append(times, q.TimeMS[i])
		}
	}
	return items, times
}

// until is the number of actions at or before ms.
func until(times []int64, ms int64) int {
	return sort.Search(len(times), func(i int) bool { return times[i] > ms })
}

func (p *population) readInterests() {
	number := map[string]int32{}
	interest := make([]int32, p.items)
	for i := range interest {
		_, _, name := p.data.Item(i)
		interest[i] = -1
		if name == "" {
			continue
		}
		if _, ok := number[name]; !ok {
			number[name] = int32(len(number))
		}
		interest[i] = number[name]
	}
	if p.interests = len(number); p.interests > 0 {
		p.interest = interest
	}
}

// positives are the items and times of a member's positives up to the cut, oldest first.
func (p *population) positives(m *member) (items []int32, times []int64) {
	q := p.data.User(int(m.user))
	for i := range m.history {
		if p.meta.Positive[q.Action[i]] {
			items, times = append(items, q.Item[i]), append(times, q.TimeMS[i])
		}
	}
	return items, times
}
