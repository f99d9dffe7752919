package coordinator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// call is what a client asks about one key.
type call struct {
	kind string // submit, get, or a control: pause, resume, cancel
	key  string
	spec string // submit
	id   string // the others
}

// reply is what it hears. Without one, the call may have happened, now or later, or not.
type reply struct {
	unknown bool
	code    codes.Code
	id      string
	state   rpcpb.JobState
}

// entry is one key in the model: the job under it.
type entry struct {
	spec, id string // empty: none yet
	state    rpcpb.JobState
}

const (
	queued    = rpcpb.JobState_JOB_STATE_QUEUED
	paused    = rpcpb.JobState_JOB_STATE_PAUSED
	cancelled = rpcpb.JobState_JOB_STATE_CANCELLED
)

// jobs is what the coordinators promise, as if there were one, without workers: a sequential machine for each key.
var jobs = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		at := map[string]int{}
		for _, op := range history {
			key := op.Input.(call).key
			if _, ok := at[key]; !ok {
				at[key] = len(parts)
				parts = append(parts, nil)
			}
			parts[at[key]] = append(parts[at[key]], op)
		}
		return parts
	},
	Init: func() any { return entry{} },
	Step: func(before, in, out any) (bool, any) {
		e, want := step(before.(entry), in.(call), out.(reply).id)
		got := out.(reply)
		return got.unknown || got == want, e
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// step is the sequential machine. A job's id is chosen by the leader: the first answer tells it.
func step(e entry, c call, id string) (entry, reply) {
	if c.kind == "submit" {
		switch {
		case e.spec == "":
			e = entry{c.spec, id, queued}
		case e.spec != c.spec:
			return e, reply{code: codes.AlreadyExists}
		case e.id == "":
			e.id = id // it was made by a call of which nobody heard the answer
		}
		return e, reply{id: e.id, state: e.state}
	}
	e.id = c.id // known from an answer to a submission, which came before
	switch {
	case c.kind == "get":
	case c.kind == "cancel":
		e.state = cancelled
	case e.state == cancelled:
		return e, reply{code: codes.FailedPrecondition}
	case c.kind == "pause":
		e.state = paused
	case c.kind == "resume":
		e.state = queued
	}
	return e, reply{id: e.id, state: e.state}
}

// recorder is what several clients asked and heard. Time is the order of events in this process.
type recorder struct {
	clock atomic.Int64
	mu    sync.Mutex
	ops   []porcupine.Operation
	ids   map[string]string // of keys, once known
}

// never is after all that is recorded.
const never = 1 << 62

func (r *recorder) add(who int, in call, called int64, out reply) {
	at := r.clock.Add(1)
	if out.unknown {
		at = never
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: who, Input: in, Call: called, Output: out, Return: at})
	if in.kind == "submit" && out.id != "" {
		r.ids[in.key] = out.id
	}
}

func (r *recorder) id(key string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids[key]
}

// asker is a client that tries everything once, so that every attempt is an operation of its own.
type asker struct {
	r     *recorder
	who   int
	rnd   *rand.Rand
	specs [2][]byte
	conns []*grpc.ClientConn
	at    int // of conns, whom it takes for the leader
}

func (c *cluster) asker(r *recorder, who int, rnd *rand.Rand) *asker {
	c.t.Helper()
	a := &asker{r: r, who: who, rnd: rnd, specs: [2][]byte{spec(c.t, nil), spec(c.t, workers(1, 2))}}
	for _, p := range c.peers {
		conn, err := grpc.NewClient("passthrough:///"+p, append(testToken.DialOptions(), grpc.WithContextDialer(c.net.Dialer(fmt.Sprint("asker-", who))))...)
		if err != nil {
			c.t.Fatal(err)
		}
		a.conns = append(a.conns, conn)
	}
	return a
}

// ask makes one attempt, and records it unless it certainly did nothing.
func (a *asker) ask(ctx context.Context) {
	in := call{kind: [...]string{"submit", "submit", "get", "get", "get", "get", "pause", "pause", "resume", "resume"}[a.rnd.IntN(10)], key: fmt.Sprint("key-", a.rnd.IntN(4))}
	which := min(a.rnd.IntN(8), 1) // seldom the other one
	if a.rnd.IntN(60) == 0 {
		in.kind = "cancel"
	}
	if in.kind == "submit" {
		in.spec = fmt.Sprint(which)
	} else if in.id = a.r.id(in.key); in.id == "" {
		return
	}
	called := a.r.clock.Add(1)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var named metadata.MD
	j, err := a.send(ctx, in, a.specs[which], grpc.Trailer(&named))
	out := reply{id: j.GetId(), state: j.GetState(), code: status.Code(err)}
	switch out.code {
	case codes.OK, codes.AlreadyExists, codes.FailedPrecondition:
	case codes.Unavailable:
		a.at = (a.at + 1) % len(a.conns)
		if len(named.Get(client.LeaderTrailer)) > 0 {
			return // refused before it did anything
		}
		out = reply{unknown: true}
	default:
		a.at = (a.at + 1) % len(a.conns)
		out = reply{unknown: true}
	}
	a.r.add(a.who, in, called, out)
}

func (a *asker) send(ctx context.Context, in call, spec []byte, o grpc.CallOption) (*rpcpb.JobInfo, error) {
	s := rpcpb.NewCoordinatorServiceClient(a.conns[a.at])
	switch in.kind {
	case "submit":
		out, err := s.SubmitJob(ctx, &rpcpb.SubmitJobRequest{Key: in.key, Spec: spec}, o)
		return out.GetJob(), err
	case "get":
		out, err := s.GetJob(ctx, &rpcpb.GetJobRequest{Id: in.id}, o)
		return out.GetJob(), err
	}
	action := map[string]rpcpb.JobAction{"pause": rpcpb.JobAction_JOB_ACTION_PAUSE, "resume": rpcpb.JobAction_JOB_ACTION_RESUME, "cancel": rpcpb.JobAction_JOB_ACTION_CANCEL}[in.kind]
	out, err := s.ControlJob(ctx, &rpcpb.ControlJobRequest{Id: in.id, Action: action}, o)
	return out.GetJob(), err
}

// TestHistoryIsLinearizable: whatever happens to the coordinators, several clients see what they would see of a single one that never fails: no
// answer is older than one that somebody had before, and nothing happens twice.
func TestHistoryIsLinearizable(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := &recorder{ids: map[string]string{}}
			bubble(t, 3, func(t *testing.T, c *cluster) { c.askAll(t, r, rand.New(rand.NewPCG(seed, 4))) })
			known := 0
			for _, op := range r.ops {
				if !op.Output.(reply).unknown {
					known++
				}
			}
			if known < 100 {
				t.Errorf("only %d of %d calls were answered", known, len(r.ops))
			}
			switch porcupine.CheckOperationsTimeout(jobs, r.ops, time.Minute) {
			case porcupine.Illegal:
				t.Errorf("no order of these calls explains the answers:\n%s", r)
			case porcupine.Unknown:
				t.Error("not checked within a minute")
			}
			t.Logf("%d calls, %d answered", len(r.ops), known)
		})
	}
}

// askAll lets five clients ask while the coordinators are struck.
func (c *cluster) askAll(t *testing.T, r *recorder, rnd *rand.Rand) {
	c.leader()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for who := range 5 {
		a := c.asker(r, who, rand.New(rand.NewPCG(rnd.Uint64(), 0)))
		all.Go(func() {
			for ctx.Err() == nil {
				a.ask(ctx)
				<-time.After(time.Duration(20+a.rnd.IntN(120)) * time.Millisecond)
			}
			for _, conn := range a.conns {
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 8 {
		<-time.After(time.Duration(200+rnd.IntN(800)) * time.Millisecond)
		c.strike(rnd)
		c.check()
	}
	stop()
	all.Wait()
	synctest.Wait()
}

// strike does something to the coordinators, and mends it.
func (c *cluster) strike(rnd *rand.Rand) {
	length := time.Duration(100+rnd.IntN(1200)) * time.Millisecond
	a := c.peers[rnd.IntN(len(c.peers))]
	if rnd.IntN(2) == 0 {
		a = c.leader().Addr()
	}
	switch rnd.IntN(3) {
	case 0: // cut off from the other coordinators, though not from clients: a leader does not know that it is one no longer
		c.apart(a, true)
		<-time.After(length)
		c.apart(a, false)
	case 1: // cut off
		c.net.Cut(a, true)
		<-time.After(length)
		c.net.Cut(a, false)
	default: // restarted
		c.stop(a)
		<-time.After(length)
		c.start(a)
	}
}

// String is the history, a call a line.
func (r *recorder) String() string {
	var b strings.Builder
	for _, op := range r.ops {
		fmt.Fprintf(&b, "%d-%d client %d: %s\n", op.Call, op.Return, op.ClientId, jobs.DescribeOperation(op.Input, op.Output))
	}
	return b.String()
}

// TestModelRefuses: histories that a stale leader or a second effect would make are not linearizable.
func TestModelRefuses(t *testing.T) {
	submit := call{kind: "submit", key: "k", spec: "0"}
	get, pause, resume := call{kind: "get", key: "k", id: "a"}, call{kind: "pause", key: "k", id: "a"}, call{kind: "resume", key: "k", id: "a"}
	is := func(s rpcpb.JobState) reply { return reply{id: "a", state: s} }
	type did struct {
		in  call
		out reply
	}
	for name, c := range map[string]struct {
		calls []did // one after the other
		want  porcupine.CheckResult
	}{
		"as it should be":        {[]did{{submit, is(queued)}, {pause, is(paused)}, {get, is(paused)}, {resume, is(queued)}, {get, is(queued)}}, porcupine.Ok},
		"a stale read":           {[]did{{submit, is(queued)}, {pause, is(paused)}, {get, is(queued)}}, porcupine.Illegal},
		"an effect, later again": {[]did{{submit, is(queued)}, {pause, is(paused)}, {resume, is(queued)}, {get, is(paused)}}, porcupine.Illegal},
		"a second job":           {[]did{{submit, is(queued)}, {submit, reply{id: "b", state: queued}}}, porcupine.Illegal},
		"a lost submission":      {[]did{{submit, is(queued)}, {call{kind: "submit", key: "k", spec: "1"}, reply{id: "b", state: queued}}}, porcupine.Illegal},
		"an unknown end":         {[]did{{submit, is(queued)}, {pause, reply{unknown: true}}, {get, is(queued)}, {get, is(paused)}}, porcupine.Ok},
	} {
		var ops []porcupine.Operation
		for i, d := range c.calls {
			end := int64(2*i + 1)
			if d.out.unknown {
				end = never
			}
			ops = append(ops, porcupine.Operation{ClientId: i, Input: d.in, Call: int64(2 * i), Output: d.out, Return: end})
		}
		if got := porcupine.CheckOperationsTimeout(jobs, ops, time.Minute); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
