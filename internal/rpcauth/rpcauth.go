// Package rpcauth puts the cluster's token on every RPC, on loopback too, and refuses calls without it.
package rpcauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Token is the cluster's shared secret. It prints as "[token]" so that it cannot reach a log by accident.
type Token string

// String hides the secret.
func (Token) String() string { return "[token]" }

// ReadToken reads a token file: one line, at least 16 characters.
func ReadToken(path string) (Token, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read token file: %w", err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 16 {
		return "", fmt.Errorf("token file %s: %d characters, want at least 16", path, len(t))
	}
	return Token(t), nil
}

type perRPC struct{ token Token }

func (p perRPC) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(p.token)}, nil
}

// RequireTransportSecurity is false: listeners are bound to loopback unless the user insists (see CheckBind).
func (perRPC) RequireTransportSecurity() bool { return false }

// DialOptions send the token with every call.
func (t Token) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(perRPC{t}),
	}
}

// ServerOptions refuse every call without the token.
func (t Token) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			if err := t.check(ctx); err != nil {
				return nil, err
			}
			return h(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			if err := t.check(ss.Context()); err != nil {
				return err
			}
			return h(srv, ss)
		}),
	}
}

func (t Token) check(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	want := []byte("Bearer " + string(t))
	for _, got := range md.Get("authorization") {
		if subtle.ConstantTimeCompare([]byte(got), want) == 1 {
			return nil
		}
	}
	return status.Error(codes.Unauthenticated, "cluster token missing or wrong (--token-file)")
}

// ErrInsecure is wrapped by CheckBind.
var ErrInsecure = errors.New("traffic is not encrypted; only loopback addresses may be bound without --insecure")

// CheckBind refuses to listen beyond loopback unless insecure is set.
func CheckBind(flag, addr string, allow bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s %q: want HOST:PORT: %w", flag, addr, err)
	}
	ip := net.ParseIP(host)
	if allow || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s %q: %w", flag, addr, ErrInsecure)
}
