package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/proxy"
)

// A starter runs a proxy of one scheme that wants u and "p:w 1", and leads
// every target to one address. early goes out together with its reply.
type starter func(t testing.TB, leadsTo, early string) *running

type running struct {
	addr string
	tls  *tls.Config // of the client
}

func (r *running) config() proxy.Config { return proxy.Config{Dial: to(r.addr), TLS: r.tls} }

func (r *running) url(kind, password string) string {
	return schemeOf(kind) + "://u:" + strings.NewReplacer(" ", "%20").Replace(password) + "@proxy.test:3128"
}

func (r *running) hop(t testing.TB, scheme, password string) *proxy.Hop {
	h := hop(t, r.url(scheme, password), to(r.addr))
	h.TLS = r.tls
	t.Cleanup(h.CloseIdleConnections)
	return h
}

// kinds are the kinds of proxies: those of proxy.Schemes, and an https proxy that
// picks h2.
func kinds() []string { return append(proxy.Schemes(), "https, h2") }

// schemeOf is the scheme of a kind.
func schemeOf(kind string) string {
	scheme, _, _ := strings.Cut(kind, ",")
	return scheme
}

// starters has a row for each kind; one without a row fails the test.
var starters = map[string]starter{
	"http": func(t testing.TB, leadsTo, early string) *running {
		return &running{addr: serve(t, func(c net.Conn, _ int) { connectProxy(c, leadsTo, early) })}
	},
	"https": func(t testing.TB, leadsTo, early string) *running {
		ca := newAuthority(t)
		config := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "proxy.test", time.Now().Add(time.Hour))}}
		addr := serve(t, func(c net.Conn, _ int) {
			s := tls.Server(c, config)
			defer s.Close()
			connectProxy(s, leadsTo, early)
		})
		return &running{addr: addr, tls: &tls.Config{RootCAs: ca.pool()}}
	},
	"https, h2": func(t testing.TB, leadsTo, early string) *running {
		return secureProxy(t, bothProtocols, connectHandler(leadsTo, early), nil)
	},
	"socks5":  socksProxy,
	"socks5h": socksProxy,
}

func connectProxy(c net.Conn, leadsTo, early string) {
	for {
		head, err := readHead(c)
		if err != nil {
			return
		}
		if field(head, "Proxy-Authorization") == goodKey {
			break
		}
		io.WriteString(c, "HTTP/1.1 407 No\r\n"+wants+"Content-Length: 0\r\n\r\n")
	}
	lead(c, leadsTo, ok200+early)
}

func socksProxy(t testing.TB, leadsTo, early string) *running {
	return &running{addr: serve(t, func(c net.Conn, _ int) {
		const login = "\x01\x01u\x05p:w 1"
		got := make([]byte, 4)
		io.ReadFull(c, got)
		io.WriteString(c, "\x05\x02")
		got = make([]byte, len(login))
		if io.ReadFull(c, got); string(got) != login {
			io.WriteString(c, "\x01\x01")
			return
		}
		io.WriteString(c, "\x01\x00")
		socksLead(c, leadsTo, early)
	})}
}

// openSocks is one that asks for no password.
func openSocks(t testing.TB, leadsTo string) *running {
	return &running{addr: serve(t, func(c net.Conn, _ int) {
		got := make([]byte, 3)
		if io.ReadFull(c, got); string(got) != "\x05\x01\x00" {
			return
		}
		io.WriteString(c, "\x05\x00")
		socksLead(c, leadsTo, "")
	})}
}

// socksLead reads a request with a name in it, and opens the tunnel.
func socksLead(c net.Conn, leadsTo, early string) {
	got := make([]byte, 5)
	io.ReadFull(c, got)
	if _, err := io.ReadFull(c, make([]byte, int(got[4])+2)); err != nil {
		return
	}
	lead(c, leadsTo, socksOpen+early)
}

// lead says that c is open and joins it to what listens on leadsTo.
func lead(c net.Conn, leadsTo, says string) {
	origin, err := net.Dial("tcp", leadsTo)
	if err != nil {
		return
	}
	defer origin.Close()
	io.WriteString(c, says)
	done := make(chan struct{})
	go func() { // joined below
		defer close(done)
		io.Copy(origin, c)
		origin.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(c, origin)
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	<-done
}

func TestConformance(t *testing.T) {
	for _, kind := range kinds() {
		start := starters[kind]
		if start == nil {
			t.Errorf("%s has no row in starters", kind)
			continue
		}
		for name, check := range conformance {
			t.Run(kind+": "+name, func(t *testing.T) { check(t, schemeOf(kind), start) })
		}
	}
}

const goodPassword = "p:w 1"

// conformance is what every kind of proxy has to do.
var conformance = map[string]func(t *testing.T, scheme string, start starter){
	"open": func(t *testing.T, scheme string, start starter) {
		p := start(t, serve(t, func(c net.Conn, _ int) { echo(c) }), "")
		exchangeEcho(t, open(t, p.hop(t, scheme, goodPassword)), "")
	},
	"early bytes": func(t *testing.T, scheme string, start starter) {
		p := start(t, serve(t, func(c net.Conn, _ int) { echo(c) }), "welcome")
		conn := open(t, p.hop(t, scheme, goodPassword))
		exchangeEcho(t, conn, "welcome")
		if below, ok := conn.(interface{ NetConn() net.Conn }); ok && below.NetConn() == nil {
			t.Error("NetConn is nil")
		}
	},
	"half-close": func(t *testing.T, scheme string, start starter) {
		for _, early := range []string{"", "welcome"} {
			p := start(t, serve(t, func(c net.Conn, _ int) {
				all, _ := io.ReadAll(c)
				c.Write(append(all, " and goodbye"...))
			}), early)
			conn := open(t, p.hop(t, scheme, goodPassword))
			io.WriteString(conn, "hello")
			half, ok := conn.(interface{ CloseWrite() error })
			if !ok {
				t.Fatalf("%T has no CloseWrite", conn)
			}
			if err := half.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); string(got) != early+"hello and goodbye" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
	},
	"cancel": func(t *testing.T, scheme string, _ starter) {
		ctx, cancel := context.WithCancel(t.Context())
		silent := serve(t, func(c net.Conn, _ int) {
			c.Read(make([]byte, 1))
			cancel()
			io.Copy(io.Discard, c)
		})
		_, err := hop(t, scheme+"://proxy.test", to(silent)).DialContext(ctx, "tcp", target)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		asError(t, err)
	},
	"the context does not outlive the dial": func(t *testing.T, scheme string, start starter) {
		p := start(t, serve(t, func(c net.Conn, _ int) { echo(c) }), "")
		ctx, cancel := context.WithCancel(t.Context())
		conn, err := p.hop(t, scheme, goodPassword).DialContext(ctx, "tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		cancel()
		exchangeEcho(t, conn, "")
	},
	"wrong password": func(t *testing.T, scheme string, start starter) {
		p := start(t, serve(t, func(c net.Conn, _ int) { echo(c) }), "")
		_, err := p.hop(t, scheme, "p:w 2").DialContext(t.Context(), "tcp", target)
		if failed := asError(t, err); failed.Op != proxy.OpAuth || !errors.Is(err, proxy.ErrRejected) {
			t.Errorf("error %v", err)
		}
	},
	"proxy dies before it answers": func(t *testing.T, scheme string, _ starter) {
		addr := serve(t, func(c net.Conn, _ int) {
			c.Read(make([]byte, 1))
			c.(*net.TCPConn).SetLinger(0)
		})
		conn, err := hop(t, scheme+"://proxy.test", to(addr)).DialContext(t.Context(), "tcp", target)
		if err == nil {
			conn.Close()
		}
		if failed := asError(t, err); !strings.HasPrefix(failed.Hop, scheme+"://proxy.test:") {
			t.Errorf("error %v", err)
		}
	},
	"proxy is not there": func(t *testing.T, scheme string, _ starter) {
		_, err := proxy.Dial(mustFix(t, scheme+"://127.0.0.1:1"), mustParse(t, "https://edge.test"))(t.Context(), "tcp", target)
		failed := asError(t, err)
		want := "forward proxy " + scheme + "://127.0.0.1:1 (--forward-proxy): dial tcp 127.0.0.1:1: "
		if failed.Op != proxy.OpDial || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v", err)
		}
	},
	"name unknown": func(t *testing.T, scheme string, _ starter) {
		d := proxy.Dialer{Lookup: lookup()}
		_, err := hop(t, scheme+"://proxy.test:3128", d.DialContext).DialContext(t.Context(), "tcp", target)
		if want := "forward proxy " + scheme + "://proxy.test:3128: lookup proxy.test: no addresses"; text(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	},
}

func open(t testing.TB, h *proxy.Hop) net.Conn {
	t.Helper()
	conn, err := h.DialContext(t.Context(), "tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func mustFix(t testing.TB, raw string) proxy.Selector {
	t.Helper()
	s, err := proxy.Fixed(raw, "--forward-proxy", proxy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A hop over a hop needs nothing but Dial.
func TestHopOverHop(t *testing.T) {
	far := starters["http"](t, serve(t, func(c net.Conn, _ int) { echo(c) }), "")
	near := starters["socks5"](t, far.addr, "")
	second := hop(t, userURL, near.hop(t, "socks5", goodPassword).DialContext)
	exchangeEcho(t, open(t, second), "")
	second = hop(t, userURL, near.hop(t, "socks5", "wrong").DialContext)
	_, err := second.DialContext(t.Context(), "tcp", target)
	if failed := asError(t, err); failed.Hop != "socks5://proxy.test:3128" {
		t.Errorf("error %v", err)
	}
}
