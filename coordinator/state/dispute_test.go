package state

import (
	"strings"
	"testing"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

const digestA, digestB = "00000000000000aa", "00000000000000bb"

// differed: the members of a generation had these states, by rank.
func differed(job string, gen uint64, step int64, digests ...string) *logpb.Command {
	return &logpb.Command{TimeMs: 9, Command: &logpb.Command_StatesDiffered{StatesDiffered: &logpb.StatesDiffered{JobId: job,
		Dispute: &logpb.Dispute{Generation: gen, Step: step, Digests: digests}}}}
}

func TestASecondDisputeAboutAStepFailsTheJob(t *testing.T) {
	m := running(t)
	m.ok(differed("a", 1, 7, digestA, digestB))
	if r := m.ok(differed("a", 1, 7, digestA, digestB)); !r.Duplicate {
		t.Fatal("what the other member reports counts once more")
	}
	m.ok(created("a", 2, 4, "w1", "w2"))
	m.refused(differed("a", 1, 7, digestA, digestB), ErrStale)
	m.ok(differed("a", 2, 6, digestA, digestB)) // another step
	m.ok(created("a", 3, 4, "w1", "w2"))
	m.wantState("a", "running")
	m.ok(differed("a", 3, 7, digestB, digestA))
	m.wantState("a", "failed")
	want := `members of numerics class "k" disagree about the state at step 7 a second time: worker w1 had ` + digestB + ", worker w2 had " + digestA +
		"; in generation 1 worker w1 had " + digestA + ", worker w2 had " + digestB
	if got := m.View().Job("a").Reason; got != want {
		t.Errorf("reason\n%s, want\n%s", got, want)
	}
	m.refused(differed("a", 3, 7, digestA, digestB), ErrState)
}

// Members of different classes may disagree as often as they like: that is no proof against either. Of one class, two are enough.
func TestDisputesAreCountedByClass(t *testing.T) {
	mixed := func(t *testing.T) *machine {
		m := newMachine(t)
		for id, class := range map[string]string{"w1": "k", "w2": "l", "w3": "k"} {
			w := registered(id)
			w.GetWorkerRegistered().Worker.NumericsClass = class
			m.ok(w)
		}
		d := demand()
		d.Mixed = true
		m.ok(submitted("a", "", d))
		return m
	}
	three := func(n uint64) *logpb.Command {
		c := created("a", n, 0, "w1", "w2", "w3")
		c.GetGenerationCreated().Generation.NumericsClass = ""
		return c
	}
	for _, x := range []struct {
		name    string
		digests []string // of w1, w2 and w3
		want    string
	}{
		{"between classes", []string{digestA, digestB, digestA}, "running"},
		{"within one", []string{digestA, digestA, digestB}, "failed"},
		{"both", []string{digestB, digestA, "00000000000000cc"}, "failed"},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := mixed(t)
			for n := range uint64(2) {
				m.ok(three(n + 1))
				m.ok(differed("a", n+1, 7, x.digests...))
			}
			m.wantState("a", x.want)
		})
	}
}

func TestDisputesThatCannotBeAreRefused(t *testing.T) {
	m := running(t)
	m.ok(created("a", 2, 4, "w1", "w2"))
	for what, c := range map[string]*logpb.Command{
		"0 digests of 2 members":             differed("a", 2, 7),
		"3 digests of 2 members":             differed("a", 2, 7, digestA, digestB, digestB),
		"all members have digest " + digestA: differed("a", 2, 7, digestA, digestA),
		`digest "bb" of rank 1`:              differed("a", 2, 7, digestA, "bb"),
		"generation 2 began at step 4":       differed("a", 2, 3, digestA, digestB),
	} {
		if _, err := m.do(c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want %q in it", err, what)
		}
		m.refused(c, ErrInvalid)
	}
	none := &logpb.Command{Command: &logpb.Command_StatesDiffered{StatesDiffered: &logpb.StatesDiffered{JobId: "a"}}}
	m.refused(none, ErrStale)
}

func TestDisputesAreBounded(t *testing.T) {
	m := running(t)
	for n := uint64(1); n <= MaxDisputes+5; n++ {
		m.ok(differed("a", n, int64(n), digestA, digestB))
		m.ok(created("a", n+1, 0, "w1", "w2"))
	}
	if d := m.View().Job("a").Disputes; len(d) != MaxDisputes || d[0].Step != 6 {
		t.Errorf("%d disputes from step %d on, want %d from 6", len(d), d[0].Step, MaxDisputes)
	}
}
