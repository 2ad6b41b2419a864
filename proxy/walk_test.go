package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomerium/pomerium-cli/proxy"
)

// alternatives selects among proxies that are reached by dial.
func alternatives(t testing.TB, c proxy.Config, raw ...string) proxy.Selector {
	t.Helper()
	all := make([]proxy.Selector, len(raw))
	for i := range raw {
		s, err := proxy.Fixed(raw[i], "--forward-proxy", c)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = s
	}
	return proxy.Remembering(proxy.InOrder(all...), nil)
}

// names dials by host name, and keeps the order in which they were dialed.
type names struct {
	mu     sync.Mutex
	at     map[string]string // address by name; none: refused
	dialed []string
}

func (n *names) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	n.mu.Lock()
	n.dialed = append(n.dialed, host)
	at := n.at[host]
	n.mu.Unlock()
	if at == "" {
		return nil, errRefused
	}
	var d net.Dialer
	return d.DialContext(ctx, network, at)
}

// taken returns whom was dialed, and forgets it.
func (n *names) taken() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer func() { n.dialed = nil }()
	return strings.Join(n.dialed, " ")
}

var errRefused = errors.New("refused for the test")

// scripted starts a proxy that begins and ends each connection with reply,
// after it has read a head, or a record of TLS.
func scripted(t testing.TB, reply string) string {
	return serve(t, func(c net.Conn, _ int) {
		first := make([]byte, 5)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		if first[0] == 0x16 {
			io.CopyN(io.Discard, c, int64(first[3])<<8|int64(first[4]))
		} else {
			readHead(io.MultiReader(bytes.NewReader(first), c))
		}
		io.WriteString(c, reply)
	})
}

// TestEdgeCase39_WhatGoesOn: what stops at a proxy that cannot be reached goes
// on to the next; an answer is an answer.
func TestEdgeCase39_WhatGoesOn(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n\r\n"
	for _, tc := range []struct {
		name, first string // first proxy's URL
		reply       string // of the first
		dead        bool   // the first is not there at all
		next        bool
	}{
		{name: "refused", first: "http://first.test", dead: true, next: true},
		{name: "socks refused", first: "socks5://first.test", dead: true, next: true},
		{name: "no tls", first: "https://first.test", reply: "HTTP/1.1 400 Bad Request\r\n\r\n", next: true},
		{name: "ends without a word", first: "http://first.test", next: true},
		{name: "ends within its answer", first: "http://first.test", reply: "HTTP/1.1 2", next: true},
		{name: "forbidden", first: "http://first.test", reply: "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"},
		{name: "wants a password", first: "http://first.test", reply: "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"},
		{name: "edge not reached", first: "http://first.test", reply: "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"},
		{name: "another protocol", first: "http://first.test", reply: "SSH-2.0-x\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := &names{at: map[string]string{"first.test": scripted(t, tc.reply), "second.test": scripted(t, ok)}}
			if tc.dead {
				n.at["first.test"] = ""
			}
			s := alternatives(t, proxy.Config{Dial: n.dial}, tc.first, "http://second.test")
			conn, err := proxy.Dial(s, parse(t, "https://edge.test"))(t.Context(), "tcp", target)
			if conn != nil {
				conn.Close()
			}
			want := "first.test"
			if tc.next {
				want += " second.test"
			}
			if got := n.taken(); got != want || (err == nil) != tc.next {
				t.Errorf("dialed %s, %v, want %s", got, err, want)
			}
		})
	}
}

// TestEdgeCase39_SilentProxy: a proxy that takes a connection and says nothing.
func TestEdgeCase39_SilentProxy(t *testing.T) {
	end := make(chan struct{})
	silent := serve(t, func(net.Conn, int) { <-end })
	t.Cleanup(func() { close(end) })
	n := &names{at: map[string]string{"first.test": silent, "second.test": scripted(t, "HTTP/1.1 200 OK\r\n\r\n")}}
	s := alternatives(t, proxy.Config{Dial: n.dial, Timeout: 100 * time.Millisecond}, "http://first.test", "http://second.test")
	conn, err := proxy.Dial(s, parse(t, "https://edge.test"))(t.Context(), "tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := n.taken(); got != "first.test second.test" {
		t.Errorf("dialed %s", got)
	}
}

// TestEdgeCase39_FiveMinutes: a dead way comes last for five minutes; when all
// are dead the first is tried first.
func TestEdgeCase39_FiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		s := alternatives(t, proxy.Config{Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			host, _, _ := net.SplitHostPort(addr)
			n.dialed = append(n.dialed, host)
			if n.at[host] == "" {
				return nil, errRefused
			}
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				readHead(server)
				io.WriteString(server, n.at[host])
			}()
			return client, nil
		}}, "http://a.test", "http://b.test", "http://c.test")
		open := func(at map[string]string, want string) {
			t.Helper()
			n.mu.Lock()
			n.at = at
			n.mu.Unlock()
			conn, err := proxy.Dial(s, parse(t, "https://edge.test"))(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
			}
			if got := n.taken(); got != want || (err == nil) != (len(at) > 0) {
				t.Errorf("dialed %s, %v, want %s", got, err, want)
			}
			synctest.Wait()
		}
		const ok = "HTTP/1.1 200 OK\r\n\r\n"
		all := map[string]string{"a.test": ok, "b.test": ok, "c.test": ok}
		open(map[string]string{"b.test": ok, "c.test": ok}, "a.test b.test")
		open(all, "b.test")
		time.Sleep(proxy.DeadFor - time.Second)
		open(all, "b.test")
		time.Sleep(time.Second)
		open(all, "a.test")
		open(nil, "a.test b.test c.test")
		open(nil, "a.test b.test c.test")
		open(map[string]string{"c.test": ok}, "a.test b.test c.test")
		open(map[string]string{"a.test": ok}, "c.test a.test")
		open(all, "a.test")
	})
}

func TestEdgeCase39_ErrorsNameAllThatWasTried(t *testing.T) {
	n := &names{at: map[string]string{"third.test": scripted(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")}}
	s := alternatives(t, proxy.Config{Dial: n.dial}, "http://user:canary@first.test:1", "socks5://second.test", "http://third.test", "http://fourth.test")
	_, err := proxy.Dial(s, parse(t, "https://edge.test"))(t.Context(), "tcp", target)
	const want = "none of 3 ways leads out: forward proxy http://first.test:1 (--forward-proxy): refused for the test; " +
		"forward proxy socks5://second.test:1080 (--forward-proxy): refused for the test; " +
		"forward proxy http://third.test:80 (--forward-proxy): connect edge.test:443: 403 Forbidden"
	if text(err) != want {
		t.Errorf("error %v", err)
	}
	if failed := asError(t, err); failed.Status != 403 {
		t.Errorf("the error to act on is %v, not the answer", failed)
	}
}

// TestEdgeCase39_DirectOnlyIfListed: direct is a way as others, where it is listed.
func TestEdgeCase39_DirectOnlyIfListed(t *testing.T) {
	for _, tc := range []struct {
		raw  []string
		want string
	}{
		{[]string{"http://first.test", "direct"}, "first.test edge.test"},
		{[]string{"direct", "http://first.test"}, "edge.test first.test"},
		{[]string{"http://first.test", "http://second.test"}, "first.test second.test"},
	} {
		n := &names{}
		s := alternatives(t, proxy.Config{Dial: n.dial}, tc.raw...)
		for _, retried := range []string{"", " again"} {
			_, err := proxy.Dial(s, parse(t, "https://edge.test"))(t.Context(), "tcp", target)
			if err == nil || !errors.Is(err, errRefused) {
				t.Errorf("%s%s: error %v", tc.raw, retried, err)
			}
		}
		if got := n.taken(); !strings.HasPrefix(got, tc.want+" ") {
			t.Errorf("%s: dialed %s, want %s first", tc.raw, got, tc.want)
		}
	}
}

func TestEdgeCase39_Cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := &names{}
	s := alternatives(t, proxy.Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		cancel()
		return n.dial(ctx, network, addr)
	}}, "http://first.test", "http://second.test")
	if _, err := proxy.Dial(s, parse(t, "https://edge.test"))(ctx, "tcp", target); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got := n.taken(); got != "first.test" {
		t.Errorf("dialed %s", got)
	}
}

// TestEdgeCase39_Transport: requests go on to the next proxy with their bodies,
// unless the first may have passed them on.
func TestEdgeCase39_Transport(t *testing.T) {
	forwards, _ := forwarder(t, false)
	for _, tc := range []struct {
		method, first string
		body          io.Reader
		want          string // empty: an error
	}{
		{"GET", "", nil, "200 GET http://edge.test/x "},
		{"POST", "", strings.NewReader("body"), "200 POST http://edge.test/x body"},
		{"POST", "", io.MultiReader(strings.NewReader("body")), ""},
		{"GET", scripted(t, ""), nil, "200 GET http://edge.test/x "},
		{"POST", scripted(t, ""), strings.NewReader("body"), ""},
	} {
		t.Run(fmt.Sprintf("%s %s %T", tc.method, tc.first, tc.body), func(t *testing.T) {
			n := &names{at: map[string]string{"first.test": tc.first, "second.test": forwards}}
			rt := &proxy.Transport{Selector: alternatives(t, proxy.Config{Dial: n.dial}, "http://first.test", "http://second.test")}
			defer rt.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://edge.test/x", tc.body)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			resp, err := rt.RoundTrip(req)
			if err == nil {
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				got = fmt.Sprintf("%d %s", resp.StatusCode, body)
			}
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, %v, want %q (dialed %s)", got, err, tc.want, n.taken())
			}
		})
	}
}

type fixedWays []proxy.Way

func (f fixedWays) Ways(context.Context, *url.URL) ([]proxy.Way, error) { return f, nil }

// TestInOrder: a selector that has no way is passed over, and told of when no
// other way leads out.
func TestInOrder(t *testing.T) {
	edge := parse(t, "https://edge.test")
	n := &names{}
	lost := failing{errors.New("no script")}
	_, err := proxy.Dial(proxy.InOrder(lost, alternatives(t, proxy.Config{Dial: n.dial}, "http://a.test")), edge)(t.Context(), "tcp", target)
	const want = "none of 2 ways leads out: no script; forward proxy http://a.test:80 (--forward-proxy): refused for the test"
	if text(err) != want {
		t.Errorf("error %v", err)
	}
	if ways, err := proxy.InOrder(lost, lost).Ways(t.Context(), edge); len(ways) != 0 || text(err) != "no script\nno script" {
		t.Errorf("%v, %v", ways, err)
	}
	if ways, err := proxy.InOrder(fixedWays{{Source: "a"}}, lost, fixedWays{{Source: "b"}}).Ways(t.Context(), edge); len(ways) != 2 || err != nil {
		t.Errorf("%v, %v", ways, err)
	}
}
