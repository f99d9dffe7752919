// Package grpclink carries the links of a ring over gRPC streams, encoded by itself.
package grpclink

import (
	"math/bits"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/experimental"

	"github.com/ringleader-dev/ringleader/allreduce"
)

// Measured on loopback: large buffers and windows of a fixed size nearly double the throughput of the defaults. Larger buffers than these
// fall out of a core's cache between one copy and the next.
const (
	bufferBytes  = 256 << 10
	streamWindow = 8 << 20
	connWindow   = 32 << 20
	maxMessage   = frameHeader + allreduce.MaxPayload
)

// ServerOptions are for the server that a Server is registered with. They change no other service's encoding, only its buffers.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.ReadBufferSize(bufferBytes),
		grpc.WriteBufferSize(bufferBytes),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		experimental.BufferPool(buffers),
	}
}

// DialOptions are for connections that are passed to Dial.
func DialOptions() []grpc.DialOption {
	retry := backoff.DefaultConfig
	// A member that has just been restarted is wanted at once.
	retry.BaseDelay, retry.MaxDelay = 50*time.Millisecond, time.Second
	return []grpc.DialOption{
		grpc.WithReadBufferSize(bufferBytes),
		grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 2 * time.Second}),
		experimental.WithBufferPool(buffers),
	}
}

func callOptions() []grpc.CallOption {
	return []grpc.CallOption{
		grpc.ForceCodecV2(rawCodec{}),
		grpc.MaxCallRecvMsgSize(maxMessage),
	}
}

// pool is a mem.BufferPool of powers of two that, unlike gRPC's own, does not clear: that took a quarter of the receiver's time.
type pool struct{ classes [maxClass + 1]sync.Pool }

const (
	minClass = 10
	maxClass = 24
)

var buffers = new(pool)

// Get implements mem.BufferPool.
func (p *pool) Get(n int) *[]byte {
	class := max(minClass, bits.Len(uint(max(n, 1)-1)))
	if class > maxClass {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.classes[class].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<class)
	return &b
}

// Put implements mem.BufferPool.
func (p *pool) Put(b *[]byte) {
	if class := bits.Len(uint(cap(*b))) - 1; class >= minClass && class <= maxClass && cap(*b) == 1<<class {
		p.classes[class].Put(b)
	}
}
