package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

// Short constructors of commands.

func submitted(id, key string, d *logpb.Demand) *logpb.Command {
	return &logpb.Command{TimeMs: 5, Command: &logpb.Command_JobSubmitted{JobSubmitted: &logpb.JobSubmitted{JobId: id, Key: key, Spec: []byte(`{"name":"` + id[:1] + `"}`), Demand: d}}}
}

func demand() *logpb.Demand {
	return &logpb.Demand{Name: "j", JobDigest: "00112233aabbccdd", Store: "file:///ckpt/", Device: "cpu", Shards: 6, MinWorkers: 1, MaxWorkers: 3, Steps: 100, KeepCheckpoints: 2}
}

func registered(id string) *logpb.Command {
	return &logpb.Command{TimeMs: 5, Command: &logpb.Command_WorkerRegistered{WorkerRegistered: &logpb.WorkerRegistered{
		Worker: &logpb.Worker{Id: id, Incarnation: id + "-1", Address: id + ":1", Device: "cpu", NumericsClass: "k"}}}}
}

func created(job string, number uint64, resume int64, workers ...string) *logpb.Command {
	g := &logpb.Generation{Number: number, ResumeStep: resume, NumericsClass: "k", Reason: "test"}
	if resume > 0 {
		g.Holders = []int32{0}
	}
	for r, w := range workers {
		m := &logpb.Member{WorkerId: w, Incarnation: w + "-1"}
		for s := r * 6 / len(workers); s < (r+1)*6/len(workers); s++ {
			m.Shards = append(m.Shards, int32(s))
		}
		g.Members = append(g.Members, m)
	}
	return &logpb.Command{TimeMs: 6, Command: &logpb.Command_GenerationCreated{GenerationCreated: &logpb.GenerationCreated{JobId: job, Generation: g}}}
}

func committed(job string, gen uint64, step int64, digest string, final, pause bool) *logpb.Command {
	return &logpb.Command{TimeMs: 7, Command: &logpb.Command_CheckpointCommitted{CheckpointCommitted: &logpb.CheckpointCommitted{JobId: job, Pause: pause,
		Checkpoint: &logpb.Checkpoint{Step: step, Directory: fmt.Sprintf("step-%08d-%s", step, digest), StateDigest: digest, Generation: gen, Final: final}}}}
}

func controlled(job string, a logpb.JobAction) *logpb.Command {
	return &logpb.Command{TimeMs: 8, Command: &logpb.Command_JobControlled{JobControlled: &logpb.JobControlled{JobId: job, Action: a}}}
}

func finished(job string, s logpb.JobState) *logpb.Command {
	return &logpb.Command{TimeMs: 9, Command: &logpb.Command_JobFinished{JobFinished: &logpb.JobFinished{JobId: job, State: s, Reason: "asked for"}}}
}

func failed(job string, gen uint64) *logpb.Command {
	return &logpb.Command{TimeMs: 9, Command: &logpb.Command_JobFailed{JobFailed: &logpb.JobFailed{JobId: job, Generation: gen, Error: "NaN"}}}
}

const (
	pauseAction  = logpb.JobAction_JOB_ACTION_PAUSE
	resumeAction = logpb.JobAction_JOB_ACTION_RESUME
	cancelAction = logpb.JobAction_JOB_ACTION_CANCEL
)

// machine applies commands and checks the invariants after each.
type machine struct {
	t *testing.T
	*State
}

func newMachine(t *testing.T, cmds ...*logpb.Command) *machine {
	m := &machine{t, New()}
	for _, c := range cmds {
		m.ok(c)
	}
	return m
}

func (m *machine) do(c *logpb.Command) (Result, error) {
	m.t.Helper()
	r, err := m.Apply(m.view.Index+1, c)
	if bad := m.Check(); bad != nil {
		m.t.Fatalf("after %v: %v", c, bad)
	}
	return r, err
}

func (m *machine) ok(c *logpb.Command) Result {
	m.t.Helper()
	r, err := m.do(c)
	if err != nil {
		m.t.Fatalf("%v: %v", c, err)
	}
	return r
}

func (m *machine) refused(c *logpb.Command, want error) {
	m.t.Helper()
	before := m.View()
	_, err := m.do(c)
	if !errors.Is(err, want) {
		m.t.Fatalf("%v: error %v, want %v", c, err, want)
	}
	after := m.View()
	after.Index = before.Index
	if hash(m.t, before) != hash(m.t, after) {
		m.t.Fatalf("%v: refused, yet it changed something", c)
	}
}

func hash(t *testing.T, v View) string {
	t.Helper()
	h, err := v.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (m *machine) wantState(job, want string) {
	m.t.Helper()
	if got := StateName(m.View().Job(job).State); got != want {
		m.t.Fatalf("job %s is %s, want %s", job, got, want)
	}
}

func running(t *testing.T) *machine {
	return newMachine(t, registered("w1"), registered("w2"), registered("w3"), submitted("a", "key", demand()), created("a", 1, 0, "w1", "w2"))
}

// TestSubmitAgainWithARun: whoever submits the same again, with the same run to resume from, gets the same job, although the run has come further.
func TestSubmitAgainWithARun(t *testing.T) {
	resuming := func(url string, step int64) *logpb.Command {
		c := submitted("a", "key", demand())
		c.GetJobSubmitted().ResumeUrl, c.GetJobSubmitted().ResumeStep = url, step
		return c
	}
	m := newMachine(t)
	m.ok(resuming("s3://b/run/step-00000010-aa", 10))
	for _, c := range []struct {
		url  string
		step int64
		same bool
	}{
		{"s3://b/run/step-00000010-aa", 10, true},
		{"s3://b/run/step-00000020-bb", 20, true},
		{"s3://b/run/step-00000005-cc", 5, false},
		{"s3://b/run/step-00000010-dd", 10, false},
		{"s3://b/other/step-00000020-bb", 20, false},
		{"", 0, false},
	} {
		if c.same {
			if r := m.ok(resuming(c.url, c.step)); !r.Duplicate {
				t.Errorf("%+v is another job", c)
			}
		} else {
			m.refused(resuming(c.url, c.step), ErrExists)
		}
	}
}

func TestSubmitIsIdempotentByKey(t *testing.T) {
	m := newMachine(t, submitted("a", "key", demand()))
	if r := m.ok(submitted("a2", "key", demand())); !r.Duplicate || r.Job.Id != "a" {
		t.Fatalf("same key gave %+v", r)
	}
	m.refused(submitted("b", "key", demand()), ErrExists) // another spec
	m.refused(submitted("a", "", demand()), ErrExists)
	d := demand()
	d.MinWorkers = 7
	d.MaxWorkers = 8
	m.refused(submitted("c", "", d), ErrInvalid)
	if n := len(m.View().Jobs); n != 1 {
		t.Fatalf("%d jobs", n)
	}
}

func TestGangIsAdmittedWholeOrNotAtAll(t *testing.T) {
	m := newMachine(t, registered("w1"), registered("w2"), submitted("a", "", demand()), submitted("b", "", demand()))
	m.refused(created("a", 1, 0, "w1", "w9"), ErrNotFound)
	m.refused(created("a", 2, 0, "w1"), ErrStale)
	m.refused(created("a", 1, 0, "w1", "w1"), ErrInvalid)
	bad := created("a", 1, 0, "w1", "w2")
	bad.GetGenerationCreated().Generation.Members[1].Shards = []int32{2, 3}
	m.refused(bad, ErrInvalid)
	bad = created("a", 1, 0, "w1")
	bad.GetGenerationCreated().Generation.Members[0].Incarnation = "older"
	m.refused(bad, ErrStale)
	bad = created("a", 1, 0, "w1")
	bad.GetGenerationCreated().Generation.NumericsClass = "other"
	m.refused(bad, ErrInvalid)
	bad = created("a", 1, 5, "w1")
	bad.GetGenerationCreated().Generation.Holders = nil
	m.refused(bad, ErrInvalid) // step 5 from nowhere
	m.ok(created("a", 1, 0, "w1"))
	m.refused(created("b", 1, 0, "w1", "w2"), ErrState) // w1 is taken
	m.ok(created("b", 1, 0, "w2"))
	m.refused(&logpb.Command{Command: &logpb.Command_WorkerGone{WorkerGone: &logpb.WorkerGone{WorkerId: "w1"}}}, ErrState)
}

func TestCheckpointCommitsOnce(t *testing.T) {
	m := running(t)
	m.ok(committed("a", 1, 10, "d10", false, false))
	if r := m.ok(committed("a", 1, 10, "d10", false, false)); !r.Duplicate {
		t.Fatal("the second commit was not a duplicate")
	}
	m.refused(committed("a", 1, 10, "other", false, false), ErrConflict)
	m.ok(created("a", 2, 10, "w1", "w3"))
	m.refused(committed("a", 1, 20, "d20", false, false), ErrStale)
	if r := m.ok(committed("a", 1, 10, "d10", false, false)); !r.Duplicate { // an older gang, but the digest is equal
		t.Fatal("not a duplicate")
	}
	m.ok(committed("a", 2, 20, "d20", false, false))
	if r := m.ok(committed("a", 2, 30, "d30", false, false)); !slices.Equal(r.Retire, []string{"step-00000010-d10"}) {
		t.Fatalf("retire %v", r.Retire)
	}
	if r := m.ok(committed("a", 2, 40, "d40", false, false)); !slices.Equal(r.Retire, []string{"step-00000010-d10", "step-00000020-d20"}) {
		t.Fatalf("retire %v, want what the last two commits gave up", r.Retire)
	}
	m.ok(committed("a", 2, 100, "d100", true, false))
	m.wantState("a", "succeeded")
	if r := m.ok(committed("a", 2, 100, "d100", true, false)); !r.Duplicate {
		t.Fatal("the final commit counted twice")
	}
	m.refused(controlled("a", cancelAction), ErrState)
}

func TestRefusedCheckpointIsPassedOver(t *testing.T) {
	m := running(t)
	m.ok(committed("a", 1, 10, "d10", false, false))
	m.ok(committed("a", 1, 20, "d20", false, false))
	m.ok(&logpb.Command{Command: &logpb.Command_CheckpointRefused{CheckpointRefused: &logpb.CheckpointRefused{JobId: "a", Generation: 1, Directory: "step-00000020-d20", Error: "sha256 differs"}}})
	if c := NewestCheckpoint(m.View().Job("a")); c.Step != 10 {
		t.Fatalf("newest is %v", c)
	}
	// Written again: good again. The bad one does not count among those that are kept.
	m.ok(committed("a", 1, 20, "d20", false, false))
	if c := NewestCheckpoint(m.View().Job("a")); c.Step != 20 {
		t.Fatalf("newest is %v", c)
	}
	if url := CheckpointURL(m.View().Job("a"), NewestCheckpoint(m.View().Job("a"))); url != "file:///ckpt/step-00000020-d20" {
		t.Fatal(url)
	}
}

func TestPauseResumeCancel(t *testing.T) {
	m := running(t)
	m.refused(finished("a", logpb.JobState_JOB_STATE_PAUSED), ErrState) // nobody asked
	m.ok(controlled("a", pauseAction))
	m.wantState("a", "running")
	m.ok(committed("a", 1, 10, "d10", false, true))
	m.wantState("a", "paused")
	m.refused(created("a", 2, 10, "w1"), ErrState)
	m.ok(controlled("a", resumeAction))
	m.wantState("a", "queued")
	m.ok(created("a", 2, 10, "w1"))
	m.ok(controlled("a", pauseAction))
	m.ok(controlled("a", resumeAction)) // withdrawn
	m.ok(committed("a", 2, 20, "d20", false, true))
	m.wantState("a", "running")
	m.ok(controlled("a", cancelAction))
	m.refused(controlled("a", pauseAction), ErrState)
	m.refused(controlled("a", resumeAction), ErrState)
	m.ok(finished("a", logpb.JobState_JOB_STATE_CANCELLED))
	m.wantState("a", "cancelled")
	if r := m.ok(controlled("a", cancelAction)); !r.Duplicate {
		t.Fatal("cancel is not idempotent")
	}
	m.refused(controlled("zz", cancelAction), ErrNotFound)
}

func TestFinalCheckpointOfAPauseIsAPause(t *testing.T) {
	for step, want := range map[int64]string{50: "paused", 100: "succeeded"} {
		m := running(t)
		m.ok(controlled("a", pauseAction))
		m.ok(committed("a", 1, step, "d", true, false))
		m.wantState("a", want)
	}
}

func TestFailureOfAnOlderGangIsRefused(t *testing.T) {
	m := running(t)
	m.ok(created("a", 2, 3, "w1"))
	m.refused(failed("a", 1), ErrStale)
	m.ok(failed("a", 2))
	m.wantState("a", "failed")
}

func TestFinishingIsKeptThroughAWish(t *testing.T) {
	m := running(t)
	fin := &logpb.Command{Command: &logpb.Command_JobFinishing{JobFinishing: &logpb.JobFinishing{JobId: "a", Generation: 1}}}
	m.ok(fin)
	m.refused(controlled("a", pauseAction), ErrState)
	m.ok(controlled("a", cancelAction))
	m.wantState("a", "finishing")
	m.ok(finished("a", logpb.JobState_JOB_STATE_CANCELLED))
}

func TestOldEndedJobsAreForgotten(t *testing.T) {
	m := &machine{t, New()}
	for i := range MaxEndedJobs + 5 {
		id := fmt.Sprintf("x%d", i)
		for _, c := range []*logpb.Command{submitted(id, id, demand()), controlled(id, cancelAction)} {
			if _, err := m.Apply(m.view.Index+1, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.ok(submitted("last", "", demand()))
	if n := len(m.View().Jobs); n != MaxEndedJobs+1 {
		t.Fatalf("%d jobs", n)
	}
	if m.View().Job("x0") != nil || m.View().JobByKey("x9") == nil {
		t.Fatal("the wrong ones were forgotten")
	}
}

func TestEventsAreBoundedAndNumbered(t *testing.T) {
	m := running(t)
	for i := range MaxEvents + 10 {
		if _, err := m.Apply(m.view.Index+1, &logpb.Command{Command: &logpb.Command_JobNoted{JobNoted: &logpb.JobNoted{JobId: "a", Text: fmt.Sprint(i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	ev := m.View().Job("a").Events
	if len(ev) != MaxEvents || ev[MaxEvents-1].Text != fmt.Sprint(MaxEvents+9) {
		t.Fatalf("%d events, the last %v", len(ev), ev[len(ev)-1])
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestLongTextsStayOneValidLine(t *testing.T) {
	got := shorten("a\nb" + string(bytes.Repeat([]byte("é"), 2000)) + "\xff")
	if len(got) > maxText+3 || bytes.ContainsRune([]byte(got), '\n') || !bytes.HasSuffix([]byte(got), []byte("é...")) {
		t.Fatalf("%d bytes: %q", len(got), got[len(got)-10:])
	}
}

// random draws a command that is sensible often enough to get far.
func random(r *rand.Rand, v View) *logpb.Command {
	job := string(rune('a' + r.IntN(4)))
	gen := uint64(r.IntN(3))
	if j := v.Job(job); j != nil {
		gen = Current(j).GetNumber() + uint64(r.IntN(3)) - 1
	}
	workers := []string{"w1", "w2", "w3", "w4"}
	r.Shuffle(4, func(i, k int) { workers[i], workers[k] = workers[k], workers[i] })
	step := int64(r.IntN(12)) * 10
	digest := "d"
	if r.IntN(30) == 0 {
		digest = "e"
	}
	switch r.IntN(16) {
	case 0:
		d := demand()
		d.KeepCheckpoints, d.KeepEvery, d.KeepBest = int32(r.IntN(3)), int64(r.IntN(3)*20), int32(r.IntN(3))
		d.MaxWorkers = int32(1 + r.IntN(4))
		return submitted(job+fmt.Sprint(r.IntN(2))[:r.IntN(2)], []string{"", job}[r.IntN(2)], d)
	case 1:
		c := registered(workers[0])
		if r.IntN(8) == 0 {
			c.GetWorkerRegistered().Worker.Incarnation = "again"
		}
		return c
	case 2:
		return &logpb.Command{Command: &logpb.Command_WorkerGone{WorkerGone: &logpb.WorkerGone{WorkerId: workers[0]}}}
	case 3, 4, 5:
		return created(job, gen, step, workers[:1+r.IntN(3)]...)
	case 6, 7, 8:
		return committed(job, gen, step, digest, r.IntN(10) == 0, r.IntN(5) == 0)
	case 9:
		return controlled(job, logpb.JobAction(r.IntN(5)))
	case 10:
		return finished(job, []logpb.JobState{logpb.JobState_JOB_STATE_PAUSED, logpb.JobState_JOB_STATE_CANCELLED, logpb.JobState_JOB_STATE_FAILED}[r.IntN(3)])
	case 11, 12:
		return scored(job, step, r.Float64())
	case 13:
		return &logpb.Command{Command: &logpb.Command_JobFinishing{JobFinishing: &logpb.JobFinishing{JobId: job, Generation: gen}}}
	case 14:
		var digests []string
		for j := v.Job(job); j != nil && len(digests) < len(Current(j).GetMembers()); {
			digests = append(digests, []string{digestA, digestB}[r.IntN(2)])
		}
		return differed(job, gen, step, digests...)
	}
	if r.IntN(4) == 0 {
		return failed(job, gen)
	}
	return &logpb.Command{Command: &logpb.Command_CheckpointRefused{CheckpointRefused: &logpb.CheckpointRefused{JobId: job, Generation: gen, Directory: fmt.Sprintf("step-%08d-d", step), Error: "bad"}}}
}

// Whatever is applied: the invariants hold, a refused command changes nothing, views stay as they were, a snapshot
// round-trips, and a replica that reads the log's bytes, or a snapshot and the rest of the log, is equal.
func TestRandomCommands(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newMachine(t)
		replica, late := New(), New()
		accepted := 0
		for range 250 {
			before := m.View()
			beforeHash := hash(t, before)
			cmd := random(r, before)
			entry, err := Encode(cmd)
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.do(cmd)
			if err == nil {
				accepted++
			} else {
				after := m.View()
				after.Index = before.Index
				if hash(t, after) != beforeHash {
					t.Fatalf("seed %d: %v was refused (%v), yet it changed something", seed, cmd, err)
				}
			}
			if hash(t, before) != beforeHash {
				t.Fatalf("seed %d: %v changed an older view", seed, cmd)
			}
			again, err := Decode(entry)
			if err != nil || !proto.Equal(again, cmd) {
				t.Fatalf("seed %d: decoded %v, %v", seed, again, err)
			}
			for _, s := range []*State{replica, late} {
				s.Apply(m.view.Index, again) //nolint:errcheck // the same error as above; the hash tells
			}
			if r.IntN(25) == 0 {
				late = roundTrip(t, late)
			}
			if want := hash(t, m.View()); hash(t, replica.View()) != want || hash(t, late.View()) != want {
				t.Fatalf("seed %d: replicas differ after %v", seed, cmd)
			}
		}
		if accepted < 40 {
			t.Fatalf("seed %d: only %d commands were accepted: the test tests nothing", seed, accepted)
		}
	}
}

func roundTrip(t *testing.T, s *State) *State {
	t.Helper()
	var b bytes.Buffer
	if err := s.View().WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	out, err := ReadSnapshot(&b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	m := running(t)
	var b bytes.Buffer
	if err := m.View().WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	entry, err := Encode(committed("a", 1, 10, "d10", false, false))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * b.Len() {
		broken := bytes.Clone(b.Bytes())
		broken[bit/8] ^= 1 << (bit % 8)
		if _, err := ReadSnapshot(bytes.NewReader(broken)); err == nil {
			t.Fatalf("snapshot with bit %d flipped was read", bit)
		}
	}
	for n := range b.Len() {
		if _, err := ReadSnapshot(bytes.NewReader(b.Bytes()[:n])); err == nil {
			t.Fatalf("snapshot cut to %d bytes was read", n)
		}
	}
	for bit := range 8 * len(entry) {
		broken := bytes.Clone(entry)
		broken[bit/8] ^= 1 << (bit % 8)
		if _, err := Decode(broken); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("entry with bit %d flipped: %v", bit, err)
		}
	}
}
