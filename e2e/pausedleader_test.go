package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/coordinator/client"
	"github.com/ringleader-dev/ringleader/internal/rpcauth"
	"github.com/ringleader-dev/ringleader/job"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

var pauses = flag.Int("pauses", 3, "how often TestPausedLeader stops a leader")

const clusterToken = rpcauth.Token("a token for this test only")

// TestPausedLeader: a leader is stopped (SIGSTOP) while a worker hangs on it, and another leads. What was asked of it meanwhile lies in its socket, and
// is read when it goes on, before it can have noticed anything: it answers nothing old, does nothing, and assigns nothing.
func TestPausedLeader(t *testing.T) {
	_, processes, tool := startCoordinators(t)
	for round := range *pauses {
		j, err := tool.Submit(t.Context(), &rpcpb.SubmitJobRequest{Spec: pausedSpec(t)})
		if err != nil {
			t.Fatal(err)
		}
		control(t, tool, j.Id, rpcpb.JobAction_JOB_ACTION_PAUSE)
		old, conn, direct := atLeader(t, tool, j.Id)
		told := attachTo(t, direct, fmt.Sprint("w", round))
		signal(t, processes[old].Process, syscall.SIGSTOP)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		control(t, tool, j.Id, rpcpb.JobAction_JOB_ACTION_CANCEL) // by the next leader
		answers := make(chan string, 6)                           // to calls that begin when the job is cancelled, and find their way while the process is stopped
		for range 5 {
			go func() {
				out, err := direct.GetJob(ctx, &rpcpb.GetJobRequest{Id: j.Id})
				if err == nil && out.Job.State != rpcpb.JobState_JOB_STATE_CANCELLED {
					answers <- fmt.Sprintf("an old state, %v", out.Job.State)
					return
				}
				answers <- refused(err)
			}()
		}
		go func() {
			_, err := direct.ControlJob(ctx, &rpcpb.ControlJobRequest{Id: j.Id, Action: rpcpb.JobAction_JOB_ACTION_RESUME})
			if err == nil {
				answers <- "resumed a job that is cancelled"
				return
			}
			answers <- refused(err)
		}()
		<-time.After(100 * time.Millisecond) // the calls lie in the socket; were they late, less would be shown
		signal(t, processes[old].Process, syscall.SIGCONT)
		for range cap(answers) {
			if a := <-answers; a != "" {
				t.Errorf("round %d: the leader that was stopped answered: %s", round, a)
			}
		}
		cancel()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		for _, m := range <-told {
			if m.GetAssign() != nil || m.GetPrepare() != nil {
				t.Errorf("round %d: the leader that was stopped sent %v", round, m)
			}
		}
		if got, err := tool.Get(t.Context(), j.Id); err != nil || got.State != rpcpb.JobState_JOB_STATE_CANCELLED {
			t.Errorf("round %d: the job is %v, %v; want it cancelled", round, got.GetState(), err)
		}
	}
}

// atLeader connects to the coordinator that leads, and to no other. It has answered what was asked of it about a job: the connection stands.
func atLeader(t *testing.T, tool *client.Client, id string) (address string, conn *grpc.ClientConn, direct rpcpb.CoordinatorServiceClient) {
	t.Helper()
	info, err := tool.Cluster(t.Context())
	noError(t, err)
	conn, err = grpc.NewClient("passthrough:///"+info.LeaderAddress, clusterToken.DialOptions()...)
	noError(t, err)
	direct = rpcpb.NewCoordinatorServiceClient(conn)
	_, err = direct.GetJob(t.Context(), &rpcpb.GetJobRequest{Id: id})
	noError(t, err)
	return info.LeaderAddress, conn, direct
}

// refused is empty for the errors of a coordinator that does not lead, or knows that the job is cancelled.
func refused(err error) string {
	switch status.Code(err) {
	case codes.OK, codes.Unavailable, codes.FailedPrecondition:
		return ""
	}
	return err.Error()
}

func control(t *testing.T, tool *client.Client, id string, a rpcpb.JobAction) {
	t.Helper()
	if _, err := tool.Control(t.Context(), id, a); err != nil {
		t.Fatalf("%v: %v", a, err)
	}
}

func signal(t *testing.T, p *os.Process, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// attachTo registers a worker with one coordinator. The channel gets all that it was sent, when the stream has ended.
func attachTo(t *testing.T, s rpcpb.CoordinatorServiceClient, id string) <-chan []*rpcpb.AttachResponse {
	t.Helper()
	stream, err := s.Attach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&rpcpb.AttachRequest{Message: &rpcpb.AttachRequest_Register{Register: &rpcpb.Register{
		WorkerId: id, Incarnation: id, Address: "127.0.0.1:1", Host: "here", Device: "cpu", NumericsClass: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetRegistered() == nil {
		t.Fatalf("register: %v, %v", first, err)
	}
	told := make(chan []*rpcpb.AttachResponse, 1)
	go func() {
		var all []*rpcpb.AttachResponse
		for {
			m, err := stream.Recv()
			if err != nil {
				told <- all
				return
			}
			all = append(all, m)
		}
	}()
	return told
}

func pausedSpec(t *testing.T) []byte {
	t.Helper()
	s, err := job.Default("tiny")
	if err != nil {
		t.Fatal(err)
	}
	s.Name, s.What.Data, s.What.DataDigest, s.How.Store = "paused", "file:///data", strings.Repeat("0123456789abcdef", 4), "file:///store"
	s.What.Steps, s.What.Epochs, s.How.Workers = 100, 0, job.Workers{Min: 1, Max: 1}
	text, err := job.Canonical(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// node is one coordinator of a cluster.
type node struct {
	*talker
	*os.Process
	token string // file
}

// startCoordinators starts a cluster of three processes, with further flags if there are any, and returns them by address, with a client of them all.
func startCoordinators(t *testing.T, flags ...string) (addrs []string, processes map[string]*node, tool *client.Client) {
	t.Helper()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(clusterToken), 0o600); err != nil {
		t.Fatal(err)
	}
	var held []net.Listener
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held, addrs = append(held, l), append(addrs, l.Addr().String())
	}
	processes = map[string]*node{}
	for i, a := range addrs {
		if err := held[i].Close(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "coordinator", "--data-dir", filepath.Join(dir, fmt.Sprint(i)), "--bind", a, "--peers", strings.Join(addrs, ","),
			"--token-file", token, "--raft-heartbeat", "500ms")
		cmd.Args = append(cmd.Args, flags...)
		var said bytes.Buffer
		cmd.Stderr = &said
		orders := talk(t, a, cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		processes[a] = &node{orders, cmd.Process, token}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGCONT) // it may be stopped, if the test failed
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			quit := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) }) // which shows what it waits for
			defer quit.Stop()
			if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != 130 {
				t.Errorf("coordinator %s: %v\n%s", a, err, said.Bytes())
			}
		})
	}
	tool, err := client.Dial(addrs, clusterToken, client.Options{})
	noError(t, err)
	t.Cleanup(func() { noError(t, tool.Close()) })
	return addrs, processes, tool
}
