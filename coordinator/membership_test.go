package coordinator

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/proto/logpb"
)

func TestEmptyNodeIsANewNode(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		c.submit("", spec(t, nil))
		c.same()
		// Also the one that founded the cluster may lose its disk.
		addr := c.peers[0]
		oldID := c.nodes[addr].ID()
		c.stop(addr)
		c.wipe(addr)
		n := c.start(addr)
		if n.ID() == oldID {
			t.Fatal("it has the same id")
		}
		c.eventually("it is a voter, the old one is gone", func() bool {
			r, err := c.tool.Cluster(t.Context())
			if err != nil || len(r.Coordinators) != 3 {
				return false
			}
			for _, i := range r.Coordinators {
				if i.Id == oldID || !i.Voter {
					return false
				}
			}
			return true
		})
		c.same()
		// The cluster is as strong as before: it survives the loss of another.
		c.stop(c.peers[1])
		c.submit("", spec(t, nil))
		c.start(c.peers[1])
		c.same()
	})
}

func TestJoin(t *testing.T) {
	bubble(t, 1, func(t *testing.T, c *cluster) {
		c.submit("", spec(t, nil))
		cfg := c.config("127.0.0.1:8000")
		cfg.Peers, cfg.Join = nil, c.peers
		n := c.startWith(cfg)
		c.eventually("it is a voter", func() bool {
			r, err := c.tool.Cluster(t.Context())
			return err == nil && len(r.Coordinators) == 2 && r.Coordinators[0].Voter && r.Coordinators[1].Voter
		})
		c.same()
		if v := n.fsm.View(); len(v.Jobs) != 1 {
			t.Fatalf("%d jobs", len(v.Jobs))
		}
	})
}

// A node that is gone for good counts in every majority until it is removed.
func TestRemove(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		cfg := c.config("127.0.0.1:8000")
		cfg.Peers, cfg.Join = nil, c.peers
		c.startWith(cfg)
		voters := func() int {
			r, err := c.tool.Cluster(t.Context())
			if err != nil {
				return 0
			}
			n := 0
			for _, i := range r.Coordinators {
				if i.Voter {
					n++
				}
			}
			return n
		}
		c.eventually("there are 4 voters", func() bool { return voters() == 4 })
		if err := c.tool.RemoveCoordinator(t.Context(), "127.0.0.1:8000"); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("one that answers: %v", err)
		}
		if err := c.tool.RemoveCoordinator(t.Context(), "127.0.0.1:9"); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "127.0.0.1:8000") {
			t.Errorf("one that nobody knows: %v", err)
		}
		c.stop("127.0.0.1:8000")
		if err := c.tool.RemoveCoordinator(t.Context(), "127.0.0.1:8000"); err != nil {
			t.Fatal(err)
		}
		c.stop(c.peers[0])
		c.submit("", spec(t, nil)) // of 4, 2 would be no majority
		if n := voters(); n != 3 {
			t.Errorf("%d voters, want 3", n)
		}
		c.start(c.peers[0])
		c.same()
	})
}

// A node that is far behind is sent a snapshot, over the same port.
func TestJoinBySnapshot(t *testing.T) {
	bubble(t, 0, func(t *testing.T, c *cluster) {
		c.peers = []string{"127.0.0.1:7001"}
		c.tool = c.client("tool")
		cfg := c.config(c.peers[0])
		cfg.Raft.Snapshot = 8
		n := c.startWith(cfg)
		j := c.submit("", spec(t, nil))
		// More than a segment of the log, so that compaction gives some of it up for good.
		for range 40 {
			if _, err := n.proposeOne(&logpb.Command{Command: &logpb.Command_JobNoted{JobNoted: &logpb.JobNoted{JobId: j.Id, Text: strings.Repeat("x", segmentSize/32)}}}); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Minute) // it looks whether one is due every 30 to 60 s
		c.eventually("a snapshot", func() bool { s, err := n.disk.snapshots.List(); return err == nil && len(s) > 0 })
		join := c.config("127.0.0.1:8000")
		join.Peers, join.Join = nil, c.peers
		late := c.startWith(join)
		c.same()
		if got := late.fsm.View().Job(j.Id); got == nil || len(got.Events) != 41 {
			t.Fatalf("it has %v", got)
		}
		if s, err := late.disk.snapshots.List(); err != nil || len(s) == 0 {
			t.Fatalf("it was sent no snapshot (%v)", err)
		}
	})
}

// A coordinator that comes back at another address keeps its id and its vote.
func TestNodeMoves(t *testing.T) {
	bubble(t, 3, func(t *testing.T, c *cluster) {
		j := c.submit("", spec(t, nil))
		old := c.peers[2]
		id, dir := c.nodes[old].ID(), c.config(old).Dir
		c.stop(old)
		cfg := c.config("127.0.0.1:9000")
		cfg.Dir, cfg.Peers = dir, nil
		c.startWith(cfg)
		c.eventually("the cluster knows the new address", func() bool {
			r, err := c.tool.Cluster(t.Context())
			if err != nil {
				return false
			}
			for _, i := range r.Coordinators {
				if i.Id == id && i.Address == "127.0.0.1:9000" && i.Voter {
					return len(r.Coordinators) == 3
				}
			}
			return false
		})
		c.stop(c.peers[0])
		if got := c.get(j.Id); got.Id != j.Id {
			t.Fatal(got)
		}
	})
}

func TestNothingIsFoundedWhileAPeerIsMissing(t *testing.T) {
	bubble(t, 0, func(t *testing.T, c *cluster) {
		c.peers = []string{"127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"}
		c.tool = c.client("tool")
		c.start(c.peers[0])
		c.start(c.peers[1])
		<-time.After(30 * time.Second)
		for a, n := range c.nodes {
			if len(n.configuration()) != 0 {
				t.Fatalf("%s founded a cluster alone", a)
			}
		}
		c.start(c.peers[2])
		c.leader()
	})
}
