package coordinator

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/ringleader-dev/ringleader/internal/rpcauth"
)

// Raft connections lead to a node, not to an address: the dialer names the id that it wants, and both sides prove the token
// without sending it. So a node that came back empty under its old address, and has a new id, cannot vote as the old one.
//
//	dialer:   magic, length and bytes of the wanted id, nonce (32)
//	acceptor: verdict (1 byte), nonce (32), HMAC(token, "accept", id, both nonces)
//	dialer:   HMAC(token, "dial", id, both nonces)
//	acceptor: verdict

const (
	nonceSize = 32
	accepted  = byte(1)
	wrongNode = byte(2)
	maxID     = 128
)

var (
	errWrongNode  = errors.New("another node lives at this address")
	errWrongToken = errors.New("the other side does not know the cluster token")
)

func proof(token rpcauth.Token, role, id string, dialer, acceptor []byte) []byte {
	h := hmac.New(sha256.New, []byte(token))
	for _, part := range [][]byte{[]byte(role), []byte(id), dialer, acceptor} {
		h.Write([]byte{byte(len(part))})
		h.Write(part)
	}
	return h.Sum(nil)
}

// greet opens a Raft connection to the node of that id.
func greet(conn net.Conn, token rpcauth.Token, id string) error {
	hello := append([]byte(raftMagic), byte(len(id)))
	hello = append(hello, id...)
	mine := nonce()
	if _, err := conn.Write(append(hello, mine...)); err != nil {
		return err
	}
	reply := make([]byte, 1+nonceSize+sha256.Size)
	if _, err := io.ReadFull(conn, reply); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	theirs := reply[1 : 1+nonceSize]
	if !hmac.Equal(reply[1+nonceSize:], proof(token, "accept", id, mine, theirs)) {
		return errWrongToken
	}
	if reply[0] != accepted {
		return errWrongNode
	}
	if _, err := conn.Write(proof(token, "dial", id, mine, theirs)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, reply[:1]); err != nil {
		return errWrongToken // the acceptor hangs up on those who cannot prove it
	}
	return nil
}

// welcome is the other side of greet, after the magic.
func welcome(conn net.Conn, token rpcauth.Token, self string) error {
	size := make([]byte, 1)
	if _, err := io.ReadFull(conn, size); err != nil {
		return err
	}
	rest := make([]byte, int(size[0])+nonceSize)
	if _, err := io.ReadFull(conn, rest); err != nil {
		return err
	}
	id, theirs := string(rest[:size[0]]), rest[size[0]:]
	mine := nonce()
	verdict := accepted
	if id != self {
		verdict = wrongNode
	}
	reply := append([]byte{verdict}, mine...)
	if _, err := conn.Write(append(reply, proof(token, "accept", id, theirs, mine)...)); err != nil {
		return err
	}
	if verdict != accepted {
		return errWrongNode
	}
	answer := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if !hmac.Equal(answer, proof(token, "dial", id, theirs, mine)) {
		return errWrongToken
	}
	_, err := conn.Write([]byte{accepted})
	return err
}

func nonce() []byte {
	b := make([]byte, nonceSize)
	_, _ = rand.Read(b) // it never fails (crypto/rand)
	return b
}

// streams is the StreamLayer of Raft's transport: incoming from the mux, outgoing by ID@ADDRESS.
type streams struct {
	*queue
	token rpcauth.Token
	dial  func(ctx context.Context, addr string) (net.Conn, error)
}

// Dial implements raft.StreamLayer.
func (s streams) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, addr, ok := strings.Cut(string(target), "@")
	if !ok || len(id) > maxID {
		return nil, fmt.Errorf("dial %q: want ID@ADDRESS", target)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("dial coordinator %s: %w", addr, err)
	}
	err = conn.SetDeadline(time.Now().Add(timeout))
	if err == nil {
		err = greet(conn, s.token, id)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("dial coordinator %s at %s: %w", id, addr, err)
	}
	return conn, nil
}

// transport makes every call of Raft's go to an id.
type transport struct{ *raft.NetworkTransport }

func newTransport(s streams, timeout time.Duration, logger hclog.Logger) *transport {
	// One at a time: a pipeline whose peer has a newer term while the next entry is sent waits for ever (raft v1.8.0), and so does Shutdown.
	return &transport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: s, MaxPool: 3, MaxRPCsInFlight: 1, Timeout: timeout, Logger: logger})}
}

func at(id raft.ServerID, addr raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + string(addr))
}

// AppendEntriesPipeline implements raft.Transport, as do the methods below.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, a raft.ServerAddress) (raft.AppendPipeline, error) {
	return t.NetworkTransport.AppendEntriesPipeline(id, at(id, a))
}

func (t *transport) AppendEntries(id raft.ServerID, a raft.ServerAddress, q *raft.AppendEntriesRequest, r *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, at(id, a), q, r)
}

func (t *transport) RequestVote(id raft.ServerID, a raft.ServerAddress, q *raft.RequestVoteRequest, r *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, at(id, a), q, r)
}

func (t *transport) RequestPreVote(id raft.ServerID, a raft.ServerAddress, q *raft.RequestPreVoteRequest, r *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, at(id, a), q, r)
}

func (t *transport) InstallSnapshot(id raft.ServerID, a raft.ServerAddress, q *raft.InstallSnapshotRequest, r *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, at(id, a), q, r, data)
}

func (t *transport) TimeoutNow(id raft.ServerID, a raft.ServerAddress, q *raft.TimeoutNowRequest, r *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, at(id, a), q, r)
}
