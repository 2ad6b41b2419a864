package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/pomerium/pomerium-cli/proxy"
)

// people are the logins of a test: what is kept, and what a person says, one
// after the other. nil is nothing.
type people struct {
	t    testing.TB
	user string // in place of "u"
	kept *url.Userinfo
	say  []*url.Userinfo
	fail error

	mu  sync.Mutex
	log []string
}

func (p *people) note(what string, w proxy.Want) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, what+" "+w.Scheme)
}

func (p *people) Kept(_ context.Context, w proxy.Want) (*url.Userinfo, error) {
	p.note("kept", w)
	return p.named(p.kept), nil
}

func (p *people) Ask(ctx context.Context, w proxy.Want) (*url.Userinfo, error) {
	if _, limited := ctx.Deadline(); limited {
		p.t.Error("a person is given no time")
	}
	if w.Refused != nil {
		p.note("ask again", w)
	} else {
		p.note("ask", w)
	}
	if len(p.say) == 0 {
		return nil, p.fail
	}
	said := p.say[0]
	p.say = p.say[1:]
	return p.named(said), nil
}

func (p *people) Accepted(w proxy.Want, user *url.Userinfo) {
	password, _ := user.Password()
	p.note("accepted "+password, w)
}

func (p *people) named(login *url.Userinfo) *url.Userinfo {
	if login == nil || p.user == "" {
		return login
	}
	password, _ := login.Password()
	return url.UserPassword(p.user, password)
}

var (
	right = url.UserPassword("u", goodPassword)
	wrong = url.UserPassword("u", "p:w 2")
)

// logins has a row for what Logins may know, and what comes of it however many
// connections there are.
var logins = map[string]struct {
	kept  *url.Userinfo
	say   []*url.Userinfo
	fail  error
	log   []string
	wrong int32  // passwords that the proxy refuses
	err   string // its end; empty: it opens
}{
	"kept":               {right, nil, nil, []string{"kept", "accepted p:w 1"}, 0, ""},
	"asked":              {nil, []*url.Userinfo{right}, nil, []string{"kept", "ask", "accepted p:w 1"}, 0, ""},
	"kept one is wrong":  {wrong, []*url.Userinfo{right}, nil, []string{"kept", "ask again", "accepted p:w 1"}, 1, ""},
	"asked twice":        {nil, []*url.Userinfo{wrong, right}, nil, []string{"kept", "ask", "ask again", "accepted p:w 1"}, 1, ""},
	"wrong, then nobody": {nil, []*url.Userinfo{wrong}, nil, []string{"kept", "ask", "ask again"}, 1, "refused the user name or the password"},
	"wrong and kept":     {wrong, nil, nil, []string{"kept", "ask again"}, 1, "refused the user name or the password"},
	"nobody knows":       {nil, nil, nil, []string{"kept", "ask"}, 0, ""},
	"nobody tells":       {nil, nil, errors.New("nobody is there"), []string{"kept", "ask"}, 0, "; nobody is there"},
	"cannot be carried":  {nil, slices.Repeat([]*url.Userinfo{url.UserPassword("u", strings.Repeat("\n", 256))}, 12), nil, []string{"kept", "ask"}, 0, "the user name or password"},
}

// TestLogins: asked once, however many connections wait; a wrong password goes
// out once.
func TestLogins(t *testing.T) {
	type door struct {
		scheme, user, says string
		open               func(t testing.TB) (addr string, wrong func() int32)
	}
	gateDoor := func(make func(testing.TB) *gate) func(testing.TB) (string, func() int32) {
		return func(t testing.TB) (string, func() int32) {
			g := make(t).serve(t, "http")
			return g.addr, g.wrong.Load
		}
	}
	for scheme, d := range map[string]door{
		"Basic":  {"http", "u", "there is no user and password for it", gateDoor(basicGate)},
		"Digest": {"http", "u", "there is no user and password for it", gateDoor(gates["digest"])},
		"NTLM":   {"http", `DOM\u`, "there is no user and password for it", gateDoor(gates["ntlm"])},
		"SOCKS5": {"socks5", "u", "its URL has no user and password", choosy},
	} {
		for name, tc := range logins {
			if runtime.GOOS == "windows" && scheme == "NTLM" && name == "nobody knows" {
				continue // the logon session is asked before somebody is
			}
			for _, connections := range []int{1, 12} {
				t.Run(fmt.Sprint(scheme, " ", name, " ", connections), func(t *testing.T) {
					addr, refusals := d.open(t)
					p := &people{t: t, user: d.user, kept: tc.kept, say: slices.Clone(tc.say), fail: tc.fail}
					s, err := proxy.Fixed(d.scheme+"://proxy.test:3128", "--forward-proxy", proxy.Config{Dial: to(addr), Logins: p})
					if err != nil {
						t.Fatal(err)
					}
					if name == "nobody knows" {
						tc.err = d.says
					}
					errs := dialMany(t, s, connections)
					for _, err := range errs {
						if tc.err == "" && err != nil || tc.err != "" && !strings.Contains(text(err), tc.err) {
							t.Errorf("error %v, want %q", err, tc.err)
						}
						if strings.Contains(text(err), goodPassword) || strings.Contains(text(err), "p:w 2") {
							t.Errorf("a password in %v", err)
						}
					}
					checkLog(t, p.log, tc.log, scheme, connections)
					if n := refusals(); n != tc.wrong {
						t.Errorf("%d wrong attempts, want %d", n, tc.wrong)
					}
				})
			}
		}
	}
}

// checkLog: a connection that comes late looks again at what is kept, and asks
// again where nobody has told.
func checkLog(t *testing.T, got, want []string, scheme string, connections int) {
	t.Helper()
	var seen []string
	for _, what := range got {
		what = strings.TrimSuffix(what, " "+scheme)
		last := len(want) > 0 && what == want[len(want)-1]
		if connections > 1 && slices.Contains(seen, what) && (what == "kept" || last && strings.HasPrefix(what, "ask")) {
			continue
		}
		seen = append(seen, what)
	}
	if !slices.Equal(seen, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func dialMany(t *testing.T, s proxy.Selector, n int) []error {
	dial := proxy.Dial(s, parse(t, "https://edge.test"))
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			conn, err := dial(t.Context(), "tcp", target)
			if errs[i] = err; err == nil {
				exchangeEcho(t, conn, "")
				conn.Close()
			}
		})
	}
	all.Wait()
	return errs
}

// choosy is a SOCKS5 proxy that lets nobody in without the right password.
func choosy(t testing.TB) (addr string, refusals func() int32) {
	wrong := make(chan struct{}, 100)
	addr = serve(t, func(c net.Conn, _ int) {
		greeting := make([]byte, 2)
		io.ReadFull(c, greeting)
		methods := make([]byte, greeting[1])
		io.ReadFull(c, methods)
		if !slices.Contains(methods, 2) {
			io.WriteString(c, "\x05\xff")
			return
		}
		io.WriteString(c, "\x05\x02")
		const login = "\x01\x01u\x05" + goodPassword
		got := make([]byte, len(login))
		if _, err := io.ReadFull(c, got); err != nil {
			return
		}
		if string(got) != login {
			wrong <- struct{}{}
			io.WriteString(c, "\x01\x01")
			return
		}
		io.WriteString(c, "\x01\x00")
		head := make([]byte, 5)
		io.ReadFull(c, head)
		io.ReadFull(c, make([]byte, int(head[4])+2))
		io.WriteString(c, socksOpen)
		echo(c)
	})
	return addr, func() int32 { return int32(len(wrong)) }
}

// TestLoginsAreNotAsked where the proxy asks nothing, or the settings know.
func TestLoginsAreNotAsked(t *testing.T) {
	free := answer(t, func(int, string) (string, bool) { return ok200, true })
	for name, tc := range map[string]struct {
		raw, addr string
		config    proxy.Config
	}{
		"an open proxy":      {"http://proxy.test", free.addr, proxy.Config{}},
		"basic alone":        {"http://proxy.test", free.addr, proxy.Config{Schemes: []string{"basic"}}},
		"an open SOCKS":      {"socks5://proxy.test", starters["socks5"](t, free.addr, "").addr, proxy.Config{User: right}},
		"user in the URL":    {"http://u:p:w%201@proxy.test", basicGate(t).serve(t, "http").addr, proxy.Config{}},
		"user of the config": {"http://proxy.test", basicGate(t).serve(t, "http").addr, proxy.Config{User: right}},
		"user of its host":   {"http://proxy.test", basicGate(t).serve(t, "http").addr, proxy.Config{UserOf: func(string) (*url.Userinfo, string) { return right, "" }}},
		"the user comes before that of its host": {"http://proxy.test", basicGate(t).serve(t, "http").addr,
			proxy.Config{User: right, UserOf: func(string) (*url.Userinfo, string) { return wrong, "" }}},
		"a wrong password": {"http://u:x@proxy.test", basicGate(t).serve(t, "http").addr, proxy.Config{}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &people{t: t, kept: right}
			tc.config.Dial, tc.config.Logins = to(tc.addr), p
			s, err := proxy.Fixed(tc.raw, "--forward-proxy", tc.config)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := proxy.Dial(s, parse(t, "https://edge.test"))(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
			}
			if len(p.log) > 0 || (err == nil) == (name == "a wrong password") {
				t.Errorf("asked %q, error %v", p.log, err)
			}
		})
	}
}

// TestWant: what a person needs to know to decide.
func TestWant(t *testing.T) {
	for challenges, tc := range map[string]struct {
		raw  string
		want proxy.Want
	}{
		`Basic realm="the \"office\""`: {"http://proxy.test:3128", proxy.Want{Realm: `the "office"`, Scheme: "Basic", Clear: true}},
		`NTLM, Basic realm="x"`:        {"http://proxy.test:3128", proxy.Want{Scheme: "NTLM"}},
		`Digest realm="a, b", nonce="n", algorithm=MD5-sess, Basic realm="c"`: {"http://me@proxy.test:3128",
			proxy.Want{User: "me", Realm: "c", Scheme: "Basic", Clear: true}},
		"Digest Realm = \"a\x1b, b\", nonce=\"n\"": {"http://proxy.test:3128", proxy.Want{Realm: "a, b", Scheme: "Digest"}},
	} {
		t.Run(challenges, func(t *testing.T) {
			p := answer(t, func(int, string) (string, bool) {
				return "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: " + challenges + "\r\n\r\n", true
			})
			var got proxy.Want
			h := hop(t, tc.raw, to(p.addr))
			h.Logins = wanting(func(w proxy.Want) { got = w })
			_, err := h.DialContext(t.Context(), "tcp", target)
			asError(t, err)
			tc.want.Hop = "http://proxy.test:3128"
			if got != tc.want {
				t.Errorf("wanted %#v\nwant %#v", fields(got), fields(tc.want))
			}
		})
	}
}

func fields(w proxy.Want) string {
	return fmt.Sprintf("%q %q %q %q %v", w.Hop, w.User, w.Realm, w.Scheme, w.Clear)
}

type wanting func(proxy.Want)

func (f wanting) Kept(_ context.Context, w proxy.Want) (*url.Userinfo, error) { f(w); return nil, nil }
func (f wanting) Ask(context.Context, proxy.Want) (*url.Userinfo, error)      { return nil, nil }
func (f wanting) Accepted(proxy.Want, *url.Userinfo)                          {}

// TestLoginsOfATransport: a request in absolute form is answered alike.
func TestLoginsOfATransport(t *testing.T) {
	g := basicGate(t).serve(t, "http")
	p := &people{t: t, say: []*url.Userinfo{wrong, right}}
	s, err := proxy.Fixed("http://proxy.test:3128", "--forward-proxy", proxy.Config{Dial: to(g.addr), Logins: p})
	if err != nil {
		t.Fatal(err)
	}
	transport := &proxy.Transport{Selector: s}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://edge.test/x", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := []string{"kept Basic", "ask Basic", "ask again Basic", "accepted p:w 1 Basic"}; !slices.Equal(p.log, want) {
		t.Errorf("asked %q, want %q", p.log, want)
	}
}

// TestLoginsOfAChain: each proxy is answered for itself.
func TestLoginsOfAChain(t *testing.T) {
	far := starters["http"](t, serve(t, func(c net.Conn, _ int) { echo(c) }), "")
	near := starters["http"](t, far.addr, "")
	p := &people{t: t, say: []*url.Userinfo{right, right}}
	c := proxy.Config{Dial: to(near.addr), Logins: p}
	before, err := proxy.Chain([]string{"http://near.test"}, "--pre-proxy", c)
	if err != nil {
		t.Fatal(err)
	}
	c.Before = before
	s, err := proxy.Fixed("http://proxy.test:3128", "--forward-proxy", c)
	if err != nil {
		t.Fatal(err)
	}
	if err := dialMany(t, s, 1)[0]; err != nil {
		t.Error(err)
	}
	if len(p.log) != 6 {
		t.Errorf("asked %q", p.log)
	}
}

// TestCancelledQuestion: who waits for a person can give up.
func TestCancelledQuestion(t *testing.T) {
	g := basicGate(t).serve(t, "http")
	h := hop(t, "http://proxy.test:3128", to(g.addr))
	ctx, cancel := context.WithCancel(t.Context())
	h.Logins = silentPerson{cancel}
	if _, err := h.DialContext(ctx, "tcp", target); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type silentPerson struct{ asked func() }

func (silentPerson) Kept(context.Context, proxy.Want) (*url.Userinfo, error) { return nil, nil }
func (s silentPerson) Ask(ctx context.Context, _ proxy.Want) (*url.Userinfo, error) {
	s.asked()
	<-ctx.Done()
	return nil, ctx.Err()
}
func (silentPerson) Accepted(proxy.Want, *url.Userinfo) {}

// TestOneQuestion: who waits for an answer shares it, also where there is none.
func TestOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowPerson{answer: make(chan struct{})}
		h := hop(t, "http://proxy.test:3128", piped(t, func(c net.Conn) {
			if _, err := readHead(c); err == nil {
				io.WriteString(c, "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: Basic realm=x\r\n\r\n")
			}
		}))
		h.Logins = p
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				_, err := h.DialContext(t.Context(), "tcp", target)
				asError(t, err)
			})
		}
		synctest.Wait()
		close(p.answer)
		all.Wait()
		if n := p.asked.Load(); n != 1 {
			t.Errorf("the person was asked %d times", n)
		}
	})
}

type slowPerson struct {
	silentPerson
	answer chan struct{}
	asked  atomic.Int32
}

func (p *slowPerson) Ask(context.Context, proxy.Want) (*url.Userinfo, error) {
	p.asked.Add(1)
	<-p.answer
	return nil, nil
}
