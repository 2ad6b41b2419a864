package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/proxy"
)

// forwarder is an HTTP proxy for requests in absolute form, which it answers
// itself by saying what it was asked. It accepts no CONNECT.
func forwarder(t testing.TB, password bool) (addr string, requests *atomic.Int32) {
	requests = new(atomic.Int32)
	addr = serve(t, func(c net.Conn, _ int) { forward(c, password, requests) })
	return addr, requests
}

func forward(c net.Conn, password bool, requests *atomic.Int32) {
	br := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body)
		requests.Add(1)
		resp := &http.Response{StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header), Request: req}
		if password && req.Header.Get("Proxy-Authorization") != goodKey {
			resp.StatusCode = 407
			resp.Header.Set("Proxy-Authenticate", `Basic realm="x"`)
		}
		said := fmt.Sprintf("%s %s %s", req.Method, req.RequestURI, body)
		resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(said)), int64(len(said))
		if resp.Write(c) != nil {
			return
		}
	}
}

// client leaves by the proxy in raw; dial reaches it.
func client(t testing.TB, raw string, c proxy.Config, edge *tls.Config) *http.Client {
	t.Helper()
	s, err := proxy.Fixed(raw, "--forward-proxy", c)
	if err != nil {
		t.Fatal(err)
	}
	rt := &proxy.Transport{Selector: s, TLS: edge}
	t.Cleanup(rt.CloseIdleConnections)
	return clientOf(rt)
}

func get(c *http.Client, target string) (string, error) {
	resp, err := c.Get(target)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, body), err
}

func TestTransportAbsoluteForm(t *testing.T) {
	addr, requests := forwarder(t, false)
	c := client(t, "http://"+addr, proxy.Config{}, nil)
	for range 2 {
		got, err := get(c, "http://edge.test/.pomerium/api?x=1")
		if want := "200 GET http://edge.test/.pomerium/api?x=1 "; got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// TestTransportAbsoluteFormHeader: the header that is for the proxy goes there
// with each request, credentials or none, and takes nothing from the server.
func TestTransportAbsoluteFormHeader(t *testing.T) {
	heads := make(chan string, 9)
	p := serve(t, func(c net.Conn, _ int) {
		for {
			head, err := readHead(c)
			if err != nil {
				return
			}
			heads <- head
			if field(head, "Proxy-Authorization") == goodKey {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			} else {
				io.WriteString(c, "HTTP/1.1 407 No\r\n"+wants+"Content-Length: 0\r\n\r\n")
			}
		}
	})
	header := http.Header{"x-team": {"a", "b"}, "User-Agent": {"Team"}, "Authorization": {"ours"}}
	c := client(t, userURL, proxy.Config{Dial: to(p), Header: header}, nil)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://edge.test/x", nil)
	req.Header = http.Header{"Authorization": {"the server's"}, "User-Agent": {"pomerium-cli"}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for _, credentials := range []string{"", "Proxy-Authorization: " + goodKey + "\r\n"} {
		want := "GET http://edge.test/x HTTP/1.1\r\nHost: edge.test\r\nUser-Agent: Team\r\nAuthorization: the server's\r\n" +
			credentials + "X-Team: a\r\nX-Team: b\r\n\r\n"
		if head := <-heads; head != want {
			t.Errorf("asked\n%q, want\n%q", head, want)
		}
	}
	if len(req.Header) != 2 {
		t.Errorf("the caller's request now has %v", req.Header)
	}
}

func TestTransportAbsoluteFormOverTLS(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, "proxy.test", time.Now().Add(time.Hour))
	addr := serve(t, func(c net.Conn, _ int) {
		forward(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}), false, new(atomic.Int32))
	})
	got, err := get(client(t, "https://proxy.test", proxy.Config{Dial: to(addr), TLS: &tls.Config{RootCAs: ca.pool()}}, nil), "http://edge.test/x")
	if want := "200 GET http://edge.test/x "; got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	// The edge's certificates are not the proxy's.
	_, err = get(client(t, "https://proxy.test", proxy.Config{Dial: to(addr)}, &tls.Config{RootCAs: ca.pool()}), "http://edge.test/x")
	if failed := asError(t, err); failed.Op != proxy.OpTLS || failed.Source != "--forward-proxy" {
		t.Errorf("error %v", err)
	}
}

func TestTransportAbsoluteFormLogin(t *testing.T) {
	addr, requests := forwarder(t, true)
	c := client(t, userURL, proxy.Config{Dial: to(addr)}, nil)
	for i, body := range []io.Reader{strings.NewReader("again"), io.MultiReader(strings.NewReader("once"))} {
		resp, err := c.Post("http://edge.test/x", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := "POST http://edge.test/x " + []string{"again", "once"}[i]; string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3: the second sends the password at once", n)
	}
	// A body that cannot be sent twice, before the password is asked for.
	_, err := client(t, userURL, proxy.Config{Dial: to(addr)}, nil).Post("http://edge.test/x", "text/plain", io.MultiReader(strings.NewReader("once")))
	if failed := asError(t, err); failed.Op != proxy.OpAuth || !strings.Contains(err.Error(), "cannot be sent twice") {
		t.Errorf("error %v", err)
	}
}

func TestTransportAbsoluteFormWrongPassword(t *testing.T) {
	addr, requests := forwarder(t, true)
	_, err := get(client(t, "http://u:wrong@proxy.test", proxy.Config{Dial: to(addr)}, nil), "http://edge.test/x")
	failed := asError(t, err)
	if failed.Op != proxy.OpAuth || failed.Status != 407 || !errors.Is(err, proxy.ErrRejected) || failed.Source != "--forward-proxy" {
		t.Errorf("error %v", err)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestTransportAbsoluteFormErrorsNameTheHop(t *testing.T) {
	addr := serve(t, func(c net.Conn, _ int) { readHead(c); io.WriteString(c, "\x05\xff") })
	_, err := get(client(t, "http://proxy.test", proxy.Config{Dial: to(addr)}, nil), "http://edge.test/x")
	if failed := asError(t, err); failed.Hop != "http://proxy.test:80" || failed.Op != proxy.OpConnect || failed.Source != "--forward-proxy" {
		t.Errorf("error %v", err)
	}
}

func TestTransportTunnels(t *testing.T) {
	edge := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto+" "+r.Host+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
	}))
	t.Cleanup(edge.Close)
	plain := httptest.NewServer(edge.Config.Handler)
	t.Cleanup(plain.Close)
	trust := edge.Client().Transport.(*http.Transport).TLSClientConfig
	trust.NextProtos = []string{"h2", "http/1.1"}
	for raw, start := range starters {
		for _, origin := range []*httptest.Server{edge, plain} {
			u, _ := url.Parse(origin.URL)
			if strings.HasPrefix(raw, "http") && u.Scheme == "http" {
				continue // TestTransportAbsoluteForm
			}
			t.Run(raw+" "+u.Scheme, func(t *testing.T) {
				p := start(t, u.Host, "")
				// The edge's name means nothing outside the proxy.
				got, err := get(client(t, p.url(raw, "p:w 1"), p.config(), trust), u.Scheme+"://example.com:"+u.Port()+"/x")
				if want := "200 HTTP/1.1 example.com:" + u.Port() + " /x "; got != want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			})
		}
	}
}

type failing struct{ err error }

func (f failing) Ways(context.Context, *url.URL) ([]proxy.Way, error) { return nil, f.err }

func TestNoWayIsNeverADirectDial(t *testing.T) {
	var direct atomic.Int32
	origin := serve(t, func(net.Conn, int) { direct.Add(1) })
	sentinel := errors.New("no way")
	for _, tc := range []struct {
		name string
		s    proxy.Selector
		err  string
	}{
		{"error", failing{sentinel}, "no way"},
		{"empty", failing{}, "choosing the way out: there is none for " + origin},
		{"none", nil, "choosing the way out: there is no selector"},
		{"bad variable", proxy.Environment(env("ALL_PROXY=::: no_proxy=x"), proxy.Config{}), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := "http://" + origin
			if tc.err == "" {
				target, tc.err = "http://192.0.2.1", "ALL_PROXY: "+errColons
			}
			rt := &proxy.Transport{Selector: tc.s}
			req, _ := http.NewRequestWithContext(t.Context(), "POST", target, strings.NewReader("x"))
			if _, err := rt.RoundTrip(req); text(err) != tc.err {
				t.Errorf("RoundTrip: %v, want %s", err, tc.err)
			}
			if _, err := proxy.Dial(tc.s, req.URL)(t.Context(), "tcp", origin); text(err) != tc.err {
				t.Errorf("Dial: %v, want %s", err, tc.err)
			}
		})
	}
	if n := direct.Load(); n != 0 {
		t.Errorf("%d direct connections", n)
	}
}

func TestTransportIgnoresTheEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }))
	defer plain.Close()
	dial := to(plain.Listener.Addr().String())
	if got, err := get(client(t, "direct", proxy.Config{Dial: dial}, nil), "http://example.com/"); got != "200 here" {
		t.Errorf("got %q, %v", got, err)
	}
}

func clientOf(rt *proxy.Transport) *http.Client {
	return &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
