package proxy_test

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

// TestAuthConformance is what every scheme has to do, through each kind of HTTP
// proxy: a scheme without a row in gates fails.
func TestAuthConformance(t *testing.T) {
	for _, name := range proxy.AuthSchemes() {
		if _, ok := gates[name]; !ok {
			t.Errorf("%s has no row in gates", name)
		}
	}
	for name, start := range gates {
		if start == nil {
			t.Logf("%s is left out on this system", name) // see gate_other_test.go
			continue
		}
		for _, kind := range httpKinds() {
			for what, check := range authConformance {
				t.Run(fmt.Sprintf("%s; %s: %s", kind, name, what), func(t *testing.T) {
					g := start(t)
					check(t, g, g.serve(t, kind))
				})
			}
		}
	}
}

var authConformance = map[string]func(t *testing.T, g *gate, p *guarded){
	"tunnels": func(t *testing.T, g *gate, p *guarded) {
		h := p.hop(t, g, true)
		for range 3 {
			exchangeEcho(t, open(t, h), "")
		}
		if n := p.wrong.Load(); n != 0 {
			t.Errorf("%d wrong attempts", n)
		}
		if n, want := p.conns.Load(), p.connections(g, 3); n != want {
			t.Errorf("%d connections for 3 tunnels, want %d", n, want)
		}
		if n := p.requests.Load(); n != 4 && !g.ntlm { // which has two legs, on each connection
			t.Errorf("%d requests for 3 tunnels, want 4: what was asked once is not asked again", n)
		}
	},
	"14: closes after the bare 407": func(t *testing.T, g *gate, p *guarded) {
		p.parts = func(_ string, credentials bool) bool { return !credentials }
		h := p.hop(t, g, true)
		for range 2 {
			exchangeEcho(t, open(t, h), "")
		}
	},
	"15: a refusal is told, and tried once": func(t *testing.T, g *gate, p *guarded) {
		h := p.hop(t, g, false)
		var first error
		for range 3 {
			_, err := h.DialContext(t.Context(), "tcp", target)
			asError(t, err)
			if first == nil {
				first = err
			}
		}
		if want := h.String() + ": authenticate: " + g.said + ": no!"; text(first) != "forward proxy "+want {
			t.Errorf("error\n got %v\nwant %s", first, want)
		}
		if n := p.wrong.Load(); n > 1 {
			t.Errorf("%d wrong attempts", n)
		}
		if _, ticket := h.Auth[0].(*proxy.Negotiate); errors.Is(first, proxy.ErrRejected) == ticket {
			t.Errorf("error %v", first)
		}
	},
	"18: alone it is not waited for, with others it is": func(t *testing.T, g *gate, p *guarded) {
		h := p.hop(t, g, true)
		if g.ntlm {
			noTicket(t)
		}
		user := map[bool]string{true: `DOM\u`}[g.ntlm]
		requests := func(schemes ...string) int32 {
			c := proxy.Config{Dial: h.Dial, TLS: h.TLS, User: url.UserPassword(cmp.Or(user, "u"), goodPassword), Schemes: schemes}
			s, err := proxy.Fixed(h.String(), "--forward-proxy", c)
			if err != nil {
				t.Fatal(err)
			}
			before := p.requests.Load()
			conn, err := proxy.Dial(s, mustParse(t, "https://edge.test"))(t.Context(), "tcp", target)
			if err != nil {
				t.Fatal(err)
			}
			exchangeEcho(t, conn, "")
			return p.requests.Load() - before
		}
		asked := requests("negotiate", "digest", "ntlm", "basic")
		want := asked - 1
		if g.scheme == "Digest" || g.ntlm && (p.h2 || g.scheme == "Negotiate") { // wants a nonce; to know that HTTP/2 will not do; or that a ticket is missing
			want = asked
		}
		if alone := requests(strings.ToLower(g.scheme)); alone != want {
			t.Errorf("%d requests, want %d", alone, want)
		}
	},
	"many at once": func(t *testing.T, g *gate, p *guarded) {
		h := p.hop(t, g, true)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				conn, err := h.DialContext(t.Context(), "tcp", target)
				if err != nil {
					t.Error(err)
					return
				}
				exchangeEcho(t, conn, "")
				conn.Close()
			})
		}
		all.Wait()
		if n := p.wrong.Load(); n != 0 {
			t.Errorf("%d wrong attempts", n)
		}
	},
	"many at once with a wrong password": func(t *testing.T, g *gate, p *guarded) {
		h := p.hop(t, g, false)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				conn, err := h.DialContext(t.Context(), "tcp", target)
				if err == nil {
					t.Error("opened")
					conn.Close()
				}
			})
		}
		all.Wait()
		if n := p.wrong.Load(); n != 1 && (g.ntlm || g.scheme != "Negotiate") {
			t.Errorf("%d wrong attempts, want 1", n)
		}
	},
	"the proxy dies with the credentials": func(t *testing.T, g *gate, p *guarded) {
		p.silent = func(int32) bool { return true }
		_, err := p.hop(t, g, true).DialContext(t.Context(), "tcp", target)
		asError(t, err)
		if n := p.tries.Load(); n > 2 {
			t.Errorf("credentials were sent %d times", n)
		}
	},
	"absolute form": func(t *testing.T, g *gate, p *guarded) {
		h := p.hop(t, g, true)
		rt := &proxy.Transport{Selector: through{h}}
		t.Cleanup(rt.CloseIdleConnections)
		for i := range 3 {
			target := fmt.Sprintf("http://edge.test/x?n=%d", i)
			got, err := post(clientOf(rt), target)
			if got != "200 "+target || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
		if n := p.wrong.Load(); n != 0 {
			t.Errorf("%d wrong attempts", n)
		}
		_, err := post(clientOf(&proxy.Transport{Selector: through{p.hop(t, g, false)}}), "http://edge.test/x")
		if failed := asError(t, err); failed.Op != proxy.OpAuth || failed.Status != 407 {
			t.Errorf("error %v", err)
		}
	},
	"no secret": func(t *testing.T, g *gate, p *guarded) {
		var l logs
		h := p.hop(t, g, false)
		h.Log = l.logger()
		_, err := h.DialContext(t.Context(), "tcp", target)
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			said := fmt.Sprintf(verb+verb+verb, err, asError(t, err).Err, h.Auth) + l.String()
			if strings.Contains(said, passwords(false)) || strings.Contains(said, "cDp3IDI") {
				t.Errorf("the password is in %s", said)
			}
		}
	},
}

// through selects one hop.
type through struct{ hop *proxy.Hop }

func (s through) Ways(context.Context, *url.URL) ([]proxy.Way, error) {
	return []proxy.Way{{Hops: []*proxy.Hop{s.hop}}}, nil
}

// noTicket makes sure that the user's own is not found.
func noTicket(t *testing.T) {
	t.Setenv("KRB5CCNAME", "FILE:/nobody/has/one")
	t.Setenv("KRB5_CLIENT_KTNAME", "")
}

func post(c *http.Client, target string) (string, error) {
	resp, err := c.Post(target, "text/plain", http.NoBody)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, body), err
}

// The vectors of RFC 7616 3.9.1 are for the gate, which judges what we send.
func TestEdgeCase21_Vectors(t *testing.T) {
	p := map[string]string{
		"username": "Mufasa", "uri": "/dir/index.html", "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
		"nc": "00000001", "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "qop": "auth",
	}
	for want, hash := range map[string]func() hash.Hash{
		"8ca523f5e9506fed4657c9700eebdbec":                                 md5.New,
		"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1": sha256.New,
	} {
		if got := digestResponse(hash, p, "http-auth@example.org", "Circle of Life", "GET"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// [MS-NLMP 4.2.4] is for the gate, too.
func TestEdgeCase19_Vectors(t *testing.T) {
	key := hmacMD5(ntHash("Password"), toUTF16("USERDomain"))
	if got := fmt.Sprintf("%x", key); got != "0c868a403bfd7a93a3001ef22ef02e3f" {
		t.Errorf("NTOWFv2 is %s", got)
	}
}

// TestEdgeCase21_Digest: what is refused, and what is sent.
func TestEdgeCase21_Digest(t *testing.T) {
	const start = `Digest realm="lab", nonce="n", `
	const sess = "Digest: the proxy wants a variant that ends in -sess, which is not spoken here"
	for _, tc := range []struct{ name, challenge, err string }{
		{"MD5-sess", start + `algorithm=MD5-sess, qop="auth"`, sess},
		{"SHA-256-sess", start + `algorithm="SHA-256-SESS", qop="auth"`, sess},
		{"unknown", start + "algorithm=\"a\x01b\"", "Digest: the proxy's algorithm is not known here"},
		{"auth-int", start + `qop="auth-int"`, "Digest: the proxy wants the request's body to be signed (qop=auth-int), which is not done here"},
		{"no nonce", `Digest realm="lab"`, "Digest: the proxy's challenge cannot be understood"},
		{"empty nonce", `Digest realm="lab", nonce=""`, "Digest: the proxy's challenge cannot be understood"},
		{"garbage", `Digest x`, "Digest: the proxy's challenge cannot be understood"},
		{"bare", `Digest`, "Digest: the proxy's challenge cannot be understood"},
		{"open quote", `Digest realm="lab, nonce=n`, "Digest: the proxy's challenge cannot be understood"},
		{"realm that breaks out", start + "x=\"\x00\"", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := answer(t, func(n int, head string) (string, bool) {
				if credentials := field(head, "Proxy-Authorization"); (credentials != "") != (n > 1 && tc.err == "") {
					t.Errorf("request %d has credentials %q", n, credentials)
				}
				if n > 1 {
					return ok200, true
				}
				return "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: " + tc.challenge + "\r\n\r\n", true
			})
			h := hop(t, userURL, to(p.addr))
			conn, err := h.DialContext(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
			}
			want := ""
			if tc.err != "" {
				want = "forward proxy http://proxy.test:3128: authenticate: the proxy offers Digest; " + tc.err
			}
			if text(err) != want {
				t.Errorf("error\n got %v\nwant %s", err, want)
			}
		})
	}
}

// TestEdgeCase21_Answers: what is signed is the authority that CONNECT asks for,
// with each algorithm, with and without qop.
func TestEdgeCase21_Answers(t *testing.T) {
	for _, tc := range []struct{ name, algorithm, qop string }{
		{"digest", "MD5", "auth"}, {"digest, SHA-256", "SHA-256", "auth"}, {"digest, RFC 2069", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := gates[tc.name](t)
			judge, sent := g.judge, ""
			g.judge = func(v *visit, credentials string) (bool, string, bool) {
				sent = credentials
				return judge(v, credentials)
			}
			open(t, g.serve(t, "http").hop(t, g, true)).Close()
			p := parameters(sent)
			if p["uri"] != target || p["algorithm"] != tc.algorithm || p["qop"] != tc.qop || (p["nc"] == "") != (tc.qop == "") {
				t.Errorf("sent %s", sent)
			}
		})
	}
}

// A nonce that is too old is no wrong password.
func TestEdgeCase15_StaleNonce(t *testing.T) {
	for _, tc := range []struct {
		name     string
		stale    []bool // says the proxy to each answer; then it opens
		requests int32
		opens    bool
	}{
		{"fresh", nil, 2, true},
		{"stale once", []bool{true}, 3, true},
		{"stale twice", []bool{true, true}, 3, false},
		{"refused", []bool{false}, 2, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := answer(t, func(n int, head string) (string, bool) {
				if n > 1 && parameters(field(head, "Proxy-Authorization"))["nonce"] != fmt.Sprint("n", n-1) {
					t.Errorf("request %d answers %s", n, field(head, "Proxy-Authorization"))
				}
				if n == len(tc.stale)+2 {
					return ok200, true
				}
				stale := n > 1 && tc.stale[n-2]
				return fmt.Sprintf("HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: Digest realm=x, nonce=\"n%d\", qop=auth, stale=%v\r\n\r\n", n, stale), true
			})
			conn, err := hop(t, userURL, to(p.addr)).DialContext(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != tc.opens || p.requests.Load() != tc.requests {
				t.Errorf("error %v after %d requests, want %d", err, p.requests.Load(), tc.requests)
			}
			if !tc.opens && !errors.Is(err, proxy.ErrRejected) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// The proxy forgets its nonces, without saying stale: what was right in this
// process is tried once more.
func TestEdgeCase15_ForgottenNonce(t *testing.T) {
	epoch := 0
	p := answer(t, func(_ int, head string) (string, bool) {
		if parameters(field(head, "Proxy-Authorization"))["nonce"] == fmt.Sprint("n", epoch) {
			return ok200, true
		}
		return fmt.Sprintf("HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: Digest realm=x, nonce=\"n%d\", qop=auth\r\n\r\n", epoch), true
	})
	h := hop(t, userURL, to(p.addr))
	for i, requests := range []int32{2, 3, 5, 6} {
		if i == 2 {
			epoch++
		}
		open(t, h).Close()
		if n := p.requests.Load(); n != requests {
			t.Errorf("%d requests after tunnel %d, want %d", n, i+1, requests)
		}
	}
}

func TestEdgeCase19_NTLM(t *testing.T) {
	parted := "the proxy closed the connection in the middle of the authentication, which needs one connection from beginning to end"
	for _, tc := range []struct {
		name         string
		old          bool // the challenge has no target information
		parts        func(challenge string, credentials bool) bool
		silent       func(try int32) bool
		tries, conns int32
		err          string
	}{
		{name: "keeps", tries: 2, conns: 1},
		{name: "no target information", old: true, tries: 2, conns: 1},
		{name: "closes after the bare 407", parts: func(_ string, credentials bool) bool { return !credentials }, tries: 2, conns: 2},
		{name: "always closes between the legs", parts: func(_ string, credentials bool) bool { return credentials }, tries: 2, conns: 2, err: parted},
		{name: "leaves without an answer to NEGOTIATE, once", silent: func(try int32) bool { return try == 1 }, tries: 3, conns: 2},
		{name: "leaves without an answer to AUTHENTICATE", silent: func(try int32) bool { return try == 2 }, tries: 2, conns: 1, err: parted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := ntlmGate(t, !tc.old)
			p := g.serve(t, "http")
			p.parts, p.silent = tc.parts, tc.silent
			h := p.hop(t, g, true)
			conn, err := h.DialContext(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
			}
			want := ""
			if tc.err != "" {
				want = "forward proxy http://proxy.test:3128: authenticate: " + tc.err
			}
			if text(err) != want || p.wrong.Load() != 0 {
				t.Errorf("error %v (%d wrong), want %s", err, p.wrong.Load(), want)
			}
			if p.tries.Load() != tc.tries || p.conns.Load() != tc.conns {
				t.Errorf("%d tries on %d connections, want %d on %d", p.tries.Load(), p.conns.Load(), tc.tries, tc.conns)
			}
			if strings.HasSuffix(tc.name, "AUTHENTICATE") { // it may have been the wrong password
				_, err := h.DialContext(t.Context(), "tcp", target)
				if want += "; user and password are not tried again for 1m0s, so that no account is locked"; text(err) != want || p.tries.Load() != tc.tries {
					t.Errorf("the next one: error %v after %d tries, want %s after %d", err, p.tries.Load(), want, tc.tries)
				}
			}
		})
	}
}

func TestEdgeCase19_Names(t *testing.T) {
	for name, want := range map[string]string{
		`DOM\u`: `DOM\u`, `\u`: `\u`, "u": `\u`, "u@dom.test": `\u@dom.test`, "dóm\\ü": "dóm\\ü", `a\b\c`: `a\b\c`,
	} {
		g := ntlmGate(t, true)
		got := make(chan string, 4)
		g.judge = func(v *visit, credentials string) (bool, string, bool) {
			m := decode(credentials)
			if m[8] == 1 {
				return false, "NTLM " + encode(ntlmChallenge([]byte("8 bytes!"), true)), false
			}
			user, response := verifyNTLM(m, []byte("8 bytes!"), goodPassword)
			got <- user
			return response != nil, "", false
		}
		p := g.serve(t, "http")
		h := p.hop(t, g, true)
		h.Auth = []proxy.Authenticator{proxy.NTLM{Username: name, Password: goodPassword}}
		open(t, h).Close()
		if user := <-got; user != want {
			t.Errorf("%s goes out as %s, want %s", name, user, want)
		}
	}
}

// The strongest scheme that is offered, and for which there is something to
// answer with, is the one that is used; refused, the password is not sent in a weaker one.
func TestEdgeCase17_TheStrongestWins(t *testing.T) {
	const basic, md5, sha, ntlm, negotiate = `Basic realm="x"`, `Digest realm="x", nonce="a", qop="auth"`,
		`Digest realm="x", nonce="b", algorithm=SHA-256, qop="auth"`, "NTLM", "Negotiate"
	all := []string{basic, md5, sha, ntlm, negotiate}
	for _, tc := range []struct {
		offer []string
		only  string // --forward-proxy-auth
		want  string // how the credentials begin
	}{
		{[]string{basic}, "", "Basic "},
		{[]string{basic, md5}, "", "Digest "},
		{[]string{basic, md5, ntlm}, "", "NTLM "},
		{[]string{basic, md5, ntlm, sha}, "", `Digest username="u", realm="x", nonce="b"`},
		{all, "", `Digest username="u", realm="x", nonce="b"`}, // no ticket
		{[]string{md5 + ", " + sha}, "", `Digest username="u", realm="x", nonce="b"`},
		{all, "basic,ntlm", "NTLM "},
		{all, "basic,negotiate", "Negotiate "}, // NTLM inside
		{[]string{basic, negotiate}, "", "Negotiate "},
		{[]string{negotiate}, "", "Negotiate "},
		{[]string{basic}, "digest,ntlm", ""},
	} {
		t.Run(strings.Join(tc.offer, "; ")+" "+tc.only, func(t *testing.T) {
			noTicket(t)
			allowed := tc.only == "" || strings.Contains(tc.only, "negotiate")
			if runtime.GOOS == "windows" && allowed && slices.Contains(tc.offer, negotiate) {
				tc.want = "Negotiate " // there is a logon session
			}
			var sent []string
			p := answer(t, func(_ int, head string) (string, bool) {
				if c := field(head, "Proxy-Authorization"); c != "" {
					sent = append(sent, c)
					return "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", false
				}
				return "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: " + strings.Join(tc.offer, "\r\nProxy-Authenticate: ") + "\r\n\r\n", true
			})
			c := proxy.Config{Dial: to(p.addr)}
			if tc.only != "" {
				c.Schemes, _ = proxy.ParseAuth(tc.only)
			}
			s, err := proxy.Fixed(userURL, "--forward-proxy", c)
			if err != nil {
				t.Fatal(err)
			}
			_, err = proxy.Dial(s, mustParse(t, "https://edge.test"))(t.Context(), "tcp", target)
			failed := asError(t, err)
			if tc.want == "" {
				if failed.Op != proxy.OpAuth || len(sent) != 0 {
					t.Errorf("error %v, sent %q", err, sent)
				}
				return
			}
			if failed.Status != 503 || len(sent) != 1 || !strings.HasPrefix(sent[0], tc.want) {
				t.Errorf("error %v, sent %q, want %s", err, sent, tc.want)
			}
		})
	}
}

func TestParseAuth(t *testing.T) {
	for list, want := range map[string]string{
		"basic": "[basic]", " NTLM, negotiate,ntlm": "[ntlm negotiate]",
		"": `"" is none of negotiate, digest, ntlm, basic`, "basic,,digest": `"" is none of negotiate, digest, ntlm, basic`,
		"kerberos": `"kerberos" is none of negotiate, digest, ntlm, basic`,
	} {
		got, err := proxy.ParseAuth(list)
		if said := fmt.Sprint(got); err == nil && said != want || err != nil && err.Error() != want {
			t.Errorf("ParseAuth(%q) = %v, %v, want %s", list, got, err, want)
		}
	}
	if got := proxy.AuthSchemes(); !slices.Equal(got, []string{"negotiate", "digest", "ntlm", "basic"}) {
		t.Errorf("AuthSchemes() = %q", got)
	}
}
