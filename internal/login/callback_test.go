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
	"testing/synctest"
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
	{"preview", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"X-Purpose": {"preview"}}, "", 503},
	{"image", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Sec-Fetch-Dest": {"image"}}, "", 403},
	{"frame", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Sec-Fetch-Dest": {"iframe"}}, "", 403},
	{"script's request", "GET", "%back%?pomerium_jwt=evil", "", http.Header{"Sec-Fetch-Dest": {"empty"}}, "", 403},
	{"no token", "GET", "%back%", "", nil, "", 400},
	{"empty token", "GET", "%back%?pomerium_jwt=", "", nil, "", 303},
	{"two tokens", "GET", "%back%?pomerium_jwt=evil&pomerium_jwt=good", "", nil, "", 303},
	{"broken query", "GET", "%back%?pomerium_jwt=evil;x=%zz", "", nil, "", 303},
	{"token with a line end", "GET", "%back%?pomerium_jwt=evil%0d%0aHost:+x", "", nil, "", 303},
	{"token of a huge size", "GET", "%back%?pomerium_jwt=" + strings.Repeat("evil", 20<<10), "", nil, "", 303},
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
			if res.StatusCode == http.StatusSeeOther { // an address with what may be a token does not stay in sight
				if res, page = visitor(net.Dial).visit(t, back.String()); res.StatusCode != http.StatusBadRequest || !strings.Contains(page, "did not work") {
					t.Errorf("sent on to %s: %s", res.Status, page)
				}
			}
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
		"Cache-Control":              "no-store",
		"Referrer-Policy":            "no-referrer",
		"X-Content-Type-Options":     "nosniff",
		"Cross-Origin-Opener-Policy": "same-origin",
		"Content-Security-Policy":    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if page := res.Header.Get("Content-Type"); page != "text/html; charset=utf-8" && res.StatusCode != http.StatusSeeOther {
		t.Errorf("Content-Type: %q", page)
	}
	if !res.Close {
		t.Error("the connection is kept")
	}
}

// Of several visits the first one's token counts, and all of them end on the
// page that says who signed in.
func TestEdgeCase47_SecondHit(t *testing.T) {
	e, p := new(fakeEdge), newPerson()
	asked := make(chan struct{})
	e.user = func(req *http.Request) (*http.Response, error) {
		if got := req.Header.Get("Authorization"); got != "Pomerium "+canary {
			t.Errorf("asked who has %q", got)
		}
		<-asked // the page waits for that
		return answer(http.StatusOK, `{"email":"ann@edge.test"}`), nil
	}
	s := newSignIn(t, e, p)
	done := renew(t.Context(), s, "")
	back := callbackOf(<-p.told)
	dial := visitor(net.Dial)
	for _, token := range []string{canary, "second", canary} {
		if res, _ := dial.visit(t, back.String()+"?pomerium_jwt="+token); res.StatusCode != http.StatusSeeOther {
			t.Errorf("the hit with %s got %s", token, res.Status)
		}
	}
	(<-done).want(t, canary) // nobody waits for the page
	close(asked)
	res, page := dial.visit(t, back.String())
	if res.StatusCode != http.StatusOK || !strings.Contains(page, "<b>ann@edge.test</b> is signed in to <b>edge.test</b>") {
		t.Errorf("%s: %s", res.Status, page)
	}
	wantSafe(t, res)
}

// Where the edge does not say who signed in, or not soon, the page leaves the
// person out. What it says is text, whatever is in it.
func TestPageNames(t *testing.T) {
	never := func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	says := func(status int, body string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) { return answer(status, body), nil }
	}
	for name, c := range map[string]struct {
		user func(*http.Request) (*http.Response, error)
		want string
	}{
		"e-mail":        {says(200, `{"sub":"1","name":"Ann","email":"ann@edge.test"}`), "<b>ann@edge.test</b> is"},
		"long":          {says(200, `{"email":"`+strings.Repeat("a", 300)+`"}`), ">" + strings.Repeat("a", 256) + "...</b> is"},
		"name":          {says(200, `{"sub":"1","name":"Ann  Ng"}`), "<b>Ann  Ng</b> is"},
		"subject":       {says(200, `{"sub":"1"}`), "<b>1</b> is"},
		"markup":        {says(200, `{"email":"<script>x</script>"}`), "<b>&lt;script&gt;x&lt;/script&gt;</b> is"},
		"placeholder":   {says(200, `{"email":"%edge%"}`), "<b>%edge%</b> is"},
		"control":       {says(200, `{"email":"a\u0000\u202eb"}`), "<b>ab</b> is"},
		"nobody":        {says(404, ""), "</b> as you."},
		"no claims":     {says(200, `{"email":7}`), "</b> as you."},
		"no JSON":       {says(200, "<html>"), "</b> as you."},
		"refused":       {says(401, ""), "</b> as you."},
		"no answer":     {func(*http.Request) (*http.Response, error) { return nil, errWay }, "</b> as you."},
		"never answers": {never, "</b> as you."},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, ln := newPerson(), newPipes()
				s := newSignIn(t, &fakeEdge{user: c.user}, p)
				s.Listen = ln.listen
				done := renew(t.Context(), s, "")
				start := time.Now()
				status, page := visitor(ln.dial).get(t, callbackOf(<-p.told), canary)
				if status != http.StatusOK || !strings.Contains(page, c.want) {
					t.Errorf("%d %s\nwant %s", status, page, c.want)
				}
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("the page took %v", took)
				}
				(<-done).want(t, canary)
			})
		})
	}
}

// A browser that does not come for the page is not waited for long, and by
// nobody but Close.
func TestNobodyComesForThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ln := newPerson(), newPipes()
		s := newSignIn(t, new(fakeEdge), p)
		s.Listen = ln.listen
		done := renew(t.Context(), s, "")
		back := callbackOf(<-p.told)
		start := time.Now()
		visitor(ln.dial).visit(t, back.String()+"?pomerium_jwt="+canary)
		(<-done).want(t, canary)
		if took := time.Since(start); took != 0 {
			t.Errorf("the token took %v", took)
		}
		s.Close()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("the page was kept for %v", took)
		}
		if _, err := ln.dial("", ""); err == nil {
			t.Error("the callback still listens")
		}
	})
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
		must(t, conn.Close())
		if err == nil && res.StatusCode == http.StatusSeeOther {
			if page, _ := visitor(ln.dial).visit(t, back.String()); page.StatusCode == http.StatusOK {
				r := <-done
				if r.err != nil || !strings.Contains(raw, back.Path+"?") || strings.ContainsFunc(r.token, func(c rune) bool { return c <= ' ' || c > '~' }) {
					t.Errorf("%q got in with %q, %v", raw, r.token, r.err)
				}
				return
			}
		}
		visitor(ln.dial).get(t, back, canary)
		(<-done).want(t, canary)
	})
}
