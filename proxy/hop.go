package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// DefaultTimeout is how long a hop, or a direct dial, may take when nothing
// else is said.
const DefaultTimeout = 15 * time.Second

// DialFunc opens a connection to addr, "host:port"; network is "tcp". The
// context bounds the dial, not the connection. It is the shape of
// net.Dialer.DialContext.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Hop is one forward proxy. Only URL is required. A Hop may be used by many
// goroutines at once and must not be copied or changed after its first use:
// it remembers how the proxy wants to be authenticated to.
type Hop struct {
	URL     *url.URL        // http, https, socks5 or socks5h, as ParseURL returns it
	TLS     *tls.Config     // for an https proxy; nil: system roots. ServerName and NextProtos are filled in
	Auth    []Authenticator // for HTTP, in order of preference; nil: all schemes, with the user of URL where they need one
	Header  http.Header     // added to each request that an HTTP proxy gets, CONNECT or in absolute form
	Dial    DialFunc        // how the proxy itself is reached; nil: Dialer{}.DialContext
	Timeout time.Duration   // for the whole hop, from dialing to the reply; 0: DefaultTimeout
	Log     *slog.Logger    // nil: no logs
	Source  string          // the setting that named the proxy, for errors; may be empty

	UserSource string // the setting that the user of URL is from, for errors; empty: the one that named the proxy

	// Logins is asked for a user and password where the proxy wants them and URL
	// has none, or has a user alone. For HTTP, Auth has to be nil then; nil: none.
	Logins Logins

	// KeepAlive is the silence before a PING on an HTTP/2 connection to the proxy
	// that carries tunnels; 0: 20 s, negative: never.
	KeepAlive time.Duration

	pool     pool // HTTP/2 connections to an https proxy
	first    sync.Once
	identity atomic.Pointer[identity]                 // whom me returns
	makeAuth func(user *url.Userinfo) []Authenticator // nil: all schemes
	kept     inquiry
	asked    inquiry
	warn     sync.Once // one warning about a password in clear
}

// A scheme is one kind of proxy. A new kind is a row in table, and a file.
type scheme struct {
	port        string // the default
	credentials func(*url.Userinfo) error
	tunnel      func(h *Hop, ctx context.Context, target string) (net.Conn, error)
	absolute    bool // takes http requests in absolute form
}

// table has a row for each kind of proxy. It is a function because a variable
// would refer to itself through the methods of Hop.
func table() map[string]scheme {
	return map[string]scheme{
		"http":    {port: "80", credentials: checkBasic, tunnel: (*Hop).connect, absolute: true},
		"https":   {port: "443", credentials: checkBasic, tunnel: (*Hop).connect, absolute: true},
		"socks5":  {port: "1080", credentials: checkSOCKS, tunnel: (*Hop).socks},
		"socks5h": {port: "1080", credentials: checkSOCKS, tunnel: (*Hop).socks},
	}
}

// Schemes lists the URL schemes of the proxies that this package speaks to.
func Schemes() []string { return slices.Sorted(maps.Keys(table())) }

// DialContext opens a tunnel through the proxy to addr, "host:port". A host
// name goes to the proxy as a name, in its ASCII form. Over HTTP/2 the
// connection is a stream on one that other tunnels use as well. Else, without
// early bytes, it is what Dial gave (or the *tls.Conn over it); with them it is
// a wrapper that has CloseWrite and NetConn. A failure at the proxy is an *Error.
func (h *Hop) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" {
		return nil, fmt.Errorf("dialing %s: network %q is not tcp", addr, network)
	}
	target, err := canonical(addr)
	if err != nil {
		return nil, fmt.Errorf("dialing through a proxy: %w", err)
	}
	row, err := h.row()
	if err != nil {
		return nil, err
	}
	for asks := 0; ; asks++ {
		conn, err := h.within(ctx, row, target)
		if err == nil || asks == maxAsks || ctx.Value(hurriedKey{}) != nil { // else the hop behind this one asks
			return conn, err
		}
		if again, err := findOut(ctx, err); !again {
			return nil, err
		}
	}
}

// within opens a tunnel in the hop's time.
func (h *Hop) within(ctx context.Context, row scheme, target string) (net.Conn, error) {
	ctx, cancel := withLimit(ctx, h.Timeout)
	defer cancel()
	return row.tunnel(h, ctx, target)
}

// String is the URL of the proxy without user and password.
func (h *Hop) String() string {
	if h.URL == nil {
		return ""
	}
	return h.URL.Scheme + "://" + h.addr()
}

// row finds the hop's kind and checks what can be checked before dialing.
func (h *Hop) row() (scheme, error) {
	if h.URL == nil {
		return scheme{}, errors.New("dialing through a proxy: it has no URL")
	}
	row, ok := table()[h.URL.Scheme]
	if !ok {
		return scheme{}, h.fail(context.Background(), OpDial, "", errScheme)
	}
	if err := row.credentials(h.me().user); err != nil {
		return scheme{}, h.fail(context.Background(), OpAuth, "", err)
	}
	if err := checkHeader(h.Header); err != nil {
		return scheme{}, h.fail(context.Background(), OpConnect, "", err)
	}
	return row, nil
}

// CloseIdleConnections closes the HTTP/2 connections to the proxy that carry no
// tunnel; the others end with their last. Left alone, they close by themselves
// after a minute without one.
func (h *Hop) CloseIdleConnections() { h.pool.retire() }

// reach dials the proxy and speaks TLS with it where its scheme says so. It
// offers HTTP/1.1 alone: see connectionH2 for more.
func (h *Hop) reach(ctx context.Context) (net.Conn, error) {
	conn, err := h.dial(ctx)
	if err != nil || h.URL.Scheme != "https" {
		return conn, err
	}
	secure, err := h.handshake(ctx, conn, protoHTTP1)
	if err != nil {
		return nil, err // not secure: it would be no nil
	}
	return secure, nil
}

func (h *Hop) dial(ctx context.Context) (net.Conn, error) {
	dial := h.Dial
	if dial == nil {
		dial = Dialer{Timeout: h.Timeout}.DialContext
	}
	start := time.Now()
	conn, err := dial(ctx, "tcp", h.addr())
	if err != nil {
		if before := (*Error)(nil); errors.As(err, &before) {
			return nil, err // a hop on the way to this one
		}
		return nil, h.fail(ctx, OpDial, "", err)
	}
	sock.QuickAck(conn)
	h.log().DebugContext(ctx, "dialed", "hop", h.String(), "took", time.Since(start))
	return conn, nil
}

// The names of RFC 7301 for what an https proxy may be asked in.
const (
	protoHTTP1 = "http/1.1"
	protoHTTP2 = "h2"
)

// handshake speaks TLS on conn, which it closes where that comes to nothing.
func (h *Hop) handshake(ctx context.Context, conn net.Conn, protocols ...string) (*tls.Conn, error) {
	start := time.Now()
	secure := tls.Client(conn, h.tlsConfig(protocols))
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, h.fail(ctx, OpTLS, "", explainTLS(err, protocols))
	}
	sock.QuickAck(conn)
	state := secure.ConnectionState()
	h.log().DebugContext(ctx, "proxy tls", "hop", h.String(), "version", tls.VersionName(state.Version),
		"alpn", state.NegotiatedProtocol, "issuer", issuer{state.PeerCertificates}, "took", time.Since(start))
	return secure, nil
}

// Reach dials the proxy, through those before it, and speaks TLS with it where
// its scheme says so. Nothing is asked, and the connection is closed: it is for
// whoever wants to know how far it is. A failure at a proxy is an *Error.
func (h *Hop) Reach(ctx context.Context) error {
	if _, err := h.row(); err != nil {
		return err
	}
	ctx, cancel := withLimit(ctx, h.Timeout)
	defer cancel()
	if h.URL.Scheme == "https" {
		secure, _, err := h.reachH2(ctx)
		if err != nil {
			return err
		}
		return secure.NetConn().Close()
	}
	conn, err := h.reach(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// issuer is who vouches for a proxy: in a network that takes TLS apart, not who
// one would think. It costs nothing where nobody logs.
type issuer struct{ chain []*x509.Certificate }

// LogValue implements slog.LogValuer.
func (i issuer) LogValue() slog.Value {
	if len(i.chain) == 0 {
		return slog.StringValue("")
	}
	return slog.StringValue(quote(printable(i.chain[0].Issuer.String()), nil))
}

func (h *Hop) tlsConfig(protocols []string) *tls.Config {
	c := h.TLS.Clone()
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.ServerName == "" {
		// A zone is this machine's own business; no certificate names it.
		c.ServerName, _, _ = strings.Cut(h.URL.Hostname(), "%")
	}
	c.NextProtos = protocols
	return c
}

func (h *Hop) addr() string {
	port := h.URL.Port()
	if port == "" {
		port = table()[h.URL.Scheme].port
	}
	return net.JoinHostPort(h.URL.Hostname(), port)
}

func (h *Hop) log() *slog.Logger { return logger(h.Log) }

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
