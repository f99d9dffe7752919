package schedule

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader/coordinator/state"
	"github.com/ringleader-dev/ringleader/proto/logpb"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the stories, instead of comparing")

// A story is a text file: lines that begin with "> " are done to a cluster; the lines below say what Plan then decided.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d stories, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := tell(t, string(want))
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("%s: got\n%s\nwant\n%s", f, got, want)
			}
		})
	}
}

func tell(t *testing.T, text string) string {
	w := newWorld(t)
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&out, line)
			w.do(line[2:])
			w.settle()
			out.WriteString(w.take())
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
		}
	}
	return out.String()
}

// world is a cluster without machines: what workers would do is told by the story.
type world struct {
	t      *testing.T
	s      *state.State
	v      View
	now    time.Time
	bench  Bench
	asked  map[string]Ask
	notes  map[string]string
	silent map[string]bool
	slow   map[string]bool // workers that take for ever to get ready
	out    strings.Builder
}

func newWorld(t *testing.T) *world {
	start := time.UnixMilli(1_000_000)
	return &world{t: t, s: state.New(), now: start, asked: map[string]Ask{}, notes: map[string]string{}, silent: map[string]bool{}, slow: map[string]bool{},
		v: View{Since: start.Add(-time.Hour), Workers: map[string]Worker{}, Steps: map[string]Progress{}}}
}

func (w *world) take() string { defer w.out.Reset(); return w.out.String() }

func (w *world) say(format string, args ...any) { fmt.Fprintf(&w.out, format+"\n", args...) }

func (w *world) apply(c *logpb.Command) error {
	c.TimeMs = w.now.UnixMilli()
	_, err := w.s.Apply(w.s.View().Index+1, c)
	if bad := w.s.Check(); bad != nil {
		w.t.Fatalf("after %v: %v", c, bad)
	}
	return err
}

// settle plans until nothing more happens, as the leader does.
func (w *world) settle() {
	for round := 0; ; round++ {
		if round > 10 {
			w.t.Fatal("planning does not come to rest")
		}
		for id, k := range w.v.Workers {
			if k.Attached && !w.silent[id] {
				k.Heard = w.now
				w.v.Workers[id] = k
			}
		}
		w.v.State, w.v.Benched = w.s.View(), w.bench.Until()
		d := Plan(w.now, w.v, DefaultPolicy())
		w.tell(d)
		if len(d.Commands) == 0 && !w.getReady(d) {
			return
		}
		for _, c := range d.Commands {
			if err := w.apply(c); err != nil {
				w.t.Fatalf("the state refuses %v: %v", c, err)
			}
			w.carryOut(c)
		}
		for job, who := range d.Blamed {
			w.bench.Blame(w.now, job, who)
		}
	}
}

// getReady does what workers do that are told to prepare for a job.
func (w *world) getReady(d Decision) (any bool) {
	for id, job := range d.Prepares {
		if k := w.v.Workers[id]; !w.slow[id] {
			k.Prepared, any = job, true
			if k.Holding.Job != job && k.Holding.Left {
				k.Holding = Holding{}
			}
			w.v.Workers[id] = k
		}
	}
	return any
}

func (w *world) tell(d Decision) {
	for _, job := range slices.Sorted(maps.Keys(d.Asks)) {
		if a := d.Asks[job]; w.asked[job] != a {
			w.say("%s: ask generation %d to %s: %s", job, a.Generation, a.Action, a.Why)
		}
	}
	w.asked = d.Asks
	for _, job := range slices.Sorted(maps.Keys(d.Notes)) {
		if n := d.Notes[job]; w.notes[job] != n {
			w.say("%s: (%s)", job, n)
		}
	}
	w.notes = d.Notes
}

func (w *world) carryOut(c *logpb.Command) {
	switch c := c.Command.(type) {
	case *logpb.Command_GenerationCreated:
		g := c.GenerationCreated.Generation
		var members []string
		for _, m := range g.Members {
			members = append(members, fmt.Sprintf("%s[%d-%d]", m.WorkerId, m.Shards[0], m.Shards[len(m.Shards)-1]))
			if k := w.v.Workers[m.WorkerId]; k.Attached {
				k.Holding, k.Prepared = Holding{Job: c.GenerationCreated.JobId, Generation: g.Number, Step: g.ResumeStep}, c.GenerationCreated.JobId
				w.v.Workers[m.WorkerId] = k
			}
		}
		w.say("%s: generation %d: %s", c.GenerationCreated.JobId, g.Number, strings.Join(members, " "))
		w.say("    step %d, holders %v, from %q", g.ResumeStep, g.Holders, g.ResumeUrl)
		w.say("    %s", g.Reason)
	case *logpb.Command_JobFinished:
		w.say("%s: %s: %s", c.JobFinished.JobId, state.StateName(c.JobFinished.State), c.JobFinished.Reason)
		w.release(c.JobFinished.JobId)
	case *logpb.Command_WorkerGone:
		w.say("forget worker %s", c.WorkerGone.WorkerId)
	}
}

func (w *world) release(job string) {
	for id, k := range w.v.Workers {
		if k.Holding.Job == job {
			k.Holding = Holding{}
			w.v.Workers[id] = k
		}
	}
}

// do does one line to the cluster: a verb, plain words, and key=value settings.
func (w *world) do(line string) {
	fields := strings.Fields(line)
	var words []string
	set := map[string]string{}
	for _, f := range fields[1:] {
		if k, v, ok := strings.Cut(f, "="); ok {
			set[k] = v
		} else {
			words = append(words, f)
		}
	}
	num := func(key string, otherwise int64) int64 {
		if set[key] == "" {
			return otherwise
		}
		n, err := strconv.ParseInt(set[key], 10, 64)
		if err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		return n
	}
	must := func(err error) {
		if err != nil {
			w.say("refused: %v", err)
		}
	}
	switch fields[0] {
	case "worker": // new workers, or new processes of old ones
		for _, id := range words {
			w.attach(id, set)
		}
	case "submit":
		d := &logpb.Demand{Name: words[0], Store: "mem://store", Device: cmp.Or(set["device"], "cpu"), Shards: 12, MinWorkers: int32(num("min", 1)), MaxWorkers: int32(num("max", 4)),
			Priority: int32(num("priority", 0)), Steps: 100, KeepCheckpoints: 3, Mixed: set["mixed"] != ""}
		must(w.apply(&logpb.Command{Command: &logpb.Command_JobSubmitted{JobSubmitted: &logpb.JobSubmitted{JobId: words[0], Spec: []byte("{}"), Demand: d, ResumeUrl: set["url"], ResumeStep: num("step", 0)}}}))
	case "control":
		a := map[string]logpb.JobAction{"pause": 1, "resume": 2, "cancel": 3}[words[1]]
		must(w.apply(&logpb.Command{Command: &logpb.Command_JobControlled{JobControlled: &logpb.JobControlled{JobId: words[0], Action: a}}}))
	case "commit": // commit JOB step=N [pause=yes] [final=yes]
		j := w.s.View().Job(words[0])
		n := num("step", 0)
		must(w.apply(&logpb.Command{Command: &logpb.Command_CheckpointCommitted{CheckpointCommitted: &logpb.CheckpointCommitted{JobId: words[0], Pause: set["pause"] != "",
			Checkpoint: &logpb.Checkpoint{Step: n, Directory: fmt.Sprintf("step-%08d", n), StateDigest: "d", Generation: state.Current(j).Number, Final: set["final"] != ""}}}}))
		if !state.Live(w.s.View().Job(words[0])) {
			w.say("%s: %s", words[0], w.s.View().Job(words[0]).Reason)
			w.release(words[0])
		}
	case "bad": // bad JOB step=N: the checkpoint does not load
		j := w.s.View().Job(words[0])
		must(w.apply(&logpb.Command{Command: &logpb.Command_CheckpointRefused{CheckpointRefused: &logpb.CheckpointRefused{JobId: words[0], Generation: state.Current(j).Number, Directory: fmt.Sprintf("step-%08d", num("step", 0)), Error: "sha256 differs"}}}))
	case "step": // step JOB N: the gang has made it
		n, err := strconv.ParseInt(words[1], 10, 64)
		must(err)
		w.v.Steps[words[0]] = Progress{state.Current(w.s.View().Job(words[0])).Number, n}
		w.bench.Forgive(words[0])
	case "left", "planned": // left WORKER... step=N [culprit=W] [how=a_b] [hung=yes] [draining=yes]
		for _, id := range words {
			k := w.v.Workers[id]
			k.Holding.Left, k.Holding.LeftAt, k.Holding.Planned = true, w.now, fields[0] == "planned"
			k.Holding.Step, k.Holding.Culprit, k.Holding.Hung = num("step", k.Holding.Step), set["culprit"], set["hung"] != ""
			k.Holding.How = strings.ReplaceAll(set["how"], "_", " ")
			k.Draining = set["draining"] != ""
			w.v.Workers[id] = k
		}
	case "gone": // streams end
		for _, id := range words {
			k := w.v.Workers[id]
			k.Attached, k.DetachedAt = false, w.now
			w.v.Workers[id] = k
		}
	case "back": // streams come back; the processes are the same
		for _, id := range words {
			k := w.v.Workers[id]
			if inc := w.s.View().Worker(id).Incarnation; k.Incarnation == "" {
				k.Incarnation = inc
			}
			k.Attached, k.AttachedAt, k.Heard = true, w.now, w.now
			if set["job"] != "" {
				k.Holding = Holding{Job: set["job"], Generation: uint64(num("gen", 0)), Step: num("step", -1), Left: set["left"] != "", LeftAt: w.now, How: set["how"], Culprit: set["culprit"]}
			}
			w.v.Workers[id] = k
		}
	case "slow": // workers take for ever to get ready
		for _, id := range words {
			w.slow[id] = true
		}
	case "ready": // they are
		for _, id := range words {
			delete(w.slow, id)
		}
	case "silent": // streams stay, nothing is heard
		for _, id := range words {
			w.silent[id] = true
		}
	case "leader": // a new one: it knows nobody yet. With "behind": its clock is an hour behind
		if len(words) > 0 {
			w.now = w.now.Add(-time.Hour)
		}
		w.v.Since, w.v.Workers, w.v.Steps, w.bench = w.now, map[string]Worker{}, map[string]Progress{}, Bench{}
	case "wait":
		d, err := time.ParseDuration(words[0])
		must(err)
		for end := w.now.Add(d); w.now.Before(end); {
			w.now = w.now.Add(100 * time.Millisecond)
			before := w.out.Len()
			w.settle()
			if w.out.Len() > before {
				text := w.out.String()
				w.out.Reset()
				w.out.WriteString(text[:before])
				w.say("  after %v:", d-end.Sub(w.now))
				w.out.WriteString(text[before:])
			}
		}
	default:
		w.t.Fatalf("%q: unknown verb", line)
	}
}

func (w *world) attach(id string, set map[string]string) {
	old := w.s.View().Worker(id)
	worker := &logpb.Worker{Id: id, Incarnation: "1", Address: id + ":1", Device: "cpu", NumericsClass: "k"}
	if old != nil {
		worker.Incarnation = old.Incarnation + "+"
	}
	if set["class"] != "" {
		worker.NumericsClass = set["class"]
	}
	if set["device"] != "" {
		worker.Device = set["device"]
	}
	if err := w.apply(&logpb.Command{Command: &logpb.Command_WorkerRegistered{WorkerRegistered: &logpb.WorkerRegistered{Worker: worker}}}); err != nil {
		w.t.Fatal(err)
	}
	w.v.Workers[id] = Worker{Incarnation: worker.Incarnation, Attached: true, AttachedAt: w.now, Heard: w.now}
}
