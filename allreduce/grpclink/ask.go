package grpclink

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// Ask opens a link that is no ring's, over a method of the peer's that answers with Answer: the state travels so. Where memory can be shared, what the peer sends
// lies there. A peer that cannot be reached now is not waited for. ctx has no meaning for the link once it is open, which the connection must outlive.
func Ask(ctx context.Context, conn *grpc.ClientConn, method string) (allreduce.Link, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	l, memory, err := dial(life, conn, method)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open link to %s: %w", conn.Target(), err)
	}
	l.from = queueOf(memory)
	go func() {
		defer cancel()
		l.serve()
	}()
	return l, nil
}

// Answer is the other end of Ask, for a handler: it runs do over the link, tells the peer how that ended, and returns when the link has ended.
func (s *Server) Answer(st grpc.ServerStream, do func(context.Context, allreduce.Link) error) error {
	l := newLink(st, pathOf(st.Context()))
	accepted := metadata.Pairs(keyVersion, version)
	if l.to = queueOf(s.shared(st.Context(), toWrite)); l.to != nil {
		accepted.Set(keyMemory, memoryShared)
	}
	if err := st.SendHeader(accepted); err != nil {
		return err
	}
	var served sync.WaitGroup
	served.Go(l.serve)
	defer served.Wait()
	return l.Close(do(st.Context(), l))
}
