package schedule

import (
	"maps"
	"time"
)

// Bench counts whom the faults of a gang are laid on, and keeps those out for a while who come up again and again: the
// first two times are free, then it is 1 s, doubling up to a minute. A step forgives all. The zero value is ready.
type Bench struct {
	strikes map[string]map[string]int
	until   map[string]map[string]time.Time
}

// Blame lays a fault of the job's gang on a worker; the empty name is nobody.
func (b *Bench) Blame(now time.Time, job, worker string) {
	if worker == "" {
		return
	}
	if b.strikes == nil {
		b.strikes, b.until = map[string]map[string]int{}, map[string]map[string]time.Time{}
	}
	if b.strikes[job] == nil {
		b.strikes[job] = map[string]int{}
	}
	b.strikes[job][worker]++
	if n := b.strikes[job][worker]; n >= 3 {
		until := maps.Clone(b.until[job])
		if until == nil {
			until = map[string]time.Time{}
		}
		until[worker] = now.Add(min(time.Second<<min(n-3, 10), time.Minute))
		b.until = maps.Clone(b.until)
		b.until[job] = until
	}
}

// Forgive forgets the faults of a job's gang: it has made a step, or has ended. Who is out stays out for its time.
func (b *Bench) Forgive(job string) { delete(b.strikes, job) }

// Until is View.Benched. It may be kept: later calls do not change it.
func (b *Bench) Until() map[string]map[string]time.Time { return b.until }

// Expire forgets what is over, and jobs that gone says are.
func (b *Bench) Expire(now time.Time, gone func(job string) bool) {
	next := map[string]map[string]time.Time{}
	for job, workers := range b.until {
		for w, t := range workers {
			if now.Before(t) && !gone(job) {
				if next[job] == nil {
					next[job] = map[string]time.Time{}
				}
				next[job][w] = t
			}
		}
	}
	b.until = next
	maps.DeleteFunc(b.strikes, func(job string, _ map[string]int) bool { return gone(job) })
}
