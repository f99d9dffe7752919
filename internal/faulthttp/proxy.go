// Package faulthttp is an HTTP server that stands before another one and lets requests fail as servers and networks do: for programs that show what they
// survive.
package faulthttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// Proxy passes requests on to a server, and strikes them with the faults that are on. Its methods may be called from several goroutines.
type Proxy struct {
	listener net.Listener
	server   http.Server
	back     *http.Transport
	pass     httputil.ReverseProxy
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	all      sync.WaitGroup // serving, and every request

	mu     sync.Mutex
	closed bool
	faults []*Fault
}

// New listens on a free port of loopback for what is meant for the server at a URL, of which host and port count.
func New(target *url.URL) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen before %s: %w", target.Host, err)
	}
	// Without idle connections: one to a server that has been restarted is of no use.
	p := &Proxy{listener: l, back: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	quiet := log.New(io.Discard, "", 0)
	p.pass = httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
		Transport:      p.back,
		ModifyResponse: answered,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // the client sees its connection end
		ErrorLog:       quiet,
	}
	p.server = http.Server{Handler: p, ErrorLog: quiet, ReadHeaderTimeout: time.Minute}
	p.all.Go(func() { _ = p.server.Serve(l) }) // says that it was closed
	return p, nil
}

// URL is where clients find the server behind the proxy.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Close ends all requests and waits for them.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	err := p.server.Close()
	p.all.Wait()
	p.back.CloseIdleConnections()
	return err
}

// Begin lets requests fail in one way from now on. Of what fails only once n says where, for instance which bit is flipped.
func (p *Proxy) Begin(k Kind, n uint64) *Fault {
	f := &Fault{kind: k, n: n, over: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, f)
	return f
}

// Calm ends all faults.
func (p *Proxy) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		f.End()
	}
	p.faults = nil
}

// struck is the fault of a kind that a request meets; nil: none. One that strikes once is spent.
func (p *Proxy) struck(k Kind) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		if f.kind == k && !f.ended() {
			if f.met.Add(1); k.once() {
				f.End()
			}
			return f
		}
	}
	return nil
}

func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.all.Add(1)
	}
	return !p.closed
}

// sizeable is how long a body is that fails on its way: shorter ones are no data.
const sizeable = 256

// fateKey is of the request's context; the value is a *fate.
type fateKey struct{}

// fate is what is to become of one request.
type fate struct {
	p    *Proxy
	lost bool // its answer
}

var errLost = errors.New("the answer is lost on purpose")

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		panic(http.ErrAbortHandler)
	}
	defer p.all.Done()
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), fateKey{}, &fate{p: p}))
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	if f := p.struck(Hang); f != nil {
		select {
		case <-f.over:
		case <-ctx.Done():
			panic(http.ErrAbortHandler)
		}
		// What is in the server's socket is read when it goes on, whoever has given up meanwhile.
		late, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(p.ctx, cancel)()
		ctx = late
	}
	if f := p.struck(Slow); f != nil {
		select {
		case <-time.After(slowness):
		case <-ctx.Done():
			panic(http.ErrAbortHandler)
		}
	}
	if f := p.struck(Refuse); f != nil {
		f.refuse(w)
		return
	}
	if r.Method == http.MethodPut && r.ContentLength >= sizeable {
		p.upload(ctx, r)
	}
	p.pass.ServeHTTP(w, r.WithContext(ctx))
}

// upload lets the body of a request fail, or its answer.
func (p *Proxy) upload(ctx context.Context, r *http.Request) {
	if f := p.struck(CutUpload); f != nil {
		r.Body = &cut{r.Body, f.place(r.ContentLength)}
		return
	}
	if f := p.struck(FlipUpload); f != nil {
		r.Body = &flipped{r.Body, f.place(r.ContentLength), f.bit()}
		return
	}
	ctx.Value(fateKey{}).(*fate).lost = p.struck(LoseAnswer) != nil
}

// answered lets the body of an answer fail, or loses it.
func answered(a *http.Response) error {
	fate := a.Request.Context().Value(fateKey{}).(*fate)
	if fate.lost {
		_ = a.Body.Close() // nobody reads it
		return errLost
	}
	// Only objects have a tag: lists of them are not data.
	if a.Request.Method != http.MethodGet || a.StatusCode != http.StatusOK || a.Header.Get("ETag") == "" || a.ContentLength < sizeable {
		return nil
	}
	if f := fate.p.struck(CutDownload); f != nil {
		a.Body = &cut{a.Body, f.place(a.ContentLength)}
	} else if f := fate.p.struck(FlipDownload); f != nil {
		a.Body = &flipped{a.Body, f.place(a.ContentLength), f.bit()}
	}
	return nil
}
