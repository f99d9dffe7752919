package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// TestPartedLeader: the leader is cut off from the other coordinators, though neither from workers nor from clients. The gang goes on; another leads, and decides
// what is asked meanwhile, once; the old one answers nothing until it is back, and then it counts again.
func TestPartedLeader(t *testing.T) {
	addrs, processes, tool := startCoordinators(t, "--supervised", "--troubled")
	d := &daemons{T: t, dir: t.TempDir(), flags: []string{"--coordinators", strings.Join(addrs, ","), "--token-file", processes[addrs[0]].token}}
	gang := []*talker{d.talker("w0"), d.talker("w1")}
	text := jobFile(t, 90)
	id := strings.TrimSpace(output(t, append([]string{"job", "submit", text, "--set", "how.store=" + filepath.Join(d.dir, "store"),
		"--set", "how.workers.min=2", "--set", "how.workers.max=3"}, d.flags...)...))
	for _, w := range gang {
		w.await("step", 30)
	}

	old, conn, direct := atLeader(t, tool, id)
	defer conn.Close()
	part(t, processes, old, "part")

	// A submission that the old leader may put into its log, and cannot commit.
	request := &rpcpb.SubmitJobRequest{Key: "once", Spec: waitingSpec(t)}
	silentAt(t, "submit", func(ctx context.Context) error { _, err := direct.SubmitJob(ctx, request); return err })
	onward(gang, 30, 60) // without a leader, or with the next one: the gang does not ask
	first, err := tool.Submit(t.Context(), request)
	noError(t, err)
	again, err := tool.Submit(t.Context(), request)
	noError(t, err)
	control(t, tool, first.Id, rpcpb.JobAction_JOB_ACTION_CANCEL)
	if jobs, err := tool.List(t.Context()); err != nil || len(jobs) != 2 || again.Id != first.Id {
		t.Errorf("jobs %v, %v; want two: that which trains and %s, which was submitted three times (then: %s)", jobs, err, first.Id, again.Id)
	}

	// A worker that comes meanwhile.
	gang = append(gang, d.talker("w2"))
	gang[0].await("asked", 0)
	for _, w := range gang[:2] {
		w.say("go 60")
	}
	gang[2].await("joined", 0)
	silentAt(t, "get", func(ctx context.Context) error {
		_, err := direct.GetJob(ctx, &rpcpb.GetJobRequest{Id: id})
		return err
	})
	silentAt(t, "list", func(ctx context.Context) error { _, err := direct.ListJobs(ctx, &rpcpb.ListJobsRequest{}); return err })
	if seen, err := direct.Cluster(t.Context(), &rpcpb.ClusterRequest{}); err != nil || seen.LeaderId == seen.SelfId { // any coordinator answers that with what it knows
		t.Errorf("the leader that is cut off takes %s for the leader, and is %s itself (%v)", seen.GetLeaderId(), seen.GetSelfId(), err)
	}

	// It is a member again if it and one other are a majority.
	part(t, processes, old, "mend")
	third := slices.DeleteFunc(slices.Clone(addrs), func(a string) bool { return a == old })[0]
	part(t, processes, third, "part")
	after, err := tool.Submit(t.Context(), &rpcpb.SubmitJobRequest{Spec: waitingSpec(t)})
	noError(t, err)
	control(t, tool, after.Id, rpcpb.JobAction_JOB_ACTION_CANCEL)
	part(t, processes, third, "mend")

	onward(gang, 75, 90)
	end := untilEnd(t, tool, id)
	if end.State != rpcpb.JobState_JOB_STATE_SUCCEEDED || len(end.Generations) != 2 || len(end.Generations[1].Members) != 3 {
		t.Errorf("the job is %v, generations %v; want it to succeed with two generations, the second of three", end.State, end.Generations)
	}
	for _, w := range gang[:2] {
		if len(w.steps) != 90 || w.steps[0] != 1 || w.steps[89] != 90 || !slices.IsSorted(w.steps) {
			t.Errorf("%s made the steps %v; want each of 90 once", w.name, w.steps)
		}
	}
	_, want := local(t, text, "--workers", "2")
	if got := end.Checkpoints[len(end.Checkpoints)-1].StateDigest; got != want.StateDigest {
		t.Errorf("state digest %s, undisturbed %s", got, want.StateDigest)
	}
}

// part cuts a coordinator off from the others, or mends that, and returns when each has done its share.
func part(t *testing.T, processes map[string]*node, from, order string) {
	t.Helper()
	var others []string
	for a, p := range processes {
		if a != from {
			others = append(others, a)
			p.say(order + " " + from)
		}
	}
	processes[from].say(order + " " + strings.Join(others, ","))
	for _, p := range processes {
		p.await(order, 0)
	}
}

// silentAt wants a call to be refused by a coordinator that does not lead, and not to run out of time.
func silentAt(t *testing.T, what string, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := call(ctx)
	if status.Code(err) != codes.Unavailable || ctx.Err() != nil {
		t.Errorf("%s at the leader that is cut off: %v; want it refused", what, err)
	}
}

// waitingSpec is a job for more workers than there are.
func waitingSpec(t *testing.T) []byte {
	t.Helper()
	s, err := job.Parse(pausedSpec(t), "/")
	noError(t, err)
	s.How.Workers = job.Workers{Min: 9, Max: 9}
	text, err := job.Canonical(s)
	noError(t, err)
	return text
}

// untilEnd follows a job to its end.
func untilEnd(t *testing.T, tool *client.Client, id string) (last *rpcpb.JobInfo) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	noError(t, tool.Watch(ctx, id, func(j *rpcpb.JobInfo) error { last = j; return nil }))
	return last
}

// talker is a process that says what it does, and obeys.
type talker struct {
	t     *testing.T
	name  string
	stdin io.Writer
	said  chan said
	steps []int // that it completed, as far as await has read
}

// said is a line of a supervised process.
type said struct {
	Event string `json:"event"`
	Step  int    `json:"step"`
}

// talk prepares a process that was not yet started for orders. Its words end with it.
func talk(t *testing.T, name string, cmd *exec.Cmd) *talker {
	t.Helper()
	w := &talker{t: t, name: name, said: make(chan said, 1024)}
	stdin, err := cmd.StdinPipe()
	noError(t, err)
	w.stdin = stdin
	cmd.Stdout = &words{to: w.said}
	return w
}

// words decodes what is written to it.
type words struct {
	part []byte // of a line
	to   chan<- said
}

func (w *words) Write(b []byte) (int, error) {
	w.part = append(w.part, b...)
	for {
		i := slices.Index(w.part, '\n')
		if i < 0 {
			return len(b), nil
		}
		var s said
		if err := json.Unmarshal(w.part[:i], &s); err != nil {
			return 0, fmt.Errorf("a line of a supervised process: %w", err)
		}
		w.to <- s
		w.part = w.part[i+1:]
	}
}

func (w *talker) say(order string) {
	w.t.Helper()
	_, err := io.WriteString(w.stdin, order+"\n")
	noError(w.t, err)
}

// await waits for an event; one of a step only counts at that step, if it is not 0.
func (w *talker) await(event string, step int) {
	w.t.Helper()
	late := time.After(limit)
	for {
		select {
		case s := <-w.said:
			if s.Event == "step" {
				w.steps = append(w.steps, s.Step)
			}
			if s.Event == event && (step == 0 || s.Step == step) {
				return
			}
		case <-late:
			w.t.Fatalf("%s: no %q (step %d)", w.name, event, step)
		}
	}
}

// onward lets workers that wait at one step go on, and returns when they have completed another.
func onward(gang []*talker, from, to int) {
	for _, w := range gang {
		w.t.Helper()
		w.say(fmt.Sprintf("go %d", from))
	}
	for _, w := range gang {
		w.await("step", to)
	}
}

// talker starts a worker that waits at some steps until it is told to go on, and returns when the cluster knows it.
func (d *daemons) talker(name string) *talker {
	d.Helper()
	cmd := exec.CommandContext(d.Context(), program, append([]string{"worker", "--id", name, "--device", "cpu", "--dir", filepath.Join(d.dir, name),
		"--supervised", "--hold", "30,60,75"}, d.flags...)...)
	w := talk(d.T, name, cmd)
	d.run(cmd)
	w.await("attached", 0)
	return w
}
