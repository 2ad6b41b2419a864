package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

// A link is a connection to the edge on which nothing has been asked yet.
type link struct {
	top   net.Conn   // TLS, or under itself where the edge is plain text
	under *sock.Conn // what TLS stands on
	h2    bool
}

func (l *link) close() { l.under.Close() }

// A linker dials links.
type linker struct {
	addr, name string
	tls        *tls.Config // nil: plain text
	plainH2    bool
	insistH2   bool
	timeout    time.Duration
	dial       func(ctx context.Context, network, addr string) (net.Conn, error)
	debug      func(msg string, args ...any)
}

func newLinker(c *Client) *linker {
	l := &linker{
		addr:     address(c.Edge),
		name:     edge.Host(c.Edge),
		timeout:  c.timeout(),
		dial:     c.Dial,
		debug:    c.debug,
		insistH2: c.Protocol == "h2",
	}
	if l.dial == nil {
		l.dial = new(net.Dialer).DialContext
	}
	if c.Edge.Scheme == "http" {
		l.plainH2 = l.insistH2
		return l
	}
	l.tls = &tls.Config{}
	if c.TLS != nil {
		l.tls = c.TLS.Clone()
	}
	if l.tls.ServerName == "" {
		l.tls.ServerName = c.Edge.Hostname()
	}
	if l.tls.ClientSessionCache == nil {
		l.tls.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	}
	switch c.Protocol {
	case "h1":
		l.tls.NextProtos = []string{"http/1.1"}
	case "h2":
		l.tls.NextProtos = []string{"h2"}
	default:
		l.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	return l
}

// address returns host:port of u, with the scheme's default port.
func address(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80"}[u.Scheme]
	}
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// link dials the edge and finishes the TLS handshake. What the handshake writes
// last stays held back and leaves together with the first request.
func (l *linker) link(ctx context.Context, cfg *tls.Config) (*link, error) {
	conn, err := l.dial(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	under := sock.NewConn(conn)
	if cfg == nil {
		return &link{top: under, under: under, h2: l.plainH2}, nil
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	top := tls.Client(under, cfg)
	if err := top.HandshakeContext(ctx); err != nil {
		under.Close()
		return nil, &Error{Edge: l.name, Op: "tls", Err: handshakeError(err)}
	}
	state := top.ConnectionState()
	l.debug("edge tls", "edge", l.name, "version", tls.VersionName(state.Version), "alpn", state.NegotiatedProtocol,
		"issuer", issuer{state.PeerCertificates}, "took", time.Since(start))
	h2 := state.NegotiatedProtocol == "h2"
	if l.insistH2 && !h2 {
		under.Close()
		return nil, &Error{Edge: l.name, Op: "tls", Err: ErrNoH2}
	}
	return &link{top: top, under: under, h2: h2}, nil
}

// issuer is who vouches for the edge: in a network that takes TLS apart, not who
// one would think. It costs nothing where nobody logs.
type issuer struct{ chain []*x509.Certificate }

// LogValue implements slog.LogValuer.
func (i issuer) LogValue() slog.Value {
	if len(i.chain) == 0 {
		return slog.StringValue("")
	}
	return slog.StringValue(i.chain[0].Issuer.String())
}

// only11 returns cfg with HTTP/1.1 as the only protocol.
func only11(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}
