package tunnel_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/lab"
	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// works proves that a tunnel carries bytes both ways.
func works(t *testing.T, s tunnel.Stream) {
	t.Helper()
	nettest.Say(t, s, "ping")
	nettest.Hear(t, s, "ping")
}

// refused connects and wants a refusal.
func refused(t *testing.T, w *world, destination string) *tunnel.AnswerError {
	t.Helper()
	s, err := w.client.Connect(t.Context(), destination)
	var answer *tunnel.AnswerError
	if s != nil || !errors.As(err, &answer) {
		t.Fatalf("%s: got %v, %v", destination, s, err)
	}
	return answer
}

func TestRefusals(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		for destination, want := range map[string]struct {
			status int
			author edge.Author
			reason string
		}{
			"nobody.lab:1":    {404, edge.AuthorProxy, "route_not_found"},
			"forbidden.lab:1": {403, edge.AuthorPomerium, "Forbidden"},
			"refused.lab:1":   {503, edge.AuthorProxy, "Connection_refused"},
			"no-auth.lab:1":   {503, edge.AuthorNone, ""},
			"timeout.lab:1":   {408, edge.AuthorProxy, "request timeout"},
			"device.lab:1":    {450, edge.AuthorPomerium, "Device"},
		} {
			got := refused(t, w, destination)
			if got.Status != want.status || got.Author != want.author || !strings.Contains(got.Reason, want.reason) || got.RequestID == "" || got.Destination != destination {
				t.Errorf("%s: %+v", destination, got)
			}
		}
		works(t, w.open(t, "echo.lab:7"))
	})
}

// A destination of the other kind: GOAWAY. Running tunnels go on, the next one
// opens a new connection.
func TestEdgeCase53_WrongKind(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		var running []tunnel.Stream
		for range 3 {
			running = append(running, w.open(t, "echo.lab:7"))
		}
		if got := refused(t, w, "udp.lab:53"); got.Status != 403 || got.Author != edge.AuthorNone || got.Reason != "" {
			t.Errorf("%+v", got)
		}
		works(t, w.open(t, "echo.lab:7"))
		for _, s := range running {
			works(t, s)
		}
	})
}

func TestEdgeCase53_GoAway(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		before := w.open(t, "echo.lab:7")
		w.GoAway()
		works(t, w.open(t, "echo.lab:7"))
		w.GoAway()
		works(t, before)
		works(t, w.open(t, "echo.lab:7"))
	})
}

// A burst larger than the edge's stream limit, on an edge that nothing is known
// of: nobody notices.
func TestEdgeCase54_StreamLimit(t *testing.T) {
	for _, limit := range []uint32{1, 3} {
		for _, connections := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d streams, %d connections", limit, connections), func(t *testing.T) {
				t.Parallel()
				w := start(t, lab.Config{MaxStreams: limit})
				w.client.MaxConnections = connections
				burst(t, w, 40)
			})
		}
	}
}

// burst opens n tunnels at once, and proves that each works.
func burst(t *testing.T, w *world, n int) {
	t.Helper()
	streams := make([]tunnel.Stream, n)
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() {
			s, err := w.client.Connect(t.Context(), "echo.lab:7")
			if err != nil {
				t.Errorf("tunnel %d: %v", i, err)
				return
			}
			streams[i] = s
		})
	}
	wg.Wait()
	for _, s := range streams {
		if s != nil {
			works(t, s)
			s.Close()
		}
	}
}

// A burst waits for a few handshakes, not for one each.
func TestBurst(t *testing.T) {
	w := start(t, lab.Config{})
	w.client.Spare = true
	burst(t, w, 64)
	if n := w.dialed(); n > 10 {
		t.Errorf("%d connections for 64 tunnels", n)
	}
}

// A connection whose tunnel has ended carries the next one.
func TestReuse(t *testing.T) {
	w := start(t, lab.Config{})
	for range 20 {
		s := w.open(t, "echo.lab:7")
		works(t, s)
		s.Close()
		until(t, "the stream to end", func() bool { return len(w.Stats().Resets["echo.lab:7"]) > 0 })
	}
	refused(t, w, "forbidden.lab:1")
	works(t, w.open(t, "echo.lab:7"))
	if n := w.dialed(); n != 1 {
		t.Errorf("%d connections for one tunnel at a time", n)
	}
}

// spares are the ways in which a warm connection is kept.
var spares = []mode{
	{name: "h1", lab: lab.Config{ALPN: []string{"http/1.1"}}},
	{name: "h2"},
}

// With Spare, a connection is there before the next tunnel wants it.
func TestWarmSpare(t *testing.T) {
	for _, m := range spares {
		t.Run(m.name, func(t *testing.T) {
			w := start(t, m.lab)
			w.client.Spare = true
			w.open(t, "echo.lab:7")
			until(t, "the spare", func() bool { s := w.Stats(); return s.H1+s.H2 == 2 })
			w.client.Close()
		})
	}
	for _, m := range spares {
		t.Run(m.name+", used", func(t *testing.T) {
			w := start(t, m.lab)
			w.client.Spare = true
			var mu sync.Mutex
			dials := 0
			w.client.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
				mu.Lock()
				dials++
				n := dials
				mu.Unlock()
				if n > 2 {
					<-ctx.Done() // whoever needs this one waits for ever
					return nil, ctx.Err()
				}
				return w.dial(ctx, network, addr)
			}
			w.open(t, "echo.lab:7")
			until(t, "the spare", func() bool { s := w.Stats(); return s.H1+s.H2 == 2 })
			works(t, w.open(t, "echo.lab:7"))
			w.client.Close()
		})
	}
}

// The edge closed a spare: the next tunnel does not notice.
func TestStaleSpare(t *testing.T) {
	for _, m := range spares {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset %t", m.name, reset), func(t *testing.T) {
				w := start(t, m.lab)
				w.client.Spare = true
				for range 5 {
					s := w.open(t, "echo.lab:7")
					works(t, s)
					s.Close()
					w.Cut(reset)
				}
			})
		}
	}
}

// lines counts log lines by message.
type lines struct {
	slog.Handler
	mu  sync.Mutex
	all []slog.Record
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
	return nil
}

// find returns the text of the lines with a message.
func (l *lines) find(msg string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.all {
		if r.Message == msg {
			text := ""
			r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
			found = append(found, text)
		}
	}
	return found
}

// The edge restarts: every tunnel ends with an error, one line tells of all, and
// the next tunnel finds a new path.
func TestEdgeCase56_EdgeRestarts(t *testing.T) {
	w := start(t, lab.Config{})
	log := &lines{}
	w.client.Log = slog.New(log)
	w.client.MaxConnections = 3
	var streams []tunnel.Stream
	for range 12 {
		streams = append(streams, w.open(t, "echo.lab:7"))
	}
	w.Cut(true)
	for _, s := range streams {
		if _, err := io.ReadAll(s); !tunnel.Lost(err) {
			t.Errorf("got %v", err)
		}
	}
	const msg = "connection to the edge lost"
	until(t, "the line", func() bool { return len(log.find(msg)) > 0 })
	works(t, w.open(t, "echo.lab:7"))
	if found := log.find(msg); len(found) != 1 || !strings.Contains(found[0], "tunnels=12") {
		t.Errorf("lines: %q", found)
	}
}

// through dials the edge through the lab's proxy.
func (w *world) through(ctx context.Context, network, addr string) (net.Conn, error) {
	u, err := url.Parse(w.ProxyURL("http"))
	if err != nil {
		return nil, err
	}
	c, err := new(net.Dialer).DialContext(ctx, network, u.Host)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", addr, addr)
	var head strings.Builder // byte by byte: what follows is the edge's
	for b := make([]byte, 1); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
		if _, err := c.Read(b); err != nil {
			return nil, err
		}
		head.Write(b)
	}
	return c, nil
}

// A proxy that drops silent connections: PINGs keep the tunnel.
func TestEdgeCase58_PingsCrossTheProxy(t *testing.T) {
	w := start(t, lab.Config{ProxyIdle: 2 * time.Second})
	w.client.Dial = w.through
	w.client.KeepAlive = 100 * time.Millisecond
	s := w.open(t, "echo.lab:7")
	until(t, "PINGs for more than the proxy's limit", func() bool { return w.Stats().Pings >= 25 })
	works(t, s)
}

// On HTTP/1.1 nothing can cross it; the end is no clean one.
func TestEdgeCase58_ProxyCutsHTTP11(t *testing.T) {
	w := start(t, lab.Config{ProxyIdle: 50 * time.Millisecond, ALPN: []string{"http/1.1"}})
	w.client.Dial = w.through
	s := w.open(t, "echo.lab:7")
	if _, err := io.ReadAll(s); !errors.Is(err, tunnel.ErrCut) {
		t.Errorf("got %v", err)
	}
}

// The edge agrees on h2 and speaks HTTP/1.1: so do we, from then on.
func TestEdgeCase60_SpeaksAnother(t *testing.T) {
	w := start(t, lab.Config{SpeakH1: true})
	for range 3 {
		works(t, w.open(t, "echo.lab:7"))
	}
	if s := w.Stats(); s.Connections != 4 {
		t.Errorf("%d connections for 3 tunnels and one try", s.Connections)
	}
	w2 := start(t, lab.Config{SpeakH1: true})
	w2.client.Protocol = "h2"
	if s, err := w2.client.Connect(t.Context(), "echo.lab:7"); err == nil {
		s.Close()
		t.Error("no error although h2 was insisted on")
	}
	w3 := start(t, lab.Config{ALPN: []string{"http/1.1"}})
	w3.client.Protocol = "h2"
	if _, err := w3.client.Connect(t.Context(), "echo.lab:7"); err == nil {
		t.Error("no error although h2 was insisted on")
	}
}

// A reset of a CONNECT by an edge that agreed on h2: which ones say that it
// carries none there, and which are about one destination.
func TestEdgeCase60_ResetOfAConnect(t *testing.T) {
	for _, test := range []struct {
		code   http2.ErrCode
		works  bool // another tunnel was opened on h2 before
		want11 bool // HTTP/1.1 from then on
	}{
		{http2.ErrCodeHTTP11Required, false, true},
		{http2.ErrCodeHTTP11Required, true, true},
		{http2.ErrCodeProtocol, false, true},
		{http2.ErrCodeProtocol, true, false},
		{http2.ErrCodeInternal, false, false},
		{http2.ErrCodeConnect, true, false},
	} {
		t.Run(fmt.Sprintf("%v, opened before: %t", test.code, test.works), func(t *testing.T) {
			e := &memory{resets: map[string]http2.ErrCode{"odd:1": test.code}}
			c, onH1 := e.overTLS(t)
			if test.works {
				works(t, connect(t, c))
			}
			s, err := c.Connect(t.Context(), "odd:1")
			switch {
			case test.want11 && err == nil:
				works(t, s)
			case test.want11 || err == nil || !strings.Contains(err.Error(), test.code.String()):
				t.Errorf("got %v", err)
			}
			before := onH1()
			works(t, connect(t, c))
			if got := onH1() - before; got == 1 != test.want11 {
				t.Errorf("the next tunnel: %d on HTTP/1.1", got)
			}
		})
	}
}

// A tunnel that opens on h2 after all takes back what a reset beside it has
// led to.
func TestEdgeCase60_OpensAfterAll(t *testing.T) {
	e := &memory{resets: map[string]http2.ErrCode{"odd:1": http2.ErrCodeProtocol}, wait: make(chan struct{})}
	c, onH1 := e.overTLS(t)
	c.MaxConnections = 1
	opened := make(chan tunnel.Stream, 1)
	go func() { // joined below
		s, _ := c.Connect(t.Context(), "late:1")
		opened <- s
	}()
	<-e.wait
	if s, err := c.Connect(t.Context(), "odd:1"); err != nil || onH1() != 1 {
		t.Fatalf("%v, %d on HTTP/1.1", err, onH1())
	} else {
		works(t, s)
	}
	close(e.wait)
	works(t, nettest.Receive(t, opened, "the late tunnel"))
	works(t, connect(t, c))
	if n := onH1(); n != 1 {
		t.Errorf("%d tunnels on HTTP/1.1", n)
	}
}

// overTLS returns a client of e on a real socket with TLS, which offers h2 and
// http/1.1, and how many tunnels were opened on the latter.
func (e *memory) overTLS(t *testing.T) (c *tunnel.Client, onH1 func() int) {
	t.Helper()
	var n atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		c, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		io.Copy(c, buf)
	}))
	srv.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	srv.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) { e.serveH2(c) },
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	server, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c = &tunnel.Client{Edge: server, TLS: &tls.Config{RootCAs: roots}}
	t.Cleanup(func() { c.Close() })
	return c, func() int { return int(n.Load()) }
}

// answering is a listener that gives each connection to serve.
func answering(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(nettest.Patience))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// Instead of TLS somebody answers with a page.
func TestEdgeCase12_HTMLInsteadOfTLS(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		want   error
	}{
		"page":   {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>please sign in</html>", tunnel.ErrNotTLS},
		"bare":   {"<html>please sign in</html>", tunnel.ErrNotTLS},
		"closed": {"", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			addr := answering(t, func(c net.Conn) {
				c.Read(make([]byte, 4096))
				io.WriteString(c, test.answer)
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
			})
			c := &tunnel.Client{Edge: &url.URL{Scheme: "https", Host: addr}}
			defer c.Close()
			_, err := c.Connect(t.Context(), "db:1")
			var e *tunnel.Error
			if !errors.Is(err, test.want) || !errors.As(err, &e) || e.Op != "tls" || e.Edge != addr {
				t.Errorf("got %v", err)
			}
		})
	}
}

// tokens hands out a token, and newer ones.
type tokens struct {
	mu       sync.Mutex
	current  string
	next     []string
	rejected []string
}

func (s *tokens) Current(context.Context) (string, error) { return s.current, nil }

func (s *tokens) Renew(_ context.Context, rejected string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = append(s.rejected, rejected)
	if len(s.next) == 0 {
		return "", errRenew
	}
	token := s.next[0]
	s.next = s.next[1:]
	return token, nil
}

// Which answers ask for another token, and how often.
func TestEdgeCase44_SignIn(t *testing.T) {
	for _, test := range []struct {
		statuses []int // what the edge answers, one after another
		next     string
		rejected string
		status   int // 0: the tunnel opens
	}{
		{statuses: []int{200}},
		{statuses: []int{401, 200}, next: "b", rejected: "a"},
		{statuses: []int{302, 200}, next: "b", rejected: "a"},
		{statuses: []int{303, 200}, next: "b", rejected: "a"},
		{statuses: []int{307, 200}, next: "b", rejected: "a"},
		{statuses: []int{401, 401, 200}, next: "b c", rejected: "a b"},
		{statuses: []int{401, 401, 401}, next: "b c d", rejected: "a b", status: 401},
		{statuses: []int{401, 403}, next: "b", rejected: "a", status: 403},
		{statuses: []int{403}, status: 403},
		{statuses: []int{404}, status: 404},
		{statuses: []int{421}, status: 421},
		{statuses: []int{429}, status: 429},
		{statuses: []int{500}, status: 500},
		{statuses: []int{502}, status: 502},
		{statuses: []int{503}, status: 503},
	} {
		t.Run(fmt.Sprint(test.statuses), func(t *testing.T) {
			var mu sync.Mutex
			var seen []string
			addr := answering(t, func(c net.Conn) {
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				mu.Lock()
				status := test.statuses[min(len(seen), len(test.statuses)-1)]
				seen = append(seen, req.Header.Get("Authorization"))
				mu.Unlock()
				length := ""
				if status != 200 {
					length = "Content-Length: 0\r\n"
				}
				fmt.Fprintf(c, "HTTP/1.1 %d x\r\nLocation: https://nowhere.test/.pomerium/sign_in\r\n%s\r\n", status, length)
			})
			tok := &tokens{current: "a", next: strings.Fields(test.next)}
			c := &tunnel.Client{Edge: &url.URL{Scheme: "http", Host: addr}, Tokens: tok}
			defer c.Close()
			s, err := c.Connect(t.Context(), "db:1")
			var answer *tunnel.AnswerError
			switch {
			case test.status == 0 && err == nil:
				s.Close()
			case test.status != 0 && errors.As(err, &answer) && answer.Status == test.status:
			default:
				t.Errorf("got %v", err)
			}
			if got := strings.Join(tok.rejected, " "); got != test.rejected {
				t.Errorf("renewed for %q, want %q", got, test.rejected)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(seen) != len(test.statuses) || seen[0] != "Pomerium a" {
				t.Errorf("the edge saw %q", seen)
			}
		})
	}
}

// With a stale token, on every transport, against both kinds of server.
func TestEdgeCase44_StaleToken(t *testing.T) {
	for _, version := range []string{"0.32", "0.33"} {
		t.Run(version, func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode, _ *world) {
				m.lab.Version = version
				w := start(t, m.lab)
				if m.setup != nil {
					m.setup(w.client)
				}
				tok := &tokens{current: w.StaleToken(), next: []string{w.Token()}}
				w.client.Tokens = tok
				works(t, w.open(t, "echo.lab:7"))
				if len(tok.rejected) != 1 {
					t.Errorf("renewed %d times", len(tok.rejected))
				}
				w.client.Tokens = &tokens{current: w.DeniedToken()}
				if got := refused(t, w, "echo.lab:7"); got.Status != 403 {
					t.Errorf("%+v", got)
				}
				w.client.Tokens = &tokens{current: w.StaleToken()}
				if _, err := w.client.Connect(t.Context(), "echo.lab:7"); !errors.Is(err, errRenew) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
