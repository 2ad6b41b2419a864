// Package lab is a whole network in one process, on loopback: an edge that behaves like a
// Pomerium server where a client can be hurt by it, forward proxies in front of it, a sign-in
// page and destinations behind it. The demo command runs on it, and so do the fast tests.
//
// The usual path: Start, tell the client under test EdgeURL, CAPEM, ProxyURL and Token, open
// tunnels to the destinations that Routes lists, look at Stats, Close.
//
// The edge can be reached through the lab's proxies only: its name resolves nowhere else, and
// a connection to its published port is refused and counted, so that a test can prove that
// nothing left beside the proxy. It is not a model of Envoy: only what a tunnel client sees of
// it, HTTP/1.1 and HTTP/2 CONNECT and a few GETs, is here.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// Config says what kind of lab Start makes. The zero value is a current server with default
// settings, sign-in by pressing a button.
type Config struct {
	Version string   // server release whose answers to imitate: "0.33" (also ""), or "0.32"
	ALPN    []string // what the edge offers; nil: h2 and http/1.1; empty: no ALPN at all
	// SpeakH1 makes the edge speak HTTP/1.1 whatever ALPN picked, as a bad middlebox does.
	SpeakH1   bool
	PlainEdge bool // no TLS at the edge: http/1.1, and h2c with prior knowledge
	// AllowDirect serves connections to the published port as well. They still count.
	AllowDirect bool

	MaxStreams uint32 // streams on one HTTP/2 connection; 0: 1024
	Buffer     int    // bytes the edge holds for a client whose window is shut; 0: 16 MiB

	// ProxyIdle is the silence after which the proxies drop a tunnel; 0: never.
	ProxyIdle time.Duration

	// LocalCallback puts the callback beside the sign-in page instead of on the edge's name, for
	// a real browser, which cannot resolve that name.
	LocalCallback bool

	Log *slog.Logger // nil: no logs
}

// Lab is a running lab. Its methods may be called from any goroutine.
type Lab struct {
	config   Config
	log      *slog.Logger
	edge     *edge
	sessions *sessions
	proxies  map[string]*url.URL
	signIn   string // host:port of the sign-in page
	edgeCA   *authority
	proxyCA  *authority
	wires    *net.TCPListener // makes connected pairs of sockets
	wiresMu  sync.Mutex

	mu       sync.Mutex
	closed   bool
	closers  map[io.Closer]struct{}
	resolved map[string]string
	wg       sync.WaitGroup
	signIns  atomic.Int64
}

// Stats is what the lab has seen so far.
type Stats struct {
	Direct      int                        // connections to the edge's published port
	Connections int                        // connections that the edge served
	H1, H2      int                        // those of them that spoke HTTP/1.1, HTTP/2
	Tunnels     map[string]int             // tunnels opened, by destination
	Pings       int                        // HTTP/2 PINGs received, without acknowledgements
	Resets      map[string][]http2.ErrCode // RST_STREAMs of clients, by destination
	SignIns     int                        // tokens handed out to a redirect URI
}

// Start starts a lab. The caller closes it.
func Start(config Config) (*Lab, error) {
	if config.Version == "" {
		config.Version = "0.33"
	}
	if config.Version != "0.33" && config.Version != "0.32" {
		return nil, fmt.Errorf("starting lab: unknown version %q", config.Version)
	}
	if config.ALPN == nil {
		config.ALPN = []string{"h2", "http/1.1"}
	}
	config.MaxStreams = cmp.Or(config.MaxStreams, 1024)
	config.Buffer = cmp.Or(config.Buffer, 16<<20)
	l := &Lab{
		config: config, log: cmp.Or(config.Log, slog.New(slog.DiscardHandler)), sessions: newSessions(),
		proxies: make(map[string]*url.URL),
		closers: make(map[io.Closer]struct{}), resolved: make(map[string]string),
	}
	for _, step := range []func() error{l.startWires, l.startEdge, l.startSignIn, l.startProxies} {
		if err := step(); err != nil {
			l.Close()
			return nil, fmt.Errorf("starting lab: %w", err)
		}
	}
	return l, nil
}

// Close ends everything in the lab and waits until it is gone.
func (l *Lab) Close() error {
	l.mu.Lock()
	l.closed = true
	closers := l.closers
	l.closers = nil
	l.mu.Unlock()
	for c := range closers {
		c.Close()
	}
	l.wg.Wait()
	return nil
}

// track registers c to be closed with the lab, and reports whether the lab is still open; c is
// closed at once when it is not. The result of forget undoes it.
func (l *Lab) track(c io.Closer) (forget func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return func() {}, false
	}
	l.closers[c] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.closers, c)
	}, true
}

// run runs f on its own goroutine; Close joins it. It reports whether the lab is still open.
func (l *Lab) run(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Go(f)
	return true
}

// listen opens a loopback listener and serves each connection on a goroutine of its own.
func (l *Lab) listen(serve func(*net.TCPConn)) (*net.TCPAddr, error) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if _, ok := l.track(ln); !ok {
		return nil, net.ErrClosed
	}
	l.run(func() {
		for {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			l.serve(c, serve)
		}
	})
	return ln.Addr().(*net.TCPAddr), nil
}

// serve runs f with c, and closes c afterwards or with the lab.
func (l *Lab) serve(c *net.TCPConn, f func(*net.TCPConn)) {
	forget, ok := l.track(c)
	if !ok {
		return
	}
	started := l.run(func() {
		defer forget()
		defer c.Close()
		f(c)
	})
	if !started {
		c.Close()
	}
}

func (l *Lab) startWires() (err error) {
	l.wires, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err == nil {
		l.track(l.wires)
	}
	return err
}

// wire returns the two ends of a TCP connection: real sockets, so that a FIN, a reset and a full
// window are those of the kernel, and nobody else can have made it.
func (l *Lab) wire() (near, far *net.TCPConn, err error) {
	l.wiresMu.Lock()
	defer l.wiresMu.Unlock()
	near, err = net.DialTCP("tcp", nil, l.wires.Addr().(*net.TCPAddr))
	if err != nil {
		return nil, nil, err
	}
	for {
		far, err = l.wires.AcceptTCP()
		if err != nil {
			near.Close()
			return nil, nil, err
		}
		if far.RemoteAddr().String() == near.LocalAddr().String() {
			return near, far, nil
		}
		far.Close()
	}
}

// errUnknownHost is the answer of the lab's resolver to every name but its own.
var errUnknownHost = errors.New("no such host")

// dial connects to a name as the lab's proxies see the world: names under .lab with the edge's
// port or the default one are the edge; the lab's own listeners and what Resolve added are
// reached too; nothing else exists.
func (l *Lab) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	addr = strings.ToLower(addr)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	to, ok := l.resolved[addr]
	l.mu.Unlock()
	switch {
	case ok:
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	case strings.HasSuffix(host, ".lab") && slices.Contains(l.edge.ports, port):
		near, far, err := l.wire()
		if err != nil {
			return nil, err
		}
		l.serve(far, l.edge.serve)
		return near, nil
	}
	return nil, errUnknownHost
}

// Resolve makes the lab's proxies reach the TCP address to under the name, both host:port.
func (l *Lab) Resolve(name, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resolved[strings.ToLower(name)] = to
}

// EdgeURL is the edge's URL, https://edge.lab:port. The name resolves in the lab's proxies only.
func (l *Lab) EdgeURL() *url.URL {
	scheme := "https"
	if l.config.PlainEdge {
		scheme = "http"
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort("edge.lab", l.edge.ports[0])}
}

// EdgeAddr is the edge's published address, 127.0.0.1:port, where connections are counted and,
// without Config.AllowDirect, reset.
func (l *Lab) EdgeAddr() string { return net.JoinHostPort("127.0.0.1", l.edge.ports[0]) }

// ProxyURL returns the URL of a proxy: kind is "http", "https" or "socks5", or one of these with
// "+password" for one that asks for a user and a password, which the URL then has. "" for any
// other kind.
func (l *Lab) ProxyURL(kind string) string {
	if u := l.proxies[kind]; u != nil {
		return u.String()
	}
	return ""
}

// CAPEM is the certificate authority of the edge, as PEM.
func (l *Lab) CAPEM() []byte { return l.edgeCA.pem }

// ProxyCAPEM is the certificate authority of the https proxies, as PEM: not the edge's.
func (l *Lab) ProxyCAPEM() []byte { return l.proxyCA.pem }

// ClientCert returns a client certificate and its key, as PEM, that the edge accepts.
func (l *Lab) ClientCert() (cert, key []byte, err error) { return l.edgeCA.issuePEM("demo user") }

// DirectConnections is the number of connections to the edge that did not come through a proxy
// of the lab.
func (l *Lab) DirectConnections() int { return l.Stats().Direct }

// Stats returns what the lab has seen so far.
func (l *Lab) Stats() Stats {
	s := l.edge.stats()
	s.SignIns = int(l.signIns.Load())
	return s
}
