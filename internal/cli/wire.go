package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/relay"
	"github.com/pomerium/pomerium-cli/internal/token"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// parts are the parts of the program, plugged together as a plan says. They
// are made when the first connection needs them: a start must cost nothing.
type parts struct {
	plan *plan
	ui   *ui
	own  ownListeners

	store   login.Store                                 // nil: files where the existing client has them
	browser func(ctx context.Context, url string) error // nil: as --browser-cmd says
	notify  func(url string)                            // nil: print it
	logins  *logins                                     // of forward proxies; nil: nobody is asked
	turns   *token.Turns                                // of sign-ins; nil: each process for itself
	signIns []*login.SignIn
	started time.Time
	unsafe  sync.Once // to tell of a .netrc that is not used

	// tidy gives back to the system what opening tunnels took: handshakes leave
	// more behind than idle tunnels need.
	tidy *time.Timer

	selector func() (proxy.Selector, error)
	mu       sync.Mutex
	edges    map[string]*edgeParts
}

// edgeParts reach one edge.
type edgeParts struct {
	client *tunnel.Client
	http   *proxy.Transport // for signing in
}

// quiet is how long no tunnel is opened before memory is tidied.
const quiet = 2 * time.Second

func newParts(p *plan, u *ui) *parts {
	w := &parts{plan: p, ui: u, edges: make(map[string]*edgeParts), started: time.Now()}
	w.tidy = time.AfterFunc(quiet, debug.FreeOSMemory)
	w.tidy.Stop()
	w.selector = sync.OnceValues(w.newSelector)
	return w
}

// connector returns what opens a tunnel for one local connection.
func (w *parts) connector(r route) func(context.Context) (relay.Stream, error) {
	return func(ctx context.Context) (relay.Stream, error) {
		e, err := w.edge(ctx, r.edge)
		if err != nil {
			return nil, err
		}
		defer w.tidy.Reset(quiet)
		defer w.ui.Waiting("opening " + r.destination)()
		return e.client.Connect(ctx, r.destination)
	}
}

// edge returns the parts for an edge: one client for all tunnels to it.
func (w *parts) edge(ctx context.Context, server *url.URL) (*edgeParts, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e := w.edges[server.String()]; e != nil {
		return e, nil
	}
	s, err := w.selector()
	if err != nil {
		return nil, err
	}
	if err := w.openStore(ctx); err != nil {
		return nil, err
	}
	if server.Scheme == "https" && len(w.plan.edgeCAs.pems) == 0 {
		// The handshake will want them. On Linux they are hundreds of files, 10 ms
		// of work, which the way to the edge is long enough for.
		go x509.SystemCertPool() // ends when they are read
	}
	e := &edgeParts{http: &proxy.Transport{Selector: s, TLS: w.edgeTLS()}}
	e.client = w.client(server, proxy.Dial(s, server), w.tokens(server, e.http))
	e.client.Spare = len(w.plan.routes) > 0 && !listen.IsStdio(w.plan.routes[0].listen) // nobody comes after the first one
	w.edges[server.String()] = e
	return e, nil
}

// client makes a client of an edge that is reached by dial.
func (w *parts) client(server *url.URL, dial proxy.DialFunc, tokens tunnel.Tokens) *tunnel.Client {
	return &tunnel.Client{
		Edge:           server,
		Dial:           dial,
		TLS:            w.edgeTLS(),
		Tokens:         tokens,
		Protocol:       w.plan.protocol,
		MaxConnections: w.plan.maxConnections,
		KeepAlive:      w.keepAlive(),
		Timeout:        w.plan.connectTimeout,
		Log:            w.ui.log,
	}
}

// serve serves each listener until ctx ends; opened is told of each.
func (w *parts) serve(ctx context.Context, listeners []net.Listener, opened func(net.Addr, route)) error {
	var serving sync.WaitGroup
	errs := make([]error, len(listeners))
	for i, ln := range listeners {
		r := w.plan.routes[i]
		server := &listen.Server{
			Connect: w.connector(r),
			Failed:  func(err error) { w.ui.Failed(r.destination, err) },
			Log:     w.ui.log,
		}
		serving.Go(func() { errs[i] = server.Serve(ctx, ln) }) // joined below
		opened(ln.Addr(), r)
	}
	serving.Wait()
	return errors.Join(errs...)
}

// Close ends what is kept for later use.
func (w *parts) Close() {
	w.tidy.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.edges {
		_ = e.client.Close()
	}
	for _, s := range w.signIns {
		s.Close()
	}
	for _, e := range w.edges {
		e.http.CloseIdleConnections()
	}
	if w.logins != nil {
		w.logins.Close()
	}
}

func (w *parts) newSelector() (proxy.Selector, error) {
	s, err := w.plan.out.selector(w.plan.getenv, w.proxyConfig())
	if err != nil {
		return nil, err
	}
	return proxy.Remembering(s, newDeadWays(w.ui.log)), nil
}

func (w *parts) proxyConfig() proxy.Config {
	dial := proxy.Dialer{Timeout: w.plan.connectTimeout, Dial: w.own.guard((&net.Dialer{}).DialContext), Log: w.ui.log}
	secure := &tls.Config{RootCAs: w.plan.proxyCAs.pool(), ServerName: w.plan.forwardProxyName, MinVersion: tls.VersionTLS12}
	if w.plan.proxyPair != nil {
		secure.Certificates = []tls.Certificate{*w.plan.proxyPair}
	}
	c := proxy.Config{
		Timeout:    w.plan.connectTimeout,
		TLS:        secure,
		Header:     w.plan.proxyHeader,
		Dial:       dial.DialContext,
		KeepAlive:  w.keepAlive(),
		Log:        w.ui.log,
		User:       w.plan.proxyUser,
		UserSource: w.plan.proxyUserOf,
		UserOf:     w.netrc,
		Schemes:    w.plan.proxyAuth,
		SPN:        w.plan.forwardProxySPN,
	}
	if w.logins != nil { // a nil in the interface would not be one
		c.Logins = w.logins
	}
	return c
}

// netrc tells what the user's .netrc has for a proxy.
func (w *parts) netrc(host string) (*url.Userinfo, string) {
	login, path, err := netrcLogin(host, w.plan.getenv)
	if err != nil {
		w.unsafe.Do(func() { w.ui.log.Warn("a password is not used", "file", path, "err", err) })
	}
	return login, path
}

// keepAlive is --keep-alive, whose 0 means none.
func (w *parts) keepAlive() time.Duration {
	if w.plan.keepAlive == 0 {
		return -1
	}
	return w.plan.keepAlive
}

func (w *parts) edgeTLS() *tls.Config {
	c := &tls.Config{
		RootCAs:            w.plan.edgeCAs.pool(),
		InsecureSkipVerify: w.plan.insecure, // #nosec G402 -- the user said so, and was told
		MinVersion:         tls.VersionTLS12,
	}
	if w.plan.clientPair != nil {
		c.Certificates = []tls.Certificate{*w.plan.clientPair}
	}
	return c
}

// ownListeners are the addresses where we listen ourselves. To dial one of them
// would open a tunnel for the dialed connection, which would dial again, and so
// on without end.
type ownListeners struct {
	addrs atomic.Pointer[[]netip.AddrPort]
}

// errLoop says that we would have dialed ourselves.
var errLoop = errors.New("this address is our own listener: the way out would lead back here")

func (o *ownListeners) set(listeners []net.Listener) {
	var addrs []netip.AddrPort
	for _, ln := range listeners {
		if a, ok := ln.Addr().(*net.TCPAddr); ok {
			addrs = append(addrs, a.AddrPort())
		}
	}
	o.addrs.Store(&addrs)
}

// guard refuses to dial our own listeners; dial gets IP addresses.
func (o *ownListeners) guard(dial proxy.DialFunc) proxy.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(addr)
		if own := o.addrs.Load(); err == nil && own != nil {
			for _, at := range *own {
				if at.Port() == to.Port() && answers(at.Addr(), to.Addr()) {
					return nil, errLoop
				}
			}
		}
		return dial(ctx, network, addr)
	}
}
