package grpclink

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketBytes is what a unix socket holds on its way: enough that neither side is woken for every frame of HTTP/2.
const socketBytes = 2 << 20

// pathUnix is what unix sockets call their network.
const pathUnix = "unix"

// localName is the name of the unix socket of the member that others know by a TCP address. It is an abstract one: it belongs to the network
// namespace, as the address does, and leaves no file behind.
func localName(address string) string { return "@ringleader/" + address }

// ListenLocal listens where members of the same machine look first for the one that is known by the address. Streams on it are
// like those on TCP, but cost less. It fails where there are no such sockets, or the name is taken: then TCP has to do.
func ListenLocal(address string) (net.Listener, error) {
	l, err := net.Listen(pathUnix, localName(address))
	if err != nil {
		return nil, fmt.Errorf("listen for members of this machine: %w", err)
	}
	return localListener{l}, nil
}

// Listen prepares a listener for frames. Connections take over what their listener has.
func Listen(l net.Listener) net.Listener {
	if t, ok := l.(*net.TCPListener); ok {
		if raw, err := t.SyscallConn(); err == nil {
			_ = raw.Control(congestion) // see there
		}
	}
	return l
}

// localListener gives the connections of unix sockets their room.
type localListener struct{ net.Listener }

// Accept implements net.Listener.
func (l localListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		widen(c)
	}
	return c, err
}

// widen asks for a large buffer; a smaller one only costs time.
func widen(c net.Conn) {
	if u, ok := c.(*net.UnixConn); ok {
		_ = u.SetWriteBuffer(socketBytes)
	}
}

// DialContext connects to the member that is known by the address: over its unix socket if it is on this machine, else over TCP. It is for
// grpc.WithContextDialer.
func DialContext(ctx context.Context, address string) (net.Conn, error) {
	if c, err := dialLocal(ctx, address); err == nil {
		return c, nil
	}
	return DialTCP(ctx, address)
}

// DialTCP is DialContext over TCP alone.
func DialTCP(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return c.Control(congestion) }}
	return d.DialContext(ctx, "tcp", address)
}

func dialLocal(ctx context.Context, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, pathUnix, localName(address))
	if err != nil {
		return nil, err
	}
	if err := sameUser(c); err != nil {
		_ = c.Close() // nothing was said
		return nil, err
	}
	widen(c)
	return c, nil
}

// sameUser refuses a listener of somebody else: names of abstract sockets are anybody's to take, and the cluster's token goes to whoever listens.
func sameUser(c net.Conn) error {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { peer, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("unix socket is of user %d, this process of %d", peer.Uid, os.Geteuid())
	}
	return nil
}

// congestion asks for cubic. Others, above all BBR, pace what they send, which on a short path costs throughput and wake-ups. A system without it
// keeps what it has.
func congestion(fd uintptr) {
	_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
}
