package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/ringleader-dev/ringleader/internal/faketime"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = rpcauth.Token("a token for tests only")

// node is a coordinator that says what the test wants.
type node struct {
	rpcpb.UnimplementedCoordinatorServiceServer
	name string
	net  *fakeNet

	mu       sync.Mutex
	leads    bool
	names    string // whom it names as leader if it does not lead
	calls    int
	keys     []string
	received []*rpcpb.AttachRequest
	mute     bool // it answers no heartbeat
	jobs     []*rpcpb.JobInfo
}

type fakeNet struct {
	hosts map[string]*bufconn.Listener
	stop  []func()
}

func (n *fakeNet) dial(ctx context.Context, addr string) (net.Conn, error) {
	if l := n.hosts[addr]; l != nil {
		return l.DialContext(ctx)
	}
	return nil, errors.New("connection refused")
}

func (n *fakeNet) add(name string) *node {
	l := bufconn.Listen(1 << 16)
	n.hosts[name] = l
	s := grpc.NewServer(token.ServerOptions()...)
	c := &node{name: name, net: n}
	rpcpb.RegisterCoordinatorServiceServer(s, c)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	n.stop = append(n.stop, func() { s.Stop(); <-done })
	return c
}

func (n *node) answer(trailer func(metadata.MD)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	if n.leads {
		return nil
	}
	trailer(metadata.Pairs(LeaderTrailer, n.names))
	return status.Error(codes.Unavailable, "not the leader")
}

func (n *node) SubmitJob(ctx context.Context, r *rpcpb.SubmitJobRequest) (*rpcpb.SubmitJobResponse, error) {
	if err := n.answer(func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys = append(n.keys, r.Key)
	if len(n.keys) == 1 {
		return nil, status.Error(codes.Unavailable, "it was taken, but the answer is lost")
	}
	return &rpcpb.SubmitJobResponse{Job: &rpcpb.JobInfo{Id: "j"}}, nil
}

func (n *node) GetJob(ctx context.Context, r *rpcpb.GetJobRequest) (*rpcpb.GetJobResponse, error) {
	if err := n.answer(func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }); err != nil {
		return nil, err
	}
	if r.Id == "none" {
		return nil, status.Error(codes.NotFound, "no such job")
	}
	return &rpcpb.GetJobResponse{Job: &rpcpb.JobInfo{Id: n.name}}, nil
}

func (n *node) WatchJob(_ *rpcpb.WatchJobRequest, s rpcpb.CoordinatorService_WatchJobServer) error {
	if err := n.answer(s.SetTrailer); err != nil {
		return err
	}
	n.mu.Lock()
	jobs := n.jobs
	n.mu.Unlock()
	for _, j := range jobs {
		if err := s.Send(&rpcpb.WatchJobResponse{Job: j}); err != nil {
			return err
		}
	}
	if len(jobs) > 0 && ended(jobs[len(jobs)-1].State) {
		return nil
	}
	<-s.Context().Done() // it has fallen silent
	return nil
}

func (n *node) Attach(s rpcpb.CoordinatorService_AttachServer) error {
	if err := n.answer(s.SetTrailer); err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return nil
		}
		n.mu.Lock()
		n.received = append(n.received, m)
		mute, leads := n.mute, n.leads
		n.mu.Unlock()
		if !leads {
			return n.answer(s.SetTrailer)
		}
		out := &rpcpb.AttachResponse{}
		switch {
		case m.GetRegister() != nil:
			out.Message = &rpcpb.AttachResponse_Registered{Registered: &rpcpb.Registered{Term: 1, HeartbeatMs: 100}}
		case m.GetHeartbeat() != nil && !mute:
			out.Message = &rpcpb.AttachResponse_Heartbeat{Heartbeat: m.GetHeartbeat()}
		default:
			continue
		}
		if err := s.Send(out); err != nil {
			return err
		}
	}
}

func (n *node) set(f func()) { n.mu.Lock(); defer n.mu.Unlock(); f() }

// nodes runs a test on fake time with three coordinators a:1, b:1, c:1 and a client.
func nodes(t *testing.T, f func(t *testing.T, a, b, c *node, cl *Client)) {
	faketime.Test(t, func(t *testing.T) {
		n := &fakeNet{hosts: map[string]*bufconn.Listener{}}
		a, b, c := n.add("a:1"), n.add("b:1"), n.add("c:1")
		cl, err := Dial([]string{"a:1", "b:1", "c:1"}, token, Options{Dialer: n.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := cl.Close(); err != nil {
				t.Error(err)
			}
			for _, stop := range n.stop {
				stop()
			}
		}()
		f(t, a, b, c, cl)
	})
}

func TestFollowsTheTrailer(t *testing.T) {
	nodes(t, func(t *testing.T, a, b, c *node, cl *Client) {
		a.names, b.names, c.leads = "c:1", "c:1", true
		for range 3 {
			j, err := cl.Get(t.Context(), "j")
			if err != nil || j.Id != "c:1" {
				t.Fatal(j, err)
			}
		}
		if a.calls+b.calls > 1 || c.calls != 3 {
			t.Fatalf("asked %d, %d, %d times", a.calls, b.calls, c.calls)
		}
		// The leader changes; the old one names nobody.
		c.set(func() { c.leads, c.names = false, "" })
		a.set(func() { a.leads = true })
		b.set(func() { b.names = "a:1" })
		if j, err := cl.Get(t.Context(), "j"); err != nil || j.Id != "a:1" {
			t.Fatal(j, err)
		}
	})
}

func TestTwoThatNameEachOtherAreNotAskedForEver(t *testing.T) {
	nodes(t, func(t *testing.T, a, b, c *node, cl *Client) {
		a.names, b.names, c.names = "b:1", "a:1", "a:1"
		start := time.Now()
		_, err := cl.Get(t.Context(), "j")
		if !errors.Is(err, ErrNoLeader) || !strings.Contains(err.Error(), "it does not lead; it names b:1") {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 15*time.Second {
			t.Fatalf("after %v", d)
		}
		if n := a.calls + b.calls + c.calls; n > 300 {
			t.Fatalf("%d calls in 15 s", n)
		}
	})
}

func TestAnswersOfTheClusterAreNotRepeated(t *testing.T) {
	nodes(t, func(t *testing.T, a, b, c *node, cl *Client) {
		a.leads, b.leads, c.leads = true, true, true
		_, err := cl.Get(t.Context(), "none")
		if status.Code(err) != codes.NotFound || a.calls+b.calls+c.calls != 1 || strings.Contains(err.Error(), "rpc error") {
			t.Fatal(err, a.calls, b.calls, c.calls)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := cl.Get(ctx, "j"); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

// TestOtherVersion: coordinators that do not know a call are not taken for something else.
func TestOtherVersion(t *testing.T) {
	nodes(t, func(t *testing.T, a, b, c *node, cl *Client) {
		err := cl.RemoveCoordinator(t.Context(), "x:1") // which these know nothing of
		if err == nil || !strings.Contains(err.Error(), "it is of a version that cannot do this") || strings.Contains(err.Error(), "not a Ringleader") {
			t.Error(err)
		}
	})
}

func TestSubmitRepeatsUnderOneKey(t *testing.T) {
	nodes(t, func(t *testing.T, a, b, c *node, cl *Client) {
		a.leads, b.names, c.names = true, "a:1", "a:1"
		if _, err := cl.Submit(t.Context(), &rpcpb.SubmitJobRequest{}); err != nil {
			t.Fatal(err)
		}
		if len(a.keys) != 2 || a.keys[0] == "" || a.keys[0] != a.keys[1] {
			t.Fatalf("keys %q", a.keys)
		}
	})
}

func TestWatchComesBack(t *testing.T) {
	nodes(t, func(t *testing.T, a, b, c *node, cl *Client) {
		running := &rpcpb.JobInfo{Id: "j", State: rpcpb.JobState_JOB_STATE_RUNNING}
		done := &rpcpb.JobInfo{Id: "j", State: rpcpb.JobState_JOB_STATE_SUCCEEDED}
		a.leads, a.jobs, b.names, c.names = true, []*rpcpb.JobInfo{running, running}, "a:1", "a:1"
		var seen []string
		err := cl.Watch(t.Context(), "j", func(j *rpcpb.JobInfo) error {
			seen = append(seen, j.State.String())
			// a falls silent without ending the stream; b takes over.
			a.set(func() { a.leads, a.names = false, "b:1" })
			b.set(func() { b.leads, b.jobs = true, []*rpcpb.JobInfo{running, done} })
			return nil
		})
		if err != nil || fmt.Sprint(seen) != "[JOB_STATE_RUNNING JOB_STATE_SUCCEEDED]" {
			t.Fatal(seen, err)
		}
		mine := errors.New("enough")
		if err := cl.Watch(t.Context(), "j", func(*rpcpb.JobInfo) error { return mine }); !errors.Is(err, mine) {
			t.Fatal(err)
		}
	})
}

func register() *rpcpb.Register { return &rpcpb.Register{WorkerId: "w"} }

func TestAttachmentMovesToTheNewLeader(t *testing.T) {
	nodes(t, func(t *testing.T, a, b, c *node, cl *Client) {
		a.leads, b.names, c.names = true, "a:1", "a:1"
		at := cl.Attach(t.Context(), register, func() uint64 { return 7 })
		if e := <-at.Events(); e.Connected.GetTerm() != 1 {
			t.Fatal(e)
		}
		// a is cut off: it ends no stream and answers nothing. The attachment notices the silence.
		a.set(func() { a.mute = true })
		b.set(func() { b.leads = true })
		c.set(func() { c.names = "b:1" })
		<-time.After(2 * time.Second)
		a.set(func() { a.leads, a.names = false, "b:1" })
		if e := <-at.Events(); e.Lost == nil {
			t.Fatal(e)
		}
		if e := <-at.Events(); e.Connected == nil {
			t.Fatal(e)
		}
		if err := at.Send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Left{Left: &rpcpb.Left{JobId: "j"}}}); err != nil {
			t.Fatal(err)
		}
		if err := at.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.received[0].GetRegister().GetWorkerId() != "w" || b.received[len(b.received)-1].GetLeft() == nil {
			t.Fatalf("the new leader received %v", b.received)
		}
		if err := at.Send(&rpcpb.AttachRequest{}); !errors.Is(err, ErrClosed) {
			t.Fatal(err)
		}
	})
}

func TestOutboxIsBoundedAndKeepsTheNewestProgress(t *testing.T) {
	nodes(t, func(t *testing.T, a, b, c *node, cl *Client) {
		at := cl.Attach(t.Context(), register, func() uint64 { return 0 }) // nobody leads
		progress := func(step int64) *rpcpb.AttachRequest {
			return &rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Progress{Progress: &rpcpb.Progress{Step: step}}}
		}
		for i := range 1000 {
			if err := at.Send(progress(int64(i))); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for ; n < 1000; n++ {
			if err := at.Send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Left{Left: &rpcpb.Left{Step: int64(n)}}}); err != nil {
				if !errors.Is(err, ErrBacklog) {
					t.Fatal(err)
				}
				break
			}
		}
		if n != maxOutbox-1 {
			t.Fatalf("%d messages were kept", n)
		}
		// Now and then it says that nobody is there.
		if e := <-at.Events(); !errors.Is(e.Lost, ErrNoLeader) {
			t.Fatal(e)
		}
		a.set(func() { a.leads = true })
		for e := range at.Events() {
			if e.Connected != nil {
				break
			}
		}
		<-time.After(time.Second)
		a.mu.Lock()
		if got := a.received[1].GetProgress().GetStep(); got != 999 {
			t.Errorf("progress %d", got)
		}
		a.mu.Unlock()
		if err := at.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Something else answers at the address: a web server, a server that speaks first, one that hangs up, one that says nothing.
func TestSomethingElseAnswers(t *testing.T) {
	for name, talk := range map[string]func(net.Conn){
		"web server": func(c net.Conn) {
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
		},
		"mail server": func(c net.Conn) { _, _ = c.Write([]byte("220 mail.example ESMTP\r\n")) },
		"hangs up":    func(net.Conn) {},
		"silent":      func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<16)); _, _ = c.Read(make([]byte, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					wg.Go(func() { defer c.Close(); talk(c) })
				}
			})
			cl, err := Dial([]string{l.Addr().String()}, token, Options{Timeout: 300 * time.Millisecond, Attempt: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			_, err = cl.List(t.Context())
			if !errors.Is(err, ErrNoLeader) || !strings.Contains(err.Error(), l.Addr().String()) {
				t.Errorf("%v", err)
			}
			if strings.Contains(err.Error(), "rpc error") || strings.Contains(err.Error(), "transport:") {
				t.Errorf("%v: says how it was heard", err)
			}
			if err := cl.Close(); err != nil {
				t.Error(err)
			}
			l.Close()
			wg.Wait()
		})
	}
}

func TestDialRefusesNonsense(t *testing.T) {
	for _, addrs := range [][]string{nil, {"host"}, {"a:1", ":5"}} {
		if _, err := Dial(addrs, token, Options{}); err == nil {
			t.Errorf("%q was accepted", addrs)
		}
	}
}
