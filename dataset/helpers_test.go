package dataset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ringleader-dev/ringleader/job"
)

// inMemory is a data set without files: what the sampler sees, made by hand.
func inMemory(m Meta, users []Sequence) *Dataset {
	m.Users = len(users)
	d := &Dataset{offset: []int64{0}, idOffset: []int64{0}}
	for _, s := range users {
		for _, t := range s.TimeMS {
			m.FirstMS, m.LastMS = min(m.FirstMS, t), max(m.LastMS, t)
		}
		d.time = append(d.time, s.TimeMS...)
		d.item = append(d.item, s.Item...)
		d.action = append(d.action, s.Action...)
		d.offset = append(d.offset, int64(len(d.time)))
		d.id = append(d.id, s.ID...)
		d.idOffset = append(d.idOffset, int64(len(d.id)))
		d.hash = append(d.hash, xxhash.Sum64String(s.ID))
	}
	m.Actions = int64(len(d.time))
	d.meta = m
	return d
}

// randomUsers have short histories with many ties, on a clock of days 0 to 59.
func randomUsers(r *rand.Rand, n, items, types int) []Sequence {
	users := make([]Sequence, n)
	for u := range users {
		s := Sequence{ID: fmt.Sprintf("u%04d", u)}
		for range 1 + r.IntN(25) {
			s.TimeMS = append(s.TimeMS, int64(r.IntN(60))*dayMS)
			s.Item = append(s.Item, int32(r.IntN(items)))
			s.Action = append(s.Action, int32(r.IntN(types)))
		}
		slices.Sort(s.TimeMS)
		users[u] = s
	}
	return users
}

func randomDataset(seed uint64, n int) *Dataset {
	r := rand.New(rand.NewPCG(seed, 1))
	m := Meta{Name: "random", Items: 12, CutMS: 45 * dayMS, EvalDays: 14, Holdout: .2, Types: []string{"a", "b", "c"}, Positive: []bool{true, false, true}}
	return inMemory(m, randomUsers(r, n, m.Items, len(m.Types)))
}

func what(shards, users int) job.What {
	return job.What{Seed: 7, Shards: shards, UsersPerShard: users, Steps: 50, Model: job.Model{Window: 6}, Loss: job.Loss{HorizonDays: 9}, Negatives: job.Negatives{InBatch: 10, Random: 12}}
}

func sampler(t *testing.T, d *Dataset, w job.What) *Sampler {
	t.Helper()
	s, err := NewSampler(d, w)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
