package client

import (
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// redirect is an answer that says who leads.
type redirect struct{ to string }

func (r *redirect) Error() string {
	if r.to == "" {
		return "it does not lead and knows no leader"
	}
	return "it does not lead; it names " + r.to
}

// hunt is one search for the leader: whom to ask, how long to wait in between, and what everyone said.
type hunt struct {
	c        *Client
	asked    int // since the last wait
	followed int // redirections since the last wait: two coordinators may name each other
	wait     time.Duration
	said     map[string]error
}

const (
	firstWait = 20 * time.Millisecond
	lastWait  = 500 * time.Millisecond
)

func (c *Client) hunt() *hunt { return &hunt{c: c, wait: firstWait, said: map[string]error{}} }

// next is the address to ask: the supposed leader, else one after the other.
func (h *hunt) next() string {
	c := h.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != "" {
		return c.leader
	}
	c.turn = (c.turn + 1) % len(c.addrs)
	return c.addrs[c.turn]
}

// found remembers who leads, and forgets the trouble of finding out.
func (h *hunt) found(addr string) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.c.leader = addr
	h.asked, h.followed, h.wait = 0, 0, firstWait
	clear(h.said)
}

// failed takes note of an answer, and returns nil if it is worth asking on, after a wait where one is due.
func (h *hunt) failed(ctx context.Context, addr string, err error) error {
	if final(err) {
		return err
	}
	to := ""
	if r := (*redirect)(nil); errors.As(err, &r) && checkAddress(r.to) == nil && r.to != addr {
		to = r.to
	}
	h.c.mu.Lock()
	if to != "" || h.c.leader == addr {
		h.c.leader = to
	}
	h.c.mu.Unlock()
	if len(h.said) < 16 || h.said[addr] != nil {
		h.said[addr] = err
	}
	h.asked++
	if to != "" {
		if h.followed++; h.followed <= 2 {
			return ctx.Err()
		}
	} else if h.asked < len(h.c.addrs) {
		return ctx.Err()
	}
	h.asked, h.followed = 0, 0
	// Half of the wait is random, so that a crowd of workers does not come back as one.
	d := h.wait/2 + mrand.N(h.wait/2)
	h.wait = min(2*h.wait, lastWait)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// report says what everyone answered.
func (h *hunt) report() error {
	var lines []string
	for a, err := range h.said {
		lines = append(lines, fmt.Sprintf("%s: %v", a, err))
	}
	slices.Sort(lines)
	return fmt.Errorf("%w: %s", ErrNoLeader, strings.Join(lines, "; "))
}

// final reports whether an answer is the cluster's word, so that asking another coordinator is no use.
func final(err error) bool {
	if r := (*redirect)(nil); errors.As(err, &r) {
		return false
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.Unimplemented, codes.Unknown, codes.Internal:
		// The last three are what something else at this address answers.
		return false
	}
	return true
}

// explain makes an error of the transport one that people understand. Its code stays.
func explain(err error) error {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return err
	}
	text := st.Message()
	if _, cause, found := strings.Cut(text, "transport: Error while dialing: "); found {
		text = strings.TrimSuffix(cause, `"`)
	}
	switch {
	case st.Code() == codes.Unimplemented && (strings.HasPrefix(text, "unknown method") || strings.HasSuffix(text, "not implemented")):
		text = "it is of a version that cannot do this: " + text
	case st.Code() == codes.Unimplemented, strings.Contains(text, "server preface"), strings.Contains(text, "unexpected HTTP status code"):
		text = "something that is not a Ringleader coordinator answers there: " + text
	case st.Code() == codes.DeadlineExceeded:
		text = "it does not answer"
	}
	return &answerError{st, text}
}

// answerError is what a coordinator, or the way to it, said: in words alone, without the frame that gRPC puts around them.
type answerError struct {
	status *status.Status
	text   string
}

func (e *answerError) Error() string              { return e.text }
func (e *answerError) GRPCStatus() *status.Status { return e.status }

type operation func(context.Context, rpcpb.CoordinatorServiceClient, ...grpc.CallOption) error

// call runs an operation at the leader, wherever it is. The operation must be one that may be repeated.
func (c *Client) call(ctx context.Context, what string, op operation) error {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	h := c.hunt()
	for {
		addr := h.next()
		err := c.try(ctx, addr, op)
		if err == nil {
			h.found(addr)
			return nil
		}
		if err := h.failed(ctx, addr, err); err != nil {
			switch {
			case outer.Err() != nil && errors.Is(outer.Err(), context.Canceled):
				return fmt.Errorf("%s: %w", what, outer.Err())
			case ctx.Err() != nil:
				return fmt.Errorf("%s: %w", what, h.report())
			}
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

func (c *Client) try(ctx context.Context, addr string, op operation) error {
	conn, err := c.conn(addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Attempt)
	defer cancel()
	var trailer metadata.MD
	return answer(op(ctx, rpcpb.NewCoordinatorServiceClient(conn), grpc.Trailer(&trailer)), trailer)
}

// answer turns "not the leader" into a redirect.
func answer(err error, trailer metadata.MD) error {
	if names := trailer.Get(LeaderTrailer); status.Code(err) == codes.Unavailable && len(names) > 0 {
		return &redirect{to: names[0]}
	}
	if err == nil {
		return nil
	}
	return explain(err)
}
