package s3

import (
	"context"
	"net"
	"net/http"
	"time"
)

// newTransport makes connections that end when nothing moves: so every attempt is bounded, however large the object is.
func newTransport(stall time.Duration) *http.Transport {
	dialer := net.Dialer{Timeout: min(stall, 10*time.Second)}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &stallConn{c, stall}, nil
		},
		TLSHandshakeTimeout: stall,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     stall / 2,
		DisableCompression:  true, // the bytes as they were stored
	}
}

// stallConn gives every read and write a deadline of its own.
type stallConn struct {
	net.Conn
	stall time.Duration
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write extends the read deadline, too: somebody may have been waiting since before the request was sent.
func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
