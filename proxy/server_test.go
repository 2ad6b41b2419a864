package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

// target is what the tests ask proxies for. Nothing dials it.
const target = "edge.test:443"

// serve accepts connections on loopback and hands each to handle with its
// number, from 1. When the test ends, all are closed and handlers waited for.
func serve(t testing.TB, handle func(c net.Conn, n int)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	handlers.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			handlers.Go(func() {
				defer c.Close()
				handle(c, n)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		handlers.Wait()
	})
	return ln.Addr().String()
}

// to dials addr whatever is asked for, so that errors have fixed names in them.
func to(addr string) proxy.DialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
}

// piped is a DialFunc whose peer is handle at the other end of a net.Pipe: each
// write of handle is a read of its own at the client.
func piped(t testing.TB, handle func(net.Conn)) proxy.DialFunc {
	var handlers sync.WaitGroup
	t.Cleanup(handlers.Wait)
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		handlers.Go(func() {
			defer server.Close()
			handle(server)
		})
		return client, nil
	}
}

// hop is a proxy that is known as raw and reached by dial.
func hop(t testing.TB, raw string, dial proxy.DialFunc) *proxy.Hop {
	t.Helper()
	return &proxy.Hop{URL: parse(t, raw), Dial: dial}
}

func parse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := proxy.ParseURL(raw)
	if err != nil {
		t.Fatalf("ParseURL(%q): %v", raw, err)
	}
	return u
}

// readHead reads the head of a request, with its empty line.
func readHead(r io.Reader) (string, error) {
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if _, err := io.ReadFull(r, b); err != nil {
			return string(head), err
		}
		head = append(head, b[0])
	}
	return string(head), nil
}

// field returns the value of a header field in a head, or "".
func field(head, name string) string {
	for line := range strings.Lines(head) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// exchangeEcho checks that conn delivers early, then echoes.
func exchangeEcho(t testing.TB, conn net.Conn, early string) {
	t.Helper()
	got := make([]byte, len(early))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != early {
		t.Fatalf("the tunnel began with %q, %v, want %q", got, err, early)
	}
	if _, err := io.WriteString(conn, "ping"); err != nil {
		t.Fatalf("writing through the tunnel: %v", err)
	}
	got = make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Errorf("the echo is %q, %v", got, err)
	}
}

// echo sends back what comes, and the end.
func echo(c net.Conn) {
	io.Copy(c, c)
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// answering is an HTTP proxy that answers each request with what answer gives
// for the number of the connection and the request's head; after a 2xx it is an
// echo. keep false closes the connection behind the answer.
type answering struct {
	addr     string
	requests atomic.Int32
	conns    atomic.Int32
}

func answer(t testing.TB, script func(request int, head string) (reply string, keep bool)) *answering {
	s := &answering{}
	s.addr = serve(t, func(c net.Conn, _ int) {
		s.conns.Add(1)
		for {
			head, err := readHead(c)
			if err != nil {
				return
			}
			reply, keep := script(int(s.requests.Add(1)), head)
			io.WriteString(c, reply)
			if strings.HasPrefix(reply, "HTTP/1.1 2") {
				echo(c)
				return
			}
			if !keep {
				return
			}
		}
	})
	return s
}

// asError returns the *proxy.Error in err.
func asError(t testing.TB, err error) *proxy.Error {
	t.Helper()
	var failed *proxy.Error
	if !errors.As(err, &failed) {
		t.Fatalf("error %v (%T) holds no *proxy.Error", err, err)
	}
	return failed
}

// logs keeps what is logged, at every level.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug - 4}))
}
