package tunnel_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/lab"
	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mode is a way in which a tunnel travels.
type mode struct {
	name  string
	lab   lab.Config
	setup func(*tunnel.Client)
	h2    bool
}

var modes = []mode{
	{name: "h1", lab: lab.Config{ALPN: []string{"http/1.1"}}},
	{name: "h1 plain", lab: lab.Config{PlainEdge: true}},
	{name: "h1 without ALPN", lab: lab.Config{ALPN: []string{}}},
	{name: "h1 insisted on", setup: func(c *tunnel.Client) { c.Protocol = "h1" }},
	{name: "h2 solo", h2: true},
	{name: "h2 shared", h2: true, setup: shared},
	{name: "h2 plain", h2: true, lab: lab.Config{PlainEdge: true}, setup: func(c *tunnel.Client) { c.Protocol = "h2" }},
	{name: "h2 insisted on", h2: true, setup: func(c *tunnel.Client) { c.Protocol = "h2" }},
}

// shared makes every tunnel but the first share.
func shared(c *tunnel.Client) { c.MaxConnections = 1 }

// eachMode runs test in every mode. In the shared mode the connection that is
// not shared is taken already.
func eachMode(t *testing.T, test func(t *testing.T, m mode, w *world)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, m.lab)
			if m.setup != nil {
				m.setup(w.client)
			}
			if w.client.MaxConnections == 1 {
				w.open(t, "echo.lab:7")
			}
			test(t, m, w)
		})
	}
}

// world is a lab and a client of its edge.
type world struct {
	*lab.Lab
	client *tunnel.Client

	mu    sync.Mutex
	dials int
	conns []*net.TCPConn
}

func start(t *testing.T, config lab.Config) *world {
	t.Helper()
	config.AllowDirect = true
	l, err := lab.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &world{Lab: l}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(l.CAPEM())
	w.client = &tunnel.Client{
		Edge:   l.EdgeURL(),
		Dial:   w.dial,
		TLS:    &tls.Config{RootCAs: roots},
		Tokens: fixed(l.Token()),
	}
	t.Cleanup(func() { w.client.Close() })
	return w
}

func (w *world) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, w.EdgeAddr())
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials++
	w.conns = append(w.conns, c.(*net.TCPConn))
	return c, nil
}

// dialed returns how many connections the client has dialed.
func (w *world) dialed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dials
}

// open opens a tunnel and closes it with the test.
func (w *world) open(t *testing.T, destination string) tunnel.Stream {
	t.Helper()
	s, err := w.client.Connect(t.Context(), destination)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fixed is a token that never changes.
type fixed string

func (f fixed) Current(context.Context) (string, error)       { return string(f), nil }
func (f fixed) Renew(context.Context, string) (string, error) { return "", errRenew }

var errRenew = errorString("nobody signs in here")

type errorString string

func (e errorString) Error() string { return string(e) }

// until waits for a condition that nothing announces.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(nettest.Patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
