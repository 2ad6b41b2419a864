package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/proxy"
)

const (
	ok200   = "HTTP/1.1 200 OK\r\n\r\n"
	wants   = "Proxy-Authenticate: Basic realm=\"lab\"\r\n"
	goodKey = "Basic dTpwOncgMQ==" // u:p:w 1
	userURL = "http://u:p%3Aw%201@proxy.test:3128"
)

// asking answers 407 until the good credentials come.
func asking(reply string, keep bool) func(int, string) (string, bool) {
	return func(_ int, head string) (string, bool) {
		if field(head, "Proxy-Authorization") == goodKey {
			return ok200, true
		}
		return reply, keep
	}
}

func TestEdgeCase14_DrainOrReconnect(t *testing.T) {
	const start = "HTTP/1.1 407 Proxy Authentication Required\r\n" + wants
	for _, tc := range []struct {
		name, reply string
		keep        bool
		conns       int32
	}{
		{"connection: close", start + "Connection: close\r\nContent-Length: 3\r\n\r\nno!", false, 2},
		{"proxy-connection: close", start + "Proxy-Connection: Close\r\nContent-Length: 3\r\n\r\nno!", true, 2},
		{"keep-alive with a body", start + "Content-Length: 7000\r\n\r\n" + strings.Repeat("x", 7000), true, 1},
		{"keep-alive with no body", start + "Content-Length: 0\r\n\r\n", true, 1},
		{"chunked", start + "Transfer-Encoding: Chunked\r\n\r\n3;ext=1\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", true, 1},
		{"chunked with trailer", start + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", true, 1},
		{"broken chunks", start + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", true, 2},
		{"another coding", start + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", true, 2},
		{"chunked and a length", start + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", true, 2},
		{"no length, closed", start + "\r\nno!", false, 2},
		{"no length, open", start + "\r\nno!", true, 2},
		{"same length twice", start + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nno!", true, 1},
		{"two lengths (edge case 7)", start + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nno!", true, 2},
		{"bad length", start + "Content-Length: -3\r\n\r\nno!", true, 2},
		{"more than the length", start + "Content-Length: 2\r\n\r\nno!", true, 2},
		{"keep-alive that was not meant", start + "Content-Length: 3\r\n\r\nno!", false, 2},
		{"HTTP/1.0", "HTTP/1.0 407 No\r\n" + wants + "Content-Length: 3\r\n\r\nno!", true, 2},
		{"HTTP/1.0 with keep-alive", "HTTP/1.0 407 No\r\n" + wants + "Proxy-Connection: keep-alive\r\nContent-Length: 3\r\n\r\nno!", true, 1},
		{"endless body", start + "Content-Length: 99999999\r\n\r\n" + strings.Repeat("x", 300<<10), true, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := answer(t, asking(tc.reply, tc.keep))
			h := hop(t, userURL, to(p.addr))
			for i, requests := range []int32{2, 3} { // the second tunnel sends at once what the first had to be asked for
				conn, err := h.DialContext(t.Context(), "tcp", target)
				if err != nil {
					t.Fatal(err)
				}
				exchangeEcho(t, conn, "")
				conn.Close()
				if got := p.requests.Load(); got != requests {
					t.Errorf("%d requests after tunnel %d, want %d", got, i+1, requests)
				}
			}
			if got := p.conns.Load(); got != tc.conns+1 {
				t.Errorf("%d connections, want %d", got, tc.conns+1)
			}
		})
	}
}

func TestEdgeCase15_WrongPassword(t *testing.T) {
	p := answer(t, func(int, string) (string, bool) {
		return "HTTP/1.1 407 No\r\n" + wants + "Content-Type: text/plain\r\nContent-Length: 14\r\n\r\naccount locked", true
	})
	h := hop(t, userURL, to(p.addr))
	_, err := h.DialContext(t.Context(), "tcp", target)
	want := "forward proxy http://proxy.test:3128: authenticate: the proxy refused the user name or the password: account locked"
	if text(err) != want || !errors.Is(err, proxy.ErrRejected) {
		t.Errorf("error\n got %v\nwant %s", err, want)
	}
	if failed := asError(t, err); failed.Status != 407 || !cmp.Equal(failed.Schemes, []string{"Basic"}) {
		t.Errorf("status %d, schemes %q", failed.Status, failed.Schemes)
	}
	if got := p.requests.Load(); got != 2 {
		t.Errorf("%d requests, want 2: the password is tried once", got)
	}
}

// A refused password is tried again when it does no harm, and a good one soon.
func TestEdgeCase15_RefusedPasswordIsNotTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, sent := true, 0
		h := hop(t, userURL, piped(t, func(c net.Conn) {
			for {
				head, err := readHead(c)
				if err != nil {
					return
				}
				if credentials := field(head, "Proxy-Authorization"); credentials != "" {
					sent++
					if good {
						io.WriteString(c, ok200)
						return
					}
				}
				io.WriteString(c, "HTTP/1.1 407 No\r\n"+wants+"Content-Length: 0\r\n\r\n")
			}
		}))
		for i, step := range []struct {
			after time.Duration
			good  bool // from now on
			sent  int  // so far
			err   string
		}{
			{0, true, 1, ""},
			{0, true, 2, ""},
			{0, false, 3, "the proxy refused the user name or the password"},
			{0, false, 3, "the proxy refused the user name or the password, and they are not tried again for 1m0s, so that no account is locked"},
			{50 * time.Second, true, 3, "the proxy refused the user name or the password, and they are not tried again for 10s, so that no account is locked"},
			{10 * time.Second, false, 4, "the proxy refused the user name or the password"},
			{14 * time.Minute, true, 4, "the proxy refused the user name or the password, and they are not tried again for 1m0s, so that no account is locked"},
			{time.Minute, true, 5, ""},
			{0, true, 6, ""},
		} {
			time.Sleep(step.after)
			good = step.good
			conn, err := h.DialContext(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
			}
			want := step.err
			if want != "" {
				want = "forward proxy http://proxy.test:3128: authenticate: " + want
			}
			if text(err) != want || errors.Is(err, proxy.ErrRejected) != (want != "") {
				t.Errorf("step %d: error %v, want %s", i, err, want)
			}
			synctest.Wait()
			if sent != step.sent {
				t.Errorf("step %d: the password was sent %d times, want %d", i, sent, step.sent)
			}
		}
	})
}

// tinyproxy answers a wrong password with 401.
func TestEdgeCase16_401AfterThePassword(t *testing.T) {
	p := answer(t, func(_ int, head string) (string, bool) {
		if field(head, "Proxy-Authorization") == "" {
			return "HTTP/1.1 407 No\r\n" + wants + "Content-Length: 0\r\n\r\n", true
		}
		return "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html\r\nContent-Length: 31\r\n\r\n<title>401 Unauthorized</title>", true
	})
	_, err := hop(t, userURL, to(p.addr)).DialContext(t.Context(), "tcp", target)
	want := "forward proxy http://proxy.test:3128: authenticate: 401 Unauthorized: the proxy refused the user name or the password"
	if text(err) != want || !errors.Is(err, proxy.ErrRejected) {
		t.Errorf("error\n got %v\nwant %s", err, want)
	}
}

// endless is a scheme that always has one more answer.
type endless struct{ broken string }

func (endless) Scheme() string                                              { return "Endless" }
func (e endless) Begin(context.Context, proxy.Peer) (proxy.Exchange, error) { return e, nil }
func (e endless) Answer(_ context.Context, challenge string) (string, error) {
	return challenge + e.broken, nil
}
func (endless) Bound() bool { return false }

func TestEdgeCase15_AttemptsAreBounded(t *testing.T) {
	p := answer(t, func(n int, _ string) (string, bool) {
		return fmt.Sprintf("HTTP/1.1 407 No\r\nProxy-Authenticate: Endless nonce=%d\r\nContent-Length: 0\r\n\r\n", n), true
	})
	h := hop(t, "http://proxy.test:3128", to(p.addr))
	h.Auth = []proxy.Authenticator{endless{}}
	_, err := h.DialContext(t.Context(), "tcp", target)
	if !errors.Is(err, proxy.ErrRejected) {
		t.Errorf("error %v", err)
	}
	if n := p.requests.Load(); n != 5 {
		t.Errorf("%d requests, want 5", n)
	}
}

func TestEdgeCase16_401InPlaceOf407(t *testing.T) {
	for _, challenge := range []string{"", "WWW-Authenticate: Basic realm=x\r\n"} {
		p := answer(t, func(_ int, head string) (string, bool) {
			if field(head, "Proxy-Authorization")+field(head, "Authorization") != "" {
				t.Error("credentials were sent")
			}
			return "HTTP/1.1 401 Unauthorized\r\n" + challenge + "Content-Length: 0\r\n\r\n", true
		})
		_, err := hop(t, userURL, to(p.addr)).DialContext(t.Context(), "tcp", target)
		want := "forward proxy http://proxy.test:3128: connect edge.test:443: 401 Unauthorized: " +
			"a web server asks for a password like that, a proxy does with 407; nothing is sent"
		if text(err) != want {
			t.Errorf("error\n got %v\nwant %s", err, want)
		}
	}
}

func TestEdgeCase17_Challenges(t *testing.T) {
	for _, tc := range []struct {
		name    string
		lines   []string
		schemes []string
		opens   bool
	}{
		{"one", []string{`Basic realm="x"`}, []string{"Basic"}, true},
		{"no realm", []string{`Basic`}, []string{"Basic"}, true},
		{"any case", []string{`bASIC realm=x`}, []string{"bASIC"}, true},
		{"commas in quotes", []string{`Digest realm="a, Basic b", nonce="\", NTLM", qop="auth,auth-int", Basic realm="x"`}, []string{"Digest", "Basic"}, true},
		{"a quoted Basic is none", []string{`Digest realm="x, Basic realm=y"`}, []string{"Digest"}, false},
		{"several lines", []string{`Negotiate`, `NTLM`, `Basic realm="x"`}, []string{"Negotiate", "NTLM", "Basic"}, true},
		{"all on one line", []string{`Negotiate, NTLM, Basic realm="x"`}, []string{"Negotiate", "NTLM", "Basic"}, true},
		{"token68", []string{`NTLM TlRMTVNTUAACAAAA==, Basic realm="x"`}, []string{"NTLM", "Basic"}, true},
		{"spaces around =", []string{`Basic realm = "x" , charset = "UTF-8"`}, []string{"Basic"}, true},
		{"empty elements", []string{`, ,Basic realm="x",,`}, []string{"Basic"}, true},
		{"twice", []string{`Basic realm="x"`, `basic realm="y"`}, []string{"Basic"}, true},
		{"unknown only", []string{`Bearer realm="x"`, `Hawk`}, []string{"Bearer", "Hawk"}, false},
		{"a parameter alone", []string{`realm="Basic"`}, nil, false},
		{"open quote", []string{`Digest realm="x, Basic realm=y`}, []string{"Digest"}, false},
		{"empty", []string{``}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := answer(t, func(_ int, head string) (string, bool) {
				if field(head, "Proxy-Authorization") == goodKey && tc.opens {
					return ok200, true
				}
				reply := "HTTP/1.1 407 No\r\nContent-Length: 0\r\n"
				for _, line := range tc.lines {
					reply += "Proxy-Authenticate: " + line + "\r\n"
				}
				return reply + "\r\n", true
			})
			h := hop(t, userURL, to(p.addr))
			h.Auth = []proxy.Authenticator{proxy.Basic{Username: "u", Password: goodPassword}}
			conn, err := h.DialContext(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != tc.opens {
				t.Fatalf("error %v", err)
			}
			if want := map[bool]int32{true: 2, false: 1}[tc.opens]; p.requests.Load() != want {
				t.Errorf("%d requests, want %d", p.requests.Load(), want)
			}
			// Without a user the same offer is an error that lists it.
			_, err = hop(t, "http://proxy.test:3128", to(p.addr)).DialContext(t.Context(), "tcp", target)
			if diff := cmp.Diff(tc.schemes, asError(t, err).Schemes); diff != "" {
				t.Errorf("schemes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEdgeCase17_ErrorsNameTheSchemes(t *testing.T) {
	for _, tc := range []struct{ url, challenge, want string }{
		{"http://proxy.test:3128", "Proxy-Authenticate: Digest realm=x, nonce=n, Basic realm=x\r\n",
			"the proxy asks for authentication (Digest, Basic) and there is no user and password for it"},
		{userURL, "Proxy-Authenticate: Hawk, Bearer\r\n", "the proxy offers Hawk, Bearer, and only Negotiate, Digest, NTLM, Basic can be answered"},
		{userURL, "", "the proxy asks for authentication but does not say how (407 without a challenge), so nothing is sent"},
	} {
		p := answer(t, func(_ int, head string) (string, bool) {
			if field(head, "Proxy-Authorization") != "" {
				t.Error("credentials were sent")
			}
			return "HTTP/1.1 407 No\r\nContent-Length: 0\r\n" + tc.challenge + "\r\n", true
		})
		_, err := hop(t, tc.url, to(p.addr)).DialContext(t.Context(), "tcp", target)
		if want := "forward proxy http://proxy.test:3128: authenticate: " + tc.want; text(err) != want {
			t.Errorf("error\n got %v\nwant %s", err, want)
		}
	}
}

// TestEdgeCase17_SchemesThatMayBeUsed: what was forbidden is told as such, and never as a wrong password.
func TestEdgeCase17_SchemesThatMayBeUsed(t *testing.T) {
	for _, tc := range []struct{ schemes, offer, want string }{
		{"digest", "Basic realm=x", "the proxy offers Basic, and only Digest may be used"},
		{"digest,ntlm", "Basic realm=x, Hawk", "the proxy offers Basic, Hawk, and only Digest, NTLM may be used"},
		{"basic", "Digest realm=x, nonce=n", "the proxy offers Digest, and only Basic may be used"}, // it went out unasked
		{"basic", "Basic realm=x", "the proxy refused the user name or the password"},
		{"basic", "Hawk", "the proxy offers Hawk, and only Basic can be answered"},
	} {
		for _, user := range []bool{true, false} {
			p := answer(t, func(int, string) (string, bool) {
				return "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: " + tc.offer + "\r\n\r\n", true
			})
			schemes, err := proxy.ParseAuth(tc.schemes)
			if err != nil {
				t.Fatal(err)
			}
			c := proxy.Config{Dial: to(p.addr), Schemes: schemes, UserSource: "FROM"}
			if user {
				c.User = url.UserPassword("user", "canary")
			}
			s, err := proxy.Fixed("http://proxy.test:3128", "--forward-proxy", c)
			if err != nil {
				t.Fatal(err)
			}
			_, err = proxy.Dial(s, &url.URL{Scheme: "https", Host: target})(t.Context(), "tcp", target)
			failed := asError(t, err)
			if left := new(proxy.LeftOut); errors.As(err, &left) != strings.Contains(tc.want, "may be used") {
				t.Errorf("--forward-proxy-auth %s, %s: error %v is a LeftOut, or is none", tc.schemes, tc.offer, err)
			}
			if user && failed.Err.Error() != tc.want || failed.UserSource != "FROM" {
				t.Errorf("--forward-proxy-auth %s, %s: error %v of %q, want %s", tc.schemes, tc.offer, err, failed.UserSource, tc.want)
			}
		}
	}
}

func TestEdgeCase18_BasicInClearIsWarnedAboutOnce(t *testing.T) {
	p := answer(t, asking("HTTP/1.1 407 No\r\n"+wants+"Content-Length: 0\r\n\r\n", true))
	var l logs
	h := hop(t, userURL, to(p.addr))
	h.Log = l.logger()
	for range 3 {
		conn, err := h.DialContext(t.Context(), "tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if n := strings.Count(l.String(), "level=WARN msg=\"the proxy password goes unencrypted over the network\" hop=http://proxy.test:3128"); n != 1 {
		t.Errorf("%d warnings in\n%s", n, l.String())
	}
}

// TestEdgeCase18_NeverUnasked: the password goes out in clear only to a proxy that
// asks for it by name.
func TestEdgeCase18_NeverUnasked(t *testing.T) {
	noTicket(t)
	for _, challenge := range []string{"", "Proxy-Authenticate: Negotiate\r\n", "Proxy-Authenticate: Bearer realm=\"Basic\"\r\n", "WWW-Authenticate: Basic\r\n"} {
		p := answer(t, func(_ int, head string) (string, bool) {
			if strings.Contains(head, "Authorization: Basic") {
				t.Errorf("sent for %q:\n%s", challenge, head)
			}
			return "HTTP/1.1 407 No\r\nContent-Length: 0\r\n" + challenge + "\r\n", true
		})
		_, err := hop(t, userURL, to(p.addr)).DialContext(t.Context(), "tcp", target)
		if failed := asError(t, err); failed.Op != proxy.OpAuth {
			t.Errorf("%q: error %v", challenge, err)
		}
	}
}

func TestCredentialsThatBreakOutAreNotSent(t *testing.T) {
	p := answer(t, func(n int, head string) (string, bool) {
		if n > 1 {
			t.Errorf("request %q", head)
		}
		return "HTTP/1.1 407 No\r\nProxy-Authenticate: Endless\r\nContent-Length: 0\r\n\r\n", true
	})
	h := hop(t, "http://proxy.test:3128", to(p.addr))
	h.Auth = []proxy.Authenticator{endless{broken: "\r\nX: y"}}
	_, err := h.DialContext(t.Context(), "tcp", target)
	if want := "forward proxy http://proxy.test:3128: authenticate: the proxy offers Endless; the credentials do not fit in a header line"; text(err) != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
