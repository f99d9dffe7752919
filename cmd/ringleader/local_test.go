package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

func TestClaimDir(t *testing.T) {
	top := t.TempDir()
	run, other := filepath.Join(top, "run"), filepath.Join(top, "run-2")
	for _, d := range []string{run, other} {
		if err := os.MkdirAll(filepath.Join(d, "store", "step-00000001-00000000"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, dir, resume string
		forked, ok        bool
	}{
		{"new", filepath.Join(top, "new"), "", false, true},
		{"new, forked", filepath.Join(top, "new-2"), run, true, true},
		{"occupied", run, "", false, false},
		{"its own run", run, run, false, true},
		{"its own run as a URL", run, "file://" + run, false, true},
		{"its own checkpoint", run, filepath.Join(run, "store", "step-00000001-00000000"), false, true},
		{"another run", run, other, false, false},
		{"a bucket", run, "s3://bucket/run", false, false},
		{"its own run, forked", run, run, true, false},
	} {
		if got, err := claimDir(c.dir, c.resume, c.forked); (err == nil) != c.ok || c.ok && got != c.dir {
			t.Errorf("%s: %q, %v; want ok %v", c.name, got, err, c.ok)
		}
	}
}

// TestNewClusterIsNew: what a cluster that was killed left behind is not taken up again.
func TestNewClusterIsNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cluster")
	if err := os.MkdirAll(filepath.Join(dir, "coordinator-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := newCluster(dir, filepath.Join(t.TempDir(), "logs"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "coordinator-0")); err == nil {
		t.Error("an old coordinator's directory is still there")
	}
	if info, err := os.Stat(c.tokenFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("token file: %v, %v", info, err)
	}
	if err := c.stop(); err != nil {
		t.Error(err)
	}
}

// aRun is a local run of three workers that has not been started, with what its workers say.
func aRun(t *testing.T, specs ...string) (r *localRun, says func(worker int, e event, at time.Duration)) {
	t.Helper()
	faults, err := parseFaults(specs)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{}
	for range 3 {
		done := make(chan struct{})
		close(done)
		c.workers = append(c.workers, &child{name: "worker", stdin: sink{}, done: done})
	}
	losses, err := openLossLog(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := losses.close(); err != nil {
			t.Error(err)
		}
	})
	r = &localRun{losses: losses, plan: &localPlan{spec: job.Spec{How: job.How{Store: "store"}}}, cluster: c, show: newDisplay(io.Discard), report: &localReport{},
		pending: faults, atHold: map[*child]event{}, job: &rpcpb.JobInfo{}}
	start := time.Now()
	return r, func(worker int, e event, at time.Duration) {
		t.Helper()
		e.Event = "step"
		if err := r.hear(t.Context(), heard{from: c.workers[worker], at: start.Add(at), event: e}); err != nil {
			t.Fatal(err)
		}
	}
}

type sink struct{ io.Writer }

func (sink) Write(b []byte) (int, error) { return len(b), nil }
func (sink) Close() error                { return nil }

// TestMeasure: a fault costs the time to the next completed step; a join, to the first step of the joiner; a leader, the longest step of the
// five seconds after.
func TestMeasure(t *testing.T) {
	r, says := aRun(t)
	at := func(kind string, leader bool, joiner *child) *strike {
		s := &strike{fault: fault{kind: kind, on: map[bool]string{true: onLeader, false: onWorker}[leader], step: 5}, report: &faultReport{}, joiner: joiner}
		r.struck = append(r.struck, s)
		return s
	}
	says(0, event{Step: 5}, 0)
	kill, join, leader := at("kill", false, nil), at("join", false, r.cluster.workers[2]), at("kill", true, nil)
	for _, s := range r.struck {
		s.at = r.since
	}
	says(1, event{Step: 5}, 10*time.Millisecond) // the same step again is no new one
	says(0, event{Step: 6, Users: 8}, 300*time.Millisecond)
	says(1, event{Step: 7, Users: 8}, 1300*time.Millisecond)
	says(2, event{Step: 8, Users: 8}, 1500*time.Millisecond)
	says(0, event{Step: 9, Users: 8}, 6500*time.Millisecond)
	says(0, event{Step: 10, Users: 8}, 20*time.Second) // long after
	for name, c := range map[string]struct {
		s    *strike
		want float64
	}{"kill": {kill, .3}, "join": {join, 1.5}, "leader": {leader, 5}} {
		if got := c.s.report.RecoverySeconds; got == nil || *got != c.want {
			t.Errorf("%s cost %v, want %v", name, got, c.want)
		}
	}
	r.summarise()
	if r.report.Steps != 10 || r.report.UsersPerS != 2 {
		t.Errorf("report %+v: want 10 steps and 2 users/s", r.report)
	}
}

// TestHold: a fault strikes when all members of the generation wait at its step, and not before.
func TestHold(t *testing.T) {
	r, says := aRun(t, "join:worker@5", "kill:worker:0@7")
	if got := strings.Join(r.holds(), " "); got != "--hold 5,7" {
		t.Errorf("workers are started with %q, want the steps 5 and 7", got)
	}
	says(0, event{Step: 5, Size: 3, Generation: 1}, 0)
	says(1, event{Step: 5, Size: 3, Generation: 1}, 0)
	says(2, event{Step: 4, Size: 3, Generation: 1}, 0)
	says(2, event{Step: 5, Size: 2, Generation: 2}, 0) // of another generation
	if len(r.atHold) != 3 || len(r.struck) != 0 {
		t.Fatalf("%d workers wait, %d faults struck: want 3, and none yet", len(r.atHold), len(r.struck))
	}
	if err := r.hear(t.Context(), heard{from: r.cluster.workers[2], ended: true}); err == nil || len(r.atHold) != 2 {
		t.Errorf("a worker that ended on its own: %v, %d wait", err, len(r.atHold))
	}
	r.cluster.workers[0].lost = true
	if err := r.hear(t.Context(), heard{from: r.cluster.workers[0], ended: true}); err != nil {
		t.Errorf("a worker that was killed: %v", err)
	}
}

// TestReport is the contract of --json.
func TestReport(t *testing.T) {
	r, says := aRun(t, "kill:worker:1@9")
	r.began = time.Now()
	says(0, event{Step: 8, Loss: 1.5}, 0)
	r.job = &rpcpb.JobInfo{State: rpcpb.JobState_JOB_STATE_SUCCEEDED, Generations: []*rpcpb.GenerationInfo{{Number: 1, Members: []string{"w0"}, FirstStep: 2, Reason: "why"}},
		Checkpoints: []*rpcpb.CheckpointInfo{{Step: 6, Directory: "step-6", StateDigest: "abc"}}}
	r.summarise()
	if err := r.ineffective(); err == nil || !strings.Contains(err.Error(), "kill:worker:1@9") {
		t.Errorf("a fault that did not strike: %v", err)
	}
	r.report.Faults = []*faultReport{{Fault: "x", RecoverySeconds: secondsOf(1500 * time.Millisecond)}, {Fault: "y"}}
	r.report.Losses, r.report.Notes = "run/loss.csv", []string{"no surfaces"}
	var printed strings.Builder
	printLocal(&printed, r.report)
	if !strings.HasSuffix(printed.String(), "\nnote: no surfaces\n") {
		t.Errorf("printed %s", printed.String())
	}
	file := filepath.Join(t.TempDir(), "report.json")
	if err := writeReport(nil, file, r.report, os.ErrClosed); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "seconds")
	again, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"checkpoint":"store/step-6","error":"file already closed","faults":[{"fault":"x","recovery_s":1.5},{"fault":"y"}],"final_loss":1.5,` +
		`"generations":[{"at_s":0,"first_step":2,"members":["w0"],"number":1,"reason":"why"}],"losses":"run/loss.csv","notes":["no surfaces"],"state_digest":"abc","steps":8,"users_per_s":0}`
	if string(again) != want {
		t.Errorf("report\n%s\nwant\n%s", again, want)
	}
}

func TestCheckFaultsAtTheEnd(t *testing.T) {
	for spec, ok := range map[string]bool{"join:worker@10": false, "join:worker@9": true, "kill:worker:0@10": true, "pause:worker:0@10:1s": true} {
		faults, err := parseFaults([]string{spec})
		if err != nil {
			t.Fatal(err)
		}
		if err := checkFaults(faults, 1, ringleader.Step(10)); (err == nil) != ok {
			t.Errorf("%s of 10 steps: %v, want ok %v", spec, err, ok)
		}
	}
}
