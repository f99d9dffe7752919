package grpclink

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/ringleader-dev/ringleader"
	"github.com/ringleader-dev/ringleader/allreduce"
	"github.com/ringleader-dev/ringleader/proto/rpcpb"
)

// Keys of the metadata that opens a link.
const (
	keyVersion    = "ringleader-ring" // of the protocol; also in the header that accepts
	keyJob        = "ringleader-job"
	keyGeneration = "ringleader-generation"
	keyRank       = "ringleader-rank"
	keyMemory     = "ringleader-memory" // name of memory to share; in the header that accepts: "shared"

	version = "3"
)

// Hello says which link of which generation a stream is.
type Hello struct {
	Job        ringleader.Digest // of the job id
	Generation ringleader.Generation
	From       ringleader.Rank // who dials; the next member accepts
}

func (h Hello) String() string {
	return fmt.Sprintf("link of rank %d, generation %d, job %s", h.From, h.Generation, h.Job)
}

func (h Hello) context(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx,
		keyVersion, version,
		keyJob, h.Job.String(),
		keyGeneration, strconv.FormatUint(uint64(h.Generation), 10),
		keyRank, strconv.Itoa(int(h.From)))
}

func parseHello(ctx context.Context) (h Hello, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	get := func(key string) string {
		if v := md.Get(key); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	if v := get(keyVersion); v != version {
		return h, fmt.Errorf("%s %q: want %q", keyVersion, v, version)
	}
	if h.Job, err = ringleader.ParseDigest(get(keyJob)); err != nil {
		return h, fmt.Errorf("%s: %w", keyJob, err)
	}
	g, err := strconv.ParseUint(get(keyGeneration), 10, 64)
	if err != nil {
		return h, fmt.Errorf("%s: %w", keyGeneration, err)
	}
	r, err := strconv.ParseUint(get(keyRank), 10, 31)
	if err != nil {
		return h, fmt.Errorf("%s: %w", keyRank, err)
	}
	h.Generation, h.From = ringleader.Generation(g), ringleader.Rank(r)
	return h, nil
}

// Dial opens the link to the next member and returns once that has accepted it. A peer that cannot be reached yet is tried again until
// ctx ends; ctx has no meaning for the link afterwards. The connection (see DialOptions) remains the caller's and must outlive the link.
func Dial(ctx context.Context, conn *grpc.ClientConn, h Hello) (allreduce.Link, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	// A peer that is just starting is waited for, as long as ctx says.
	l, memory, err := dial(h.context(life), conn, rpcpb.RingService_Ring_FullMethodName, grpc.WaitForReady(true))
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		return nil, fmt.Errorf("dial %s at %s: %w", h, conn.Target(), err)
	}
	l.to = queueOf(memory)
	go func() {
		defer cancel()
		l.serve()
	}()
	return l, nil
}

// dial opens a link over a method of the peer's, and returns the memory that both share, nil if there is none.
func dial(ctx context.Context, conn *grpc.ClientConn, method string, options ...grpc.CallOption) (*link, *memory, error) {
	memory, file, name, err := newMemory()
	if err == nil {
		defer file.Close() // by then the peer has opened it, or does without
		ctx = metadata.AppendToOutgoingContext(ctx, keyMemory, name.String())
	}
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, append(options, callOptions()...)...)
	if err != nil {
		return nil, nil, err
	}
	header, err := s.Header()
	if err != nil {
		return nil, nil, err
	}
	if v := header.Get(keyVersion); len(v) == 1 && v[0] == version {
		if v := header.Get(keyMemory); len(v) != 1 || v[0] != memoryShared {
			memory = nil
		}
		return newLink(s, pathOf(s.Context())), memory, nil
	}
	// Refused: the stream has ended, and says why.
	if err := s.RecvMsg(&message{frame: new(received)}); err != nil {
		return nil, nil, err
	}
	return nil, nil, status.Error(codes.FailedPrecondition, "peer speaks another protocol")
}

// memoryShared is what the acceptor says of memory that it found.
const memoryShared = "shared"

// pathOf is the kind of network that a stream runs over.
func pathOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.Network()
	}
	return ""
}

// Path says what a link's payloads travel through: tcp, unix, or memory.
func Path(l allreduce.Link) string {
	own, ok := l.(*link)
	switch {
	case !ok:
		return ""
	case own.to != nil || own.from != nil:
		return "memory"
	}
	return own.path
}
