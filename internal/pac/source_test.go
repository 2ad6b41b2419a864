package pac_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/internal/pac"
)

func script(proxy string) string {
	return fmt.Sprintf("function FindProxyForURL(url, host) { return 'PROXY %s' }", proxy)
}

// ask is the first route of the script that the source has now.
func ask(t *testing.T, s *pac.Source) string {
	t.Helper()
	now, err := s.Script(t.Context())
	if err != nil {
		return err.Error()
	}
	routes, err := now.Find(t.Context(), edge, pac.Env{})
	if err != nil {
		return err.Error()
	}
	return routes[0].Addr
}

func open(t *testing.T, raw string, c pac.Config) *pac.Source {
	t.Helper()
	s, err := pac.Open(raw, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct{ url, err string }{
		{"pac+https://pac.corp/proxy.pac", ""},
		{"PAC+HTTP://pac.corp", ""},
		{"pac+file:///etc/proxy.pac", ""},
		{"pac+file://localhost/etc/proxy.pac", ""},
		{"pac+data:,x", ""},
		{"https://pac.corp/", `pac script: scheme "https" is none of pac+https, pac+http, pac+file and pac+data`},
		{"pac+ftp://pac.corp/", `pac script: scheme "pac+ftp" is none of pac+https, pac+http, pac+file and pac+data`},
		{"pac+https:///proxy.pac", "pac script: pac+https is followed by //, a host and a path"},
		{"pac+http:pac.corp", "pac script: pac+http is followed by //, a host and a path"},
		{"pac+file:proxy.pac", "pac script: pac+file: is followed by /// and a path on this machine"},
		{"pac+file://server/share/proxy.pac", "pac script: pac+file: is followed by /// and a path on this machine"},
		{"pac+data:x", "pac script: pac+data: is followed by a media type or none, a comma, and the script"},
		{"pac+https://alice:hunter2%@pac.corp/", "pac script: not a URL"},
	} {
		_, err := pac.Open(tt.url, pac.Config{HTTP: http.DefaultTransport})
		if errText(err) != tt.err {
			t.Errorf("%s: error %q, want %q", tt.url, errText(err), tt.err)
		}
	}
	if _, err := pac.Open("pac+https://pac.corp/", pac.Config{}); errText(err) != "pac script: no way to fetch it" {
		t.Errorf("error %v", err)
	}
}

func TestEdgeCase38_DataURL(t *testing.T) {
	coded := base64.StdEncoding.EncodeToString([]byte(script("a:1")))
	for _, tt := range []struct{ url, want string }{
		{"pac+data:application/x-ns-proxy-autoconfig;base64," + coded, "a:1"},
		{"pac+data:;base64," + strings.TrimRight(coded, "="), "a:1"},
		{"pac+data:," + script("a:1"), "a:1"},
		{"pac+data:text/javascript;charset=utf-8," + strings.NewReplacer(" ", "%20", "{", "%7B", "'", "%27").Replace(script("a:1")), "a:1"},
		{"pac+data:,function FindProxyForURL(u, h) { return h ? 'PROXY a:1' : '' }", "a:1"},
		{"pac+data:;base64,!!!", "pac script data: not well encoded"},
		{"pac+data:,", "pac script data: empty"},
	} {
		if got := ask(t, open(t, tt.url, pac.Config{})); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.url, got, tt.want)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "my proxy.pac")
	folder := "pac+file:///" + strings.TrimPrefix(filepath.ToSlash(dir), "/") // or C:/...
	s := open(t, folder+"/my%20proxy.pac", pac.Config{})
	if got := ask(t, s); !strings.HasPrefix(got, "reading pac script: ") {
		t.Error(got)
	}
	for _, proxy := range []string{"a:1", "bb:2"} {
		if err := os.WriteFile(path, []byte(script(proxy)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, s); got != proxy {
			t.Errorf("%s, want %s", got, proxy)
		}
	}
	if got := ask(t, open(t, folder, pac.Config{})); !strings.HasSuffix(got, "is not a regular file") {
		t.Error(got)
	}
}

// server serves a script with validators, and notes what it is asked.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	status int
	header http.Header
	body   string
}

func serve(t *testing.T) *server {
	s := &server{body: script("a:1"), header: http.Header{"Etag": {`"one"`}}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := "GET " + r.URL.RequestURI()
	for _, name := range []string{"If-None-Match", "If-Modified-Since", "Authorization"} {
		if v := r.Header.Get(name); v != "" {
			line += " " + name + ":" + v
		}
	}
	s.asked = append(s.asked, line)
	for name, values := range s.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "text/plain; charset=nonsense")
	switch etag := s.header.Get("Etag"); {
	case s.status != 0:
		w.WriteHeader(s.status)
	case etag != "" && r.Header.Get("If-None-Match") == etag:
		w.WriteHeader(http.StatusNotModified)
		return
	}
	fmt.Fprint(w, s.body)
}

// takeAsked is what was asked since the last call.
func (s *server) takeAsked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *server) set(status int, body string, header http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.body, s.header = status, body, header
}

// clock is moved by hand.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Unix(c.now.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d / time.Second)) }

func config(t *testing.T, c *clock) pac.Config {
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return pac.Config{HTTP: transport, Now: c.Now}
}

// TestEdgeCase38_ServedOverHTTP walks through the life of a script: each step
// says how much time has passed, what the server has now, what is asked of it
// and which proxy comes out.
func TestEdgeCase38_ServedOverHTTP(t *testing.T) {
	etag := func(tag string, more ...string) http.Header {
		h := http.Header{"Etag": {tag}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	const get = "GET /proxy.pac?key=1"
	for _, copied := range []bool{false, true} {
		t.Run(fmt.Sprintf("copy %v", copied), func(t *testing.T) {
			server, clock := serve(t), new(clock)
			c := config(t, clock)
			if copied {
				c.Copy = filepath.Join(t.TempDir(), "new", "proxy.pac")
			}
			url := "pac+" + server.URL + "/proxy.pac?key=1"
			source := open(t, url, c)
			for i, step := range []struct {
				passed time.Duration
				status int
				body   string
				header http.Header
				asked  []string
				want   string
			}{
				{0, 0, script("a:1"), etag(`"one"`), []string{get}, "a:1"},
				{59 * time.Minute, 0, script("b:2"), etag(`"two"`), nil, "a:1"},
				{time.Minute, 0, script("a:1"), etag(`"one"`), []string{get + ` If-None-Match:"one"`}, "a:1"},
				{59 * time.Minute, 0, script("b:2"), etag(`"two"`), nil, "a:1"},
				{time.Minute, 0, script("b:2"), etag(`"two"`), []string{get + ` If-None-Match:"one"`}, "b:2"},
				// It falls ill, and is left alone for a minute at a time.
				{time.Hour, 503, "", nil, []string{get + ` If-None-Match:"two"`}, "b:2"},
				{59 * time.Second, 503, "", nil, nil, "b:2"},
				{time.Second, 0, "<html>Sign in</html>", nil, []string{get + ` If-None-Match:"two"`}, "b:2"},
				{time.Minute, 0, script("c:3"), http.Header{"Last-Modified": {"Mon, 23 Nov 2026 10:00:00 GMT"}, "Cache-Control": {"public, max-age=600"}},
					[]string{get + ` If-None-Match:"two"`}, "c:3"},
				{599 * time.Second, 0, script("d:4"), nil, nil, "c:3"},
				{time.Second, 0, script("d:4"), etag(`"four"`, "Cache-Control", "No-Cache"),
					[]string{get + " If-Modified-Since:Mon, 23 Nov 2026 10:00:00 GMT"}, "d:4"},
				{0, 0, script("d:4"), etag(`"four"`, "Cache-Control", "max-age=99999999999"), []string{get + ` If-None-Match:"four"`}, "d:4"},
				{8 * 24 * time.Hour, 404, "", nil, []string{get + ` If-None-Match:"four"`},
					"fetching pac script " + server.URL + "/proxy.pac: the server answered 404 Not Found"},
			} {
				clock.advance(step.passed)
				server.set(step.status, step.body, step.header)
				if copied { // another process
					source = open(t, url, c)
				}
				if got := ask(t, source); got != step.want {
					t.Fatalf("step %d: %s, want %s", i, got, step.want)
				}
				if diff := cmp.Diff(step.asked, server.takeAsked()); diff != "" {
					t.Fatalf("step %d: the server was asked:\n%s", i, diff)
				}
			}
		})
	}
}

func TestCopy(t *testing.T) {
	server, clock := serve(t), new(clock)
	c := config(t, clock)
	c.Copy = filepath.Join(t.TempDir(), "copy")
	url := "pac+http://alice:hunter2@" + strings.TrimPrefix(server.URL, "http://") + "/proxy.pac"
	ask(t, open(t, url, c))
	text, err := os.ReadFile(c.Copy)
	if err != nil || strings.Contains(string(text), "hunter2") || !strings.HasSuffix(string(text), script("a:1")) {
		t.Errorf("the copy is %q, %v", text, err)
	}
	if info, err := os.Stat(c.Copy); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(c.Copy + ".*"); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	server.takeAsked()
	for name, copied := range map[string]string{
		"empty": "", "no first line": "{}", "not JSON": "x\n" + script("b:2"), "cut off": string(text[:len(text)-20]),
		"of another URL": strings.Replace(string(text), `"url":"`, `"url":"0`, 1),
		"too long":       string(text) + strings.Repeat("\n", 2<<20),
		"of the future":  strings.Replace(string(text), `"until":"1970`, `"until":"2970`, 1),
	} {
		if err := os.WriteFile(c.Copy, []byte(copied), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, open(t, url, c)); got != "a:1" || len(server.takeAsked()) != 1 {
			t.Errorf("a copy that is %s: %s", name, got)
		}
	}
	server.set(0, script("a:1"), http.Header{"Cache-Control": {"no-store"}})
	clock.advance(time.Hour)
	ask(t, open(t, url, c))
	if _, err := os.Stat(c.Copy); !os.IsNotExist(err) {
		t.Errorf("kept against no-store: %v", err)
	}
}

func TestFetchFailures(t *testing.T) {
	const secret = "hunter2"
	other := httptest.NewTLSServer(http.RedirectHandler("http://elsewhere.corp/proxy.pac?"+secret, http.StatusFound))
	t.Cleanup(other.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-release }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(release) })
	loop := httptest.NewServer(http.RedirectHandler("/again?"+secret, http.StatusFound))
	t.Cleanup(loop.Close)
	long := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("// x\n", 1<<20))
	}))
	t.Cleanup(long.Close)
	for _, tt := range []struct {
		name   string
		server *httptest.Server
		err    string // after "fetching pac script URL: ", or its end
	}{
		{"redirected to http", other, "redirected from https to http"},
		{"gone", gone, "connection refused"},
		{"silent", silent, "not done in 50ms"},
		{"in circles", loop, "more than 5 redirections"},
		{"5 MB (edge case 38)", long, "longer than 1024 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transport := tt.server.Client().Transport.(*http.Transport)
			t.Cleanup(transport.CloseIdleConnections)
			c := pac.Config{HTTP: transport}
			if tt.server == silent {
				c.Timeout = 50 * time.Millisecond
			}
			raw := strings.Replace(tt.server.URL, "://", "://alice:"+secret+"@", 1) + "/proxy.pac?key=" + secret
			got := ask(t, open(t, "pac+"+raw, c))
			if !strings.HasSuffix(got, tt.err) && !(tt.server == gone && runtime.GOOS == "windows") {
				t.Errorf("%s, want %s", got, tt.err)
			}
			if strings.Contains(got, secret) || !strings.Contains(got, tt.server.URL+"/proxy.pac") {
				t.Errorf("wrong name or a secret: %s", got)
			}
		})
	}
}

func TestOneFetchForAll(t *testing.T) {
	server, clock := serve(t), new(clock)
	source := open(t, "pac+"+server.URL, config(t, clock))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := source.Script(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if asked := server.takeAsked(); len(asked) != 1 {
		t.Errorf("asked %q", asked)
	}
}

func TestWaitingForAFetchEndsWithItsContext(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		fmt.Fprint(w, script("a:1"))
	}))
	t.Cleanup(server.Close)
	source := open(t, "pac+"+server.URL, config(t, new(clock)))
	first := make(chan error, 1)
	go func() { // joined below
		_, err := source.Script(t.Context())
		first <- err
	}()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Script(ctx); err == nil || !strings.HasPrefix(err.Error(), "waiting for pac script ") {
		t.Error(err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}
