package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/allreduce/grpclink"
	"github.com/ringleader-dev/ringleader/exact"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// maxSources bounds the members that one joiner copies from at a time.
const maxSources = 4

// landing is where the bytes of a state's words go, from byte at on. It is called by several goroutines.
type landing func(at int, data []byte)

// fetchFromHolders copies the state from several holders at a time. It goes straight to where it belongs, unless another state is held: that one stays until the new
// one has been verified.
func (g *generation) fetchFromHolders(ctx context.Context, step ringleader.Step) error {
	r := g.replica
	if r.at() == noState {
		header, err := g.copyState(ctx, step, r.place)
		if err != nil {
			return err
		}
		return r.adopt(header, step)
	}
	words := make([]float32, r.words())
	all := bytesOf(words)
	header, err := g.copyState(ctx, step, func(at int, data []byte) { copy(all[at:], data) })
	if err != nil {
		return err
	}
	sum := exact.HashFloats(words, 0) + exact.HashWords(scalarsOf(header).Words(), uint64(len(words)))
	if err := announced(header, step, exact.FinishDigest(sum, step, r.digest)); err != nil {
		return err
	}
	r.place(0, all)
	return r.adopt(header, step)
}

// copyState copies pieces of the state, each beginning with a holder of its own so that several joiners spread over them.
func (g *generation) copyState(ctx context.Context, step ringleader.Step, to landing) (header *rpcpb.StateHeader, err error) {
	holders := slices.DeleteFunc(slices.Clone(g.assign.Holders), func(rank int32) bool {
		return rank == int32(g.rank) // the leader thinks so; it knows better itself
	})
	if len(holders) == 0 {
		return nil, fmt.Errorf("state at step %d: this worker is the only holder, and has lost it", step)
	}
	words, pieces := g.replica.words(), min(len(holders), maxSources)
	var mu sync.Mutex // of header
	group, ctx := errgroup.WithContext(ctx)
	for i := range pieces {
		first, end := i*words/pieces, (i+1)*words/pieces
		group.Go(func() error {
			h, err := g.copyPiece(ctx, holders, i+int(g.rank), step, first, end, to)
			mu.Lock()
			defer mu.Unlock()
			header = h // they are alike, or the digest will not be right
			return err
		})
	}
	err = group.Wait()
	return header, err
}

// copyPiece tries the holders in turn for the words first to end-1.
func (g *generation) copyPiece(ctx context.Context, holders []int32, begin int, step ringleader.Step, first, end int, to landing) (*rpcpb.StateHeader, error) {
	var errs []error
	for i := range holders {
		m := g.assign.Members[holders[(begin+i)%len(holders)]]
		header, err := g.copyFrom(ctx, m.Address, step, first, end, to)
		if err == nil {
			return header, nil
		}
		errs = append(errs, fmt.Errorf("fetch state at step %d from %s: %w", step, m.WorkerId, err))
	}
	return nil, errors.Join(errs...)
}

// copyFrom copies the words first to end-1 from one holder.
func (g *generation) copyFrom(ctx context.Context, address string, step ringleader.Step, first, end int, to landing) (header *rpcpb.StateHeader, err error) {
	conn, err := g.agent.peers.conn(address)
	if err != nil {
		return nil, err
	}
	l, err := grpclink.Ask(ctx, conn, rpcpb.PeerService_FetchState_FullMethodName)
	if err != nil {
		return nil, err
	}
	defer func() {
		if errors.Is(err, allreduce.ErrPlanned) {
			err = errors.New("it ended early")
		}
		_ = l.Close(err) // what was to come has come, or its lack is the error
	}()
	tag := allreduce.Tag{Job: jobTag(g.assign.JobId), Generation: ringleader.Generation(g.assign.Generation), Step: step}
	req := &rpcpb.FetchStateRequest{JobId: g.assign.JobId, Step: int64(step), First: uint64(first), Count: uint64(end - first)}
	if err := sendMessage(ctx, l, tag, req); err != nil {
		return nil, err
	}
	if header, err = g.receiveHeader(ctx, l, &tag); err != nil {
		return nil, err
	}
	for at := first; at < end; at += copyChunk {
		tag.Chunk++
		if err := g.receiveWords(ctx, l, tag, 4*at, 4*min(copyChunk, end-at), to); err != nil {
			return nil, err
		}
	}
	return header, nil
}

func (g *generation) receiveHeader(ctx context.Context, l allreduce.Link, tag *allreduce.Tag) (*rpcpb.StateHeader, error) {
	f, err := l.Recv(ctx)
	if err != nil {
		return nil, err
	}
	tag.Chunk++
	answer, err := openMessage(f, *tag, &rpcpb.FetchStateResponse{})
	if err != nil {
		return nil, err
	}
	h, n := answer.Header, g.replica.model.Size()
	if h == nil || h.Parameters != uint64(n) {
		return nil, fmt.Errorf("header %v: want %d parameters", h, n)
	}
	return h, nil
}

// receiveWords hands on the bytes of one frame, from byte at on.
func (g *generation) receiveWords(ctx context.Context, l allreduce.Link, due allreduce.Tag, at, length int, to landing) error {
	f, err := l.Recv(ctx)
	if err != nil {
		return err
	}
	if err := f.Check(due, length); err != nil {
		return err
	}
	for _, piece := range f.Payload {
		to(at, piece)
		at += len(piece)
	}
	g.agent.beat.Add(1)
	return nil
}
