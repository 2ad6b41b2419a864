package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/lab"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// TestMatrix is each kind of proxy with each authentication that it knows, in
// front of an edge on HTTP/1.1 and on HTTP/2, with what can become of a tunnel.
func TestMatrix(t *testing.T) {
	edge, err := lab.Start(lab.Config{AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { edge.Close() })
	for _, d := range doors(t) {
		for _, protocol := range []string{"h1", "h2"} {
			for what, check := range fates {
				if what == "wrong password" && d.auth == "none" {
					continue
				}
				t.Run(strings.Join([]string{d.kind, d.auth, protocol, what}, ", "), func(t *testing.T) {
					check(t, &passage{lab: edge, door: d, protocol: protocol})
				})
			}
		}
	}
}

// A door is a kind of proxy with an authentication.
type door struct {
	kind, auth string
	// start starts one that leads to an address, and returns what connects to it
	// and a hop that has still to be told how. The hop is nil where the system
	// has no such authentication to test.
	start func(t *testing.T, leadsTo string, good bool) (addr string, h *proxy.Hop)
}

// doors are all of them. A scheme without a row in starters, or an
// authentication without one in gates, fails the test.
func doors(t *testing.T) (all []door) {
	t.Helper()
	for _, kind := range kinds() {
		if starters[kind] == nil {
			t.Errorf("%s has no row in starters", kind)
		}
		if !strings.HasPrefix(kind, "http") {
			all = append(all, door{kind, "password", func(t *testing.T, leadsTo string, good bool) (string, *proxy.Hop) {
				p := starters[kind](t, leadsTo, "")
				return p.addr, p.hop(t, schemeOf(kind), passwords(good))
			}}, door{kind, "none", func(t *testing.T, leadsTo string, _ bool) (string, *proxy.Hop) {
				p := openSocks(t, leadsTo)
				return p.addr, hop(t, schemeOf(kind)+"://proxy.test:3128", to(p.addr))
			}})
			continue
		}
		for _, auth := range append(proxy.AuthSchemes(), "none") {
			gateOf, ok := gates[auth]
			if auth == "none" {
				gateOf, ok = func(testing.TB) *gate { return &gate{hop: func(*proxy.Hop, bool) {}} }, true
			}
			if !ok {
				t.Errorf("%s has no row in gates", auth)
			}
			if gateOf == nil {
				t.Logf("%s: %s is left out on this system", kind, auth) // see gate_other_test.go
				continue
			}
			all = append(all, door{kind, auth, func(t *testing.T, leadsTo string, good bool) (string, *proxy.Hop) {
				g := gateOf(t)
				p := g.serve(t, kind)
				p.leadsTo = leadsTo
				return p.addr, p.hop(t, g, good)
			}})
		}
	}
	return all
}

// A passage is a door on the way to the edge of a lab.
type passage struct {
	lab      *lab.Lab
	door     door
	protocol string

	mu    sync.Mutex
	wires []*net.TCPConn // the client's connections, as the door sees them
}

// client is one that goes through the door.
func (p *passage) client(t *testing.T, leadsTo string, good bool) *tunnel.Client {
	t.Helper()
	addr, h := p.door.start(t, leadsTo, good)
	h.Dial = to(serve(t, func(c net.Conn, _ int) {
		p.mu.Lock()
		p.wires = append(p.wires, c.(*net.TCPConn))
		p.mu.Unlock()
		lead(c, addr, "")
	}))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.lab.CAPEM())
	c := &tunnel.Client{
		Edge: p.lab.EdgeURL(), Dial: h.DialContext, TLS: &tls.Config{RootCAs: roots},
		Tokens: anybody(p.lab.Token()), Protocol: p.protocol,
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// kill ends the proxy's connections without a word: with a reset, or with an end
// that TLS has not announced. It lives again at once.
func (p *passage) kill(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.wires {
		if reset {
			c.SetLinger(0)
		}
		c.Close()
	}
	p.wires = nil
}

// anybody is a token that is never renewed.
type anybody string

func (a anybody) Current(context.Context) (string, error) { return string(a), nil }
func (a anybody) Renew(context.Context, string) (string, error) {
	return "", errors.New("nobody signs in here")
}

// fates is what can become of a tunnel.
var fates = map[string]func(*testing.T, *passage){
	"open": func(t *testing.T, p *passage) {
		c := p.client(t, p.lab.EdgeAddr(), true)
		before := p.lab.Stats()
		for range 2 {
			exchange(t, connect(t, c, "echo.lab:7"), "ping", "ping")
		}
		now := p.lab.Stats()
		if h1, h2 := now.H1 > before.H1, now.H2 > before.H2; h1 != (p.protocol == "h1") || h2 != (p.protocol == "h2") {
			t.Errorf("the edge was spoken to in HTTP/1.1: %v, in HTTP/2: %v", h1, h2)
		}
	},
	// The answer comes after our end. On HTTP/1.1 the destination cannot hear of
	// the end, and answers to the length.
	"half-close": func(t *testing.T, p *passage) {
		c := p.client(t, p.lab.EdgeAddr(), true)
		destination := map[string]string{"h1": "sink-5.lab:1", "h2": "half-close.lab:1"}[p.protocol]
		s := connect(t, c, destination)
		if _, err := io.WriteString(s, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(s); !strings.HasPrefix(string(got), "5 2cf24dba5fb0a30e26e83b2ac5b9e29e") || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	},
	// The proxy has opened a way, and what it leads to is silent.
	"cancel": func(t *testing.T, p *passage) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		c := p.client(t, serve(t, func(c net.Conn, n int) {
			cancel()
			io.Copy(io.Discard, c)
			if n == 1 {
				close(ended)
			}
		}), true)
		if _, err := c.Connect(ctx, "echo.lab:7"); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		c.Close()
		<-ended // nothing is left of it
	},
	"wrong password": func(t *testing.T, p *passage) {
		var reached atomic.Int32
		c := p.client(t, serve(t, func(net.Conn, int) { reached.Add(1) }), false)
		_, err := c.Connect(t.Context(), "echo.lab:7")
		if failed := asError(t, err); failed.Op != proxy.OpAuth || !strings.Contains(failed.Hop, "proxy.test:3128") {
			t.Errorf("error %v", err)
		}
		if n := reached.Load(); n != 0 {
			t.Errorf("%d connections went to the edge", n)
		}
	},
	// Neither death is an end, and the next tunnel opens.
	"proxy dies": func(t *testing.T, p *passage) {
		c := p.client(t, p.lab.EdgeAddr(), true)
		for _, reset := range []bool{true, false} {
			s := connect(t, c, "echo.lab:7")
			exchange(t, s, "ping", "ping")
			p.kill(reset)
			if got, err := io.ReadAll(s); err == nil {
				t.Errorf("killed with a reset: %v: the tunnel ended cleanly, with %q", reset, got)
			}
		}
		exchange(t, connect(t, c, "echo.lab:7"), "ping", "ping")
	},
}

func connect(t *testing.T, c *tunnel.Client, destination string) tunnel.Stream {
	t.Helper()
	s, err := c.Connect(t.Context(), destination)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// exchange says a word, and hears the answer.
func exchange(t *testing.T, s tunnel.Stream, say, hear string) {
	t.Helper()
	if _, err := io.WriteString(s, say); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(hear))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != hear {
		t.Fatalf("heard %q, %v", got, err)
	}
}
