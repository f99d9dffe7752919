package schedule

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/state"
)

// Whatever happens to a cluster, planning comes to rest, the state takes every command (world.settle fails otherwise), and
// the same view gives the same decision. At the end, with all workers back, every job that can be served is.
func TestRandomStories(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := newWorld(t)
		for range 80 {
			line := randomLine(r, w)
			if line == "" {
				continue
			}
			w.do(line)
			w.settle()
			a, b := Plan(w.now, w.v, DefaultPolicy()), Plan(w.now, w.v, DefaultPolicy())
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("seed %d, after %q: two decisions from one view:\n%v\n%v", seed, line, a, b)
			}
		}
		w.silent = map[string]bool{}
		for i := range 5 {
			w.do(fmt.Sprintf("worker w%d", i))
		}
		w.do("wait 12s")
		for _, j := range w.s.View().Jobs {
			if j.Demand.Priority == 9 || state.Ended(j) || j.Demand.MinWorkers > 3 {
				continue
			}
			if note := w.notes[j.Id]; strings.Contains(note, "come back") || strings.Contains(note, "reports") {
				t.Fatalf("seed %d: job %s is stuck: %s\n%s", seed, j.Id, note, w.take())
			}
		}
	}
}

func randomLine(r *rand.Rand, w *world) string {
	id := fmt.Sprintf("w%d", r.IntN(5))
	job := fmt.Sprintf("j%d", r.IntN(4))
	known := w.s.View().Worker(id) != nil
	j := w.s.View().Job(job)
	live := j != nil && state.Live(j)
	k := w.v.Workers[id]
	switch r.IntN(16) {
	case 0, 1:
		return "worker " + id
	case 2:
		return fmt.Sprintf("submit %s min=%d max=%d priority=%d", job, 1+r.IntN(3), 3+r.IntN(3), r.IntN(2))
	case 3, 4:
		if k.Attached {
			return "gone " + id
		}
	case 5:
		if known && !k.Attached && k.Incarnation != "" {
			return "back " + id
		}
	case 6, 7, 8:
		if k.Attached && k.Holding.Job != "" && !k.Holding.Left {
			return fmt.Sprintf("left %s step=%d culprit=w%d how=reset", id, r.IntN(40)-1, r.IntN(5)) + []string{"", " hung=yes"}[r.IntN(2)]
		}
	case 9:
		if k.Attached && k.Holding.Job != "" && !k.Holding.Left {
			return fmt.Sprintf("planned %s step=%d", id, r.IntN(40)) + []string{"", " draining=yes"}[r.IntN(2)]
		}
	case 10:
		if live {
			return fmt.Sprintf("step %s %d", job, r.IntN(40))
		}
	case 11:
		if live {
			return fmt.Sprintf("commit %s step=%d", job, r.IntN(40)) + []string{"", " pause=yes", " final=yes", ""}[r.IntN(4)]
		}
	case 12:
		if j != nil {
			return "control " + job + []string{" pause", " resume", " cancel"}[r.IntN(3)]
		}
	case 13:
		return fmt.Sprintf("wait %dms", 100*r.IntN(60))
	case 14:
		if r.IntN(4) == 0 {
			return "leader"
		}
	case 15:
		if k.Attached {
			return "silent " + id
		}
	}
	return ""
}

func TestPolicyNamesWhatIsWrong(t *testing.T) {
	if err := DefaultPolicy().Validate(); err != nil {
		t.Fatal(err)
	}
	p := DefaultPolicy()
	p.ReportWait = -time.Second
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "report wait -1s") {
		t.Fatal(err)
	}
}

func TestBenchForgivesAndExpires(t *testing.T) {
	var b Bench
	now := time.Unix(100, 0)
	b.Blame(now, "j", "")
	for n := range 5 {
		b.Blame(now, "j", "w")
		want := []time.Duration{0, 0, time.Second, 2 * time.Second, 4 * time.Second}[n]
		if until := b.Until()["j"]["w"]; want > 0 && !until.Equal(now.Add(want)) || want == 0 && !until.IsZero() {
			t.Fatalf("after %d faults it is out until %v", n+1, until)
		}
	}
	b.Forgive("j")
	b.Blame(now, "j", "w") // the first again
	if until := b.Until()["j"]["w"]; !until.Equal(now.Add(4 * time.Second)) {
		t.Fatalf("forgiving changed the time that is running: %v", until)
	}
	kept := b.Until()
	b.Expire(now.Add(5*time.Second), func(string) bool { return false })
	if len(b.Until()) != 0 || len(kept) != 1 {
		t.Fatalf("%v, %v", b.Until(), kept)
	}
}
