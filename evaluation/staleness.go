package evaluation

import (
	"context"
	"fmt"
	"slices"
)

// Staleness says how old the embedding is that a target is scored with.
type Staleness string

// Once embeds a user at the cut, for all of the window: what the report's own figures are. Daily embeds anew whenever a whole number of days has passed
// since the cut, from the actions up to then, and serves it at once: a target finds an embedding that is up to a day old. (A pipeline that needs a
// day to compute and upload serves one of up to two days.) Realtime embeds anew after every action: a target finds all that is strictly before it.
const (
	Once     Staleness = "once"
	Daily    Staleness = "daily"
	Realtime Staleness = "realtime"
)

var allStaleness = []Staleness{Once, Daily, Realtime}

// ParseStaleness checks names.
func ParseStaleness(names []string) ([]Staleness, error) {
	var s []Staleness
	for _, name := range names {
		if !slices.Contains(allStaleness, Staleness(name)) {
			return nil, unknownStaleness(name)
		}
		s = append(s, Staleness(name))
	}
	return s, nil
}

func unknownStaleness(name string) error {
	return fmt.Errorf("staleness %q: want %s, %s or %s", name, Once, Daily, Realtime)
}

// knows is the time up to which an embedding knows a user's actions when a target comes up after the cut.
func (s Staleness) knows(cut, target int64) int64 {
	switch s {
	case Realtime:
		return target - 1
	case Daily:
		return cut + (target-1-cut)/dayMS*dayMS // what comes at a day's start is not foreseen with an embedding that knows it
	default:
		return cut
	}
}

// moment is a member with the targets that are scored with one embedding of it.
type moment struct {
	member  int
	endMS   int64
	targets []int32
}

// moments are those of all members, in their order and by time. Targets share one if no action lies between what their embeddings know.
func (p *population) moments(s Staleness) []moment {
	var all []moment
	for k := range p.members {
		m := &p.members[k]
		times, known, from := p.data.User(int(m.user)).TimeMS, -1, 0
		for i, t := range m.times {
			end := s.knows(p.meta.CutMS, t)
			if n := until(times, end); n != known {
				all = append(all, moment{member: k, endMS: end})
				known, from = n, i
			}
			all[len(all)-1].targets = m.targets[from : i+1]
		}
	}
	return all
}

// momentsAtATime bounds the embeddings that are held.
const momentsAtATime = 1024

// stale scores every target with the embedding that there is when it comes up. The rankings differ from target to target, so there is no coverage.
func stale(ctx context.Context, p *population, e *embedder, s Staleness, threads int) (*ranking, error) {
	r := &ranking{all: make([]outcome, len(p.members)), fresh: make([]outcome, len(p.members))}
	for some := range slices.Chunk(p.moments(s), momentsAtATime) {
		users, ends := make([]int32, len(some)), make([]int64, len(some))
		for i, m := range some {
			users[i], ends[i] = p.members[m.member].user, m.endMS
		}
		v, err := e.embed(ctx, users, ends)
		if err != nil {
			return nil, err
		}
		all, fresh, err := scoreMoments(ctx, p, v, some, threads)
		if err != nil {
			return nil, err
		}
		for i, m := range some {
			r.all[m.member].add(all[i])
			r.fresh[m.member].add(fresh[i])
		}
	}
	for k := range r.all {
		r.all[k].recall /= float64(max(1, r.all[k].targets))
		r.fresh[k].recall /= float64(max(1, r.fresh[k].targets))
	}
	return r, nil
}

// add adds the targets of a moment: recall is a sum until all are there.
func (o *outcome) add(moment outcome) {
	o.recall += moment.recall * float64(moment.targets)
	o.targets += moment.targets
}

// scoreMoments ranks the catalogue for every moment. What is new to a user does not depend on staleness: it is what the user did not have up to
// the cut, so that all ask for the same targets.
func scoreMoments(ctx context.Context, p *population, s scorer, moments []moment, threads int) (all, fresh []outcome, err error) {
	all, fresh = make([]outcome, len(moments)), make([]outcome, len(moments))
	err = each(ctx, p, s, len(moments), threads, func(d *desk, k int, scores []float64) error {
		m := &p.members[moments[k].member]
		if err := p.finite(m, scores); err != nil {
			return err
		}
		all[k] = d.outcome(scores, moments[k].targets)
		p.removeHistory(m, scores)
		fresh[k] = d.outcome(scores, remaining(scores, moments[k].targets))
		return nil
	})
	return all, fresh, err
}

// stales ranks at each staleness that is asked for but Once, which is the model's ranking at the cut.
func stales(ctx context.Context, o *Options, p *population, e *embedder) (map[Staleness]*ranking, error) {
	rankings := map[Staleness]*ranking{}
	for _, s := range o.Staleness {
		if _, done := rankings[s]; done || s == Once {
			continue
		}
		r, err := stale(ctx, p, e, s, o.Threads)
		if err != nil {
			return nil, fmt.Errorf("staleness %s: %w", s, err)
		}
		rankings[s] = r
	}
	return rankings, nil
}

// staleness compares the rankings with that at the cut.
func staleness(rankings map[Staleness]*ranking, once *ranking) map[Staleness]StaleResult {
	results := map[Staleness]StaleResult{}
	for s, r := range rankings {
		results[s] = StaleResult{Recall: recallOf(r.all), NewOnly: recallOf(r.fresh), MinusOnce: r.minus(once)}
	}
	return results
}

// perUser lists the recalls of the users that have targets.
func perUser(rankings map[Staleness]*ranking) map[Staleness]UserRecalls {
	users := map[Staleness]UserRecalls{}
	for s, r := range rankings {
		users[s] = UserRecalls{All: recalls(r.all), New: recalls(r.fresh)}
	}
	return users
}
