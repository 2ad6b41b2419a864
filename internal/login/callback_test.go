package login_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/internal/login"
)

// strangers are requests that are not the edge's last redirect. %back% stands
// for the address of the callback.
var strangers = []struct {
	name   string
	method string
	url    string
	host   string
	header http.Header
	body   string
	status int
}{
	{"root", "GET", "%origin%/?pomerium_jwt=evil", "", nil, "", 404},
	{"wrong path", "GET", "%origin%/AAAAAAAAAAAAAAAAAAAAAAAAAA?pomerium_jwt=evil", "", nil, "", 404},
	{"longer path", "GET", "%back%/?pomerium_jwt=evil", "", nil, "", 404},
	{"favicon", "GET", "%origin%/favicon.ico", "", nil, "", 404},
	{"POST", "POST", "%back%?pomerium_jwt=evil", "", nil, "", 405},
	{"cross-site form", "POST", "%back%", "", http.Header{"Origin": {"https://evil.test"}, "Content-Type": {"application/x-www-form-urlencoded"}}, "pomerium_jwt=evil", 405},
	{"HEAD", "HEAD", "%back%?pomerium_jwt=evil", "", nil, "", 405},
	{"OPTIONS", "OPTIONS", "%back%?pomerium_jwt=evil", "", nil, "", 405},
	{"wrong Host", "GET", "%back%?pomerium_jwt=evil", "evil.test", nil, "", 421},
	{"rebound Host", "GET", "%back%?pomerium_jwt=evil", "evil.test:%port%", nil, "", 421},
	{"Host without port", "GET", "%back%?pomerium_jwt=evil", "127.0.0.1", nil, "", 421},
	{"prefetch", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Sec-Purpose": {"prefetch"}}, "", 503},
	{"prerender", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Sec-Purpose": {"prefetch;prerender"}}, "", 503},
	{"old prefetch", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Purpose": {"Prefetch"}}, "", 503},
	{"Firefox prefetch", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"X-Moz": {"prefetch"}}, "", 503},
	{"image", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Sec-Fetch-Dest": {"image"}}, "", 403},
	{"frame", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Sec-Fetch-Dest": {"iframe"}}, "", 403},
	{"script's request", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Sec-Fetch-Dest": {"empty"}}, "", 403},
	{"no token", "GET", "%back%", "", nil, "", 400},
	{"empty token", "GET", "%back%?pomerium_jwt=", "", nil, "", 400},
	{"two tokens", "GET", "%back%?pomerium_jwt=evil&pomerium_jwt=good", "", nil, "", 400},
	{"broken query", "GET", "%back%?pomerium_jwt=evil;x=%zz", "", nil, "", 400},
	{"token with a line end", "GET", "%back%?pomerium_jwt=evil%0d%0aHost:+x", "", nil, "", 400},
	{"token of a huge size", "GET", "%back%?pomerium_jwt=" + strings.Repeat("evil", 20<<10), "", nil, "", 400},
}

// No request but the right one changes anything, and the right one still works
// after all the others.
func TestEdgeCase47_Strangers(t *testing.T) {
	p := newPerson()
	s := newSignIn(t, new(fakeEdge), p)
	done := renew(t.Context(), s, "")
	back := callbackOf(<-p.told)
	fill := strings.NewReplacer("%back%", back.String(), "%origin%", "http://"+back.Host, "%port%", back.Port())
	for _, test := range strangers {
		t.Run(test.name, func(t *testing.T) {
			raw, query, _ := strings.Cut(fill.Replace(test.url), "?")
			req, err := http.NewRequest(test.method, raw, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			req.URL.RawQuery = query
			req.Host = fill.Replace(test.host)
			if test.header != nil {
				req.Header = test.header
			}
			res, page := visitor(net.Dial).do(t, req)
			if res.StatusCode != test.status {
				t.Errorf("got %s, want %d", res.Status, test.status)
			}
			if strings.Contains(page, "evil") {
				t.Errorf("the page repeats the request: %s", page)
			}
			wantSafe(t, res)
			if res.StatusCode == http.StatusMethodNotAllowed && res.Header.Get("Allow") != "GET" {
				t.Errorf("Allow: %q", res.Header.Get("Allow"))
			}
		})
	}
	select {
	case r := <-done:
		t.Fatalf("a stranger was let in: %+v", r)
	default:
	}
	if status, _ := visitor(net.Dial).get(t, back, canary); status != http.StatusOK {
		t.Errorf("the right one got %d", status)
	}
	(<-done).want(t, canary)
}

// wantSafe checks the headers that keep a page from harm.
func wantSafe(t *testing.T, res *http.Response) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control":          "no-store",
		"Referrer-Policy":        "no-referrer",
		"X-Content-Type-Options": "nosniff",
		"Content-Type":           "text/html; charset=utf-8",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "script") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	if !res.Close {
		t.Error("the connection is kept")
	}
}

// A second hit while the first is being answered gets a page of its own, and
// the first one's token stands.
func TestEdgeCase47_SecondHit(t *testing.T) {
	ln := newHeldListener(t)
	p := newPerson()
	s := newSignIn(t, new(fakeEdge), p)
	s.Listen = ln.listen
	done := renew(t.Context(), s, "")
	back := callbackOf(<-p.told)
	visit := func(token string) net.Conn {
		conn, err := ln.dial("tcp", back.Host)
		must(t, err)
		_, err = conn.Write([]byte("GET " + back.Path + "?pomerium_jwt=" + url.QueryEscape(token) + " HTTP/1.1\r\nHost: " + back.Host + "\r\n\r\n"))
		must(t, err)
		return conn
	}
	first := visit(canary) // its page is not read yet: net.Pipe has no buffer, so the handler waits
	defer first.Close()
	line, err := first.Read(make([]byte, 1))
	if line != 1 || err != nil {
		t.Fatal(err)
	}
	second := visit("second")
	defer second.Close()
	res, err := http.ReadResponse(bufio.NewReader(second), nil)
	if err != nil || res.StatusCode != http.StatusGone {
		t.Errorf("the second hit got %v, %v", res, err)
	}
	go func() { ignore(bufio.NewReader(first).WriteTo(discard{})) }() // ends with the connection
	(<-done).want(t, canary)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func newHeldListener(t *testing.T) *pipes {
	ln := newPipes()
	t.Cleanup(func() { must(t, ln.Close()) })
	return ln
}

// Two sign-ins have two addresses that nobody can guess from each other.
func TestCallbackPathIsNew(t *testing.T) {
	seen := make(map[string]bool)
	for range 20 {
		p := newPerson()
		s := newSignIn(t, new(fakeEdge), p)
		done := renew(t.Context(), s, "")
		back := callbackOf(<-p.told)
		if seen[back.Path] {
			t.Errorf("%s twice", back.Path)
		}
		seen[back.Path] = true
		visitor(net.Dial).get(t, back, canary)
		(<-done).want(t, canary)
	}
}

// FuzzCallback sends arbitrary bytes to the callback; PATH in them stands for
// its secret path. Only a request with that path can deliver a token, only a
// sound one, and whatever came, the right request gets through afterwards.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{
		"GET PATH?pomerium_jwt=abc HTTP/1.1\r\nHost: 127.0.0.1:49152\r\n\r\n",
		"GET PATH?pomerium_jwt=abc HTTP/1.0\r\nHost: localhost:49152\r\n\r\n",
		"GET http://127.0.0.1:49152PATH?pomerium_jwt=abc HTTP/1.1\r\nHost: evil\r\n\r\n",
		"POST PATH HTTP/1.1\r\nHost: 127.0.0.1:49152\r\nContent-Length: 16\r\n\r\npomerium_jwt=abc",
		"GET /?pomerium_jwt=abc HTTP/1.1\r\nHost: 127.0.0.1:49152\r\n\r\n",
		"GET PATH?pomerium_jwt=%0d%0a HTTP/1.1\r\nHost: 127.0.0.1:49152\r\n\r\n",
		"\x16\x03\x01\x00\x05hello",
		"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		p, ln := newPerson(), newPipes()
		s := &login.SignIn{Edge: &url.URL{Scheme: "https", Host: "edge.test:443"}, HTTP: new(fakeEdge), Notify: p.tell, Listen: ln.listen}
		done := renew(t.Context(), s, "")
		back := callbackOf(<-p.told)
		conn, err := ln.dial("", "")
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		raw := strings.ReplaceAll(string(request), "PATH", back.Path) + "\r\n\r\n\r\n" // so that it ends
		go func() { ignore(conn.Write([]byte(raw))) }()                                // ends with the connection
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%q was not answered", raw)
		}
		if err == nil && res.StatusCode == http.StatusOK {
			r := <-done
			if r.err != nil || !strings.Contains(raw, back.Path+"?") || strings.ContainsFunc(r.token, func(c rune) bool { return c <= ' ' || c > '~' }) {
				t.Errorf("%q got in with %q, %v", raw, r.token, r.err)
			}
			must(t, conn.Close())
			return
		}
		must(t, conn.Close())
		visitor(ln.dial).get(t, back, canary)
		(<-done).want(t, canary)
	})
}
