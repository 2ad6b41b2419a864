package login_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/token"
)

func TestMain(m *testing.M) {
	if os.Getenv("LOGIN_TEST_BROWSER") != "" {
		actAsBrowser()
	}
	goleak.VerifyTestMain(m)
}

// canary is a token; it must be in no log and no error.
const canary = "eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOiJjYW5hcnkifQ.Y2FuYXJ5"

// key names the token of the edge under test in its store.
const key = "edge.test:443|true"

// fakeEdge answers the requests for a sign-in URL: it is the way to the edge.
type fakeEdge struct {
	answer func(req *http.Request, redirect string) (*http.Response, error) // nil: a good URL

	user func(req *http.Request) (*http.Response, error) // nil: Ann

	mu        sync.Mutex
	redirects []string
}

// RoundTrip answers both requests of a sign-in.
func (e *fakeEdge) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/.pomerium/user" {
		if e.user != nil {
			return e.user(req)
		}
		return answer(http.StatusOK, `{"sub":"1","email":"ann@edge.test","groups":["dev"]}`), nil
	}
	redirect := req.URL.Query().Get("pomerium_redirect_uri")
	e.mu.Lock()
	e.redirects = append(e.redirects, redirect)
	e.mu.Unlock()
	if e.answer != nil {
		return e.answer(req, redirect)
	}
	return answer(http.StatusOK, signInURL(redirect)), nil
}

func (e *fakeEdge) asked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.redirects...)
}

// signInURL is what the edge hands out; canary stands for its signature.
func signInURL(redirect string) string {
	return "https://authenticate.test/.pomerium/sign_in?sig=" + canary + "&back=" + url.QueryEscape(redirect)
}

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"X-Request-Id": {"77aa"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// callbackOf returns where a sign-in URL of fakeEdge leads the browser in the
// end.
func callbackOf(signIn string) *url.URL {
	u, err := url.Parse(signIn)
	if err != nil {
		panic(err)
	}
	back, err := url.Parse(u.Query().Get("back"))
	if err != nil {
		panic(err)
	}
	return back
}

// person is in front of a browser.
type person struct {
	opened chan string // sign-in URLs that the browser was opened with
	told   chan string // sign-in URLs that were printed
}

func newPerson() *person {
	return &person{opened: make(chan string, 100), told: make(chan string, 100)}
}

func (p *person) open(_ context.Context, url string) error { p.opened <- url; return nil }
func (p *person) tell(url string)                          { p.told <- url }

// newSignIn returns a sign-in on real loopback sockets, with a log that is
// looked through for secrets at the end.
func newSignIn(t testing.TB, e *fakeEdge, p *person) *login.SignIn {
	log := new(lockedBuffer)
	t.Cleanup(func() {
		if s := log.String(); strings.Contains(s, "canary") || strings.Contains(s, canary) || strings.Contains(s, "pomerium_jwt") {
			t.Errorf("a secret in the log: %s", s)
		}
	})
	s := &login.SignIn{
		Edge:    &url.URL{Scheme: "https", Host: "edge.test:443"},
		HTTP:    e,
		Store:   new(token.Memory),
		Key:     key,
		Notify:  p.tell,
		Browser: p.open,
		Log:     slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	t.Cleanup(s.Close)
	return s
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// result is what Renew returned.
type result struct {
	token string
	err   error
}

// renew calls Renew and delivers its result.
func renew(ctx context.Context, s *login.SignIn, rejected string) <-chan result {
	done := make(chan result, 1)
	go func() {
		token, err := s.Renew(ctx, rejected)
		done <- result{token, err}
	}()
	return done
}

func (r result) want(t testing.TB, token string) {
	t.Helper()
	if r.err != nil || r.token != token {
		t.Errorf("got token %q, %v; want %q", r.token, r.err, token)
	}
}

func (r result) wantError(t testing.TB, parts ...string) {
	t.Helper()
	var e *login.Error
	if !errors.As(r.err, &e) {
		t.Fatalf("got token %q, %v; want a login.Error", r.token, r.err)
	}
	for _, part := range parts {
		if !strings.Contains(r.err.Error(), part) {
			t.Errorf("got  %s\nwant %q in it", r.err, part)
		}
	}
	if strings.Contains(r.err.Error(), canary) {
		t.Errorf("a secret in %s", r.err)
	}
}

// visitor makes one HTTP request on a connection of its own.
type visitor func(network, addr string) (net.Conn, error)

// get visits a callback with a token, as the edge makes a browser do, and
// returns the page that the browser ends on.
func (dial visitor) get(t testing.TB, back *url.URL, token string) (status int, page string) {
	t.Helper()
	res, page := dial.visit(t, back.String()+"?pomerium_jwt="+url.QueryEscape(token))
	if res.StatusCode == http.StatusSeeOther {
		if to := res.Header.Get("Location"); to != back.Path || page != "" {
			t.Errorf("sent on to %q with %q, want %q", to, page, back.Path)
		}
		res, page = dial.visit(t, back.String())
	}
	return res.StatusCode, page
}

// visit makes a browser's request for a page.
func (dial visitor) visit(t testing.TB, addr string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Dest", "document")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	return dial.do(t, req)
}

func (dial visitor) do(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	addr := net.JoinHostPort("127.0.0.1", req.URL.Port())
	conn, err := dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// pipes is a listener in memory, for tests that have their own time.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	gone  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), gone: make(chan struct{})} }

func (p *pipes) listen(context.Context) (net.Listener, error) { return p, nil }

func (p *pipes) dial(string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.gone:
		return nil, errors.New("connection refused")
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.gone:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.gone) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 49152} }

// badStore fails as a full disk or a broken file makes it.
type badStore struct{ load, save error }

func (b badStore) Load(context.Context, string) (string, error) { return "", b.load }
func (b badStore) Save(context.Context, string, string) error   { return b.save }
func (b badStore) Delete(context.Context, string, string) error { return b.save }

func ignore[T any](T, error) {}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var errWay = fmt.Errorf("proxy http://proxy.test:3128: 502 Bad Gateway")
