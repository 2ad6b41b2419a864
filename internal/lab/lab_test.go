package lab_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/lab"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, config lab.Config) *lab.Lab {
	t.Helper()
	l, err := lab.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func pool(t *testing.T, pem []byte) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	return p
}

// through connects to the edge through the lab's plain proxy.
func through(t *testing.T, l *lab.Lab) *net.TCPConn {
	t.Helper()
	u, _ := url.Parse(l.ProxyURL("http"))
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", l.EdgeURL().Host)
	line := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
	if _, err := io.ReadFull(c, line); err != nil || !strings.Contains(string(line), " 200 ") {
		t.Fatalf("proxy answered %q, %v", line, err)
	}
	return c.(*net.TCPConn)
}

func edgeTLS(t *testing.T, l *lab.Lab, alpn ...string) *tls.Conn {
	t.Helper()
	return secure(t, l, through(t, l), alpn...)
}

func secure(t *testing.T, l *lab.Lab, conn net.Conn, alpn ...string) *tls.Conn {
	t.Helper()
	c := tls.Client(conn, &tls.Config{ServerName: "edge.lab", RootCAs: pool(t, l.CAPEM()), NextProtos: alpn})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// connect writes a CONNECT for HTTP/1.1 and reads the head of the answer.
func connect(t *testing.T, c net.Conn, destination string, header ...string) (*http.Response, *bufio.Reader) {
	t.Helper()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", destination, strings.Join(append(header, ""), "\r\n"))
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return resp, br
}

// eofSpy sees the FIN that crypto/tls takes for an end when it comes between two records. After a
// close_notify, crypto/tls does not read on, and the FIN is not seen.
type eofSpy struct {
	net.Conn
	eof bool
}

func (s *eofSpy) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.eof = s.eof || err == io.EOF
	return n, err
}

func TestH1Tunnel(t *testing.T) {
	l := start(t, lab.Config{})
	token := "Authorization: Pomerium " + l.Token()

	t.Run("echo", func(t *testing.T) {
		c := edgeTLS(t, l, "http/1.1")
		resp, br := connect(t, c, "Echo.lab:7", token)
		if resp.StatusCode != 200 || resp.Header.Get("X-Request-Id") == "" {
			t.Fatalf("answer %v", resp)
		}
		io.WriteString(c, "ping")
		got := make([]byte, 4)
		if _, err := io.ReadFull(br, got); err != nil || string(got) != "ping" {
			t.Fatalf("read %q, %v", got, err)
		}
	})
	t.Run("destination ends", func(t *testing.T) {
		spy := &eofSpy{Conn: through(t, l)}
		_, br := connect(t, secure(t, l, spy), "bulk-1m.lab:1", token)
		want, _ := io.ReadAll(lab.BulkReader(1 << 20))
		got, err := io.ReadAll(br)
		if err != nil || spy.eof || string(got) != string(want) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("banner shares a record with the head", func(t *testing.T) {
		c := edgeTLS(t, l, "http/1.1")
		_, br := connect(t, c, "banner.lab:22", token)
		if br.Buffered() != len("SSH-2.0-lab\r\n") {
			t.Fatalf("%d bytes buffered", br.Buffered())
		}
	})
	t.Run("half-close is a close", func(t *testing.T) {
		c := edgeTLS(t, l, "http/1.1")
		_, br := connect(t, c, "half-close.lab:1", token)
		io.WriteString(c, "hello")
		c.CloseWrite()
		if got, _ := io.ReadAll(br); len(got) != 0 {
			t.Fatalf("read %q", got)
		}
	})
	t.Run("reset looks like an end", func(t *testing.T) {
		spy := &eofSpy{Conn: through(t, l)}
		_, br := connect(t, secure(t, l, spy), "reset-1k.lab:1", token)
		if got, err := io.ReadAll(br); err != nil || spy.eof || len(got) != 1<<10 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("cut", func(t *testing.T) {
		for _, reset := range []bool{false, true} {
			spy := &eofSpy{Conn: through(t, l)}
			c := secure(t, l, spy)
			_, br := connect(t, c, "banner.lab:22", token)
			l.Cut(reset)
			if _, err := io.ReadAll(br); err == nil && !spy.eof {
				t.Fatal("a cut passed for an end")
			}
		}
	})
	if n := l.DirectConnections(); n != 0 {
		t.Fatalf("%d direct connections", n)
	}
}

// refusals are the answers of PROTOCOL.md 2.3, the same over both versions of HTTP.
type refusal struct {
	name, destination, token, accept string
	want                             int
	author                           string // member of the JSON body, "html" or "" for an empty one
}

func refusals(l *lab.Lab, version string) []refusal {
	stale := map[string]int{"0.33": 401, "0.32": 302}[version]
	const json = "application/json"
	return []refusal{
		{"no token", "echo.lab:7", "", "", 302, "html"},
		{"no token, json", "echo.lab:7", "", json, 401, "error"},
		{"stale", "echo.lab:7", "Pomerium " + l.StaleToken(), "*/*", stale, "html"},
		{"stale, json", "echo.lab:7", "Pomerium " + l.StaleToken(), json, 401, "error"},
		{"garbage", "echo.lab:7", "Pomerium x", "", stale, "html"},
		{"another scheme", "echo.lab:7", "Bearer x", "", 302, "html"},
		{"scheme in another case", "echo.lab:7", "pomerium " + l.Token(), json, 401, "error"},
		{"denied", "echo.lab:7", "Pomerium " + l.DeniedToken(), json, 403, "error"},
		{"denied, html", "echo.lab:7", "Pomerium " + l.DeniedToken(), "", 403, "html"},
		{"unknown", "nowhere.lab:7", "", json, 404, "statusText"},
		{"unknown port", "echo.lab:8", "", json, 404, "statusText"},
		{"blank in accept", "nowhere.lab:7", "", "x/y, application/json", 404, "html"},
		{"udp route", "udp.lab:53", "Pomerium " + l.Token(), json, 403, ""},
		{"destination refuses", "refused.lab:1", "Pomerium " + l.Token(), json, 503, "statusText"},
		{"authorization down", "no-auth.lab:1", "Pomerium " + l.Token(), json, 503, ""},
	}
}

func (r refusal) check(t *testing.T, status int, header http.Header, body []byte) {
	t.Helper()
	members := make(map[string]any)
	json.Unmarshal(body, &members)
	_, isJSON := members[r.author]
	right := r.author == "" && len(body) == 0 || r.author == "html" && strings.HasPrefix(string(body), "<!DOCTYPE html>") || isJSON
	if status != r.want || !right || header.Get("X-Request-Id") == "" {
		t.Errorf("status %d, header %v, body %q; want %d by %q", status, header, body, r.want, r.author)
	}
}

func TestH1Refusals(t *testing.T) {
	for _, version := range []string{"0.33", "0.32"} {
		l := start(t, lab.Config{Version: version})
		for _, r := range refusals(l, version) {
			t.Run(version+" "+r.name, func(t *testing.T) {
				c := edgeTLS(t, l)
				resp, _ := connect(t, c, r.destination, "Authorization: "+r.token, "Accept: "+r.accept)
				body, err := io.ReadAll(resp.Body)
				if err != nil || !resp.Close {
					t.Errorf("close %v, %v", resp.Close, err)
				}
				r.check(t, resp.StatusCode, resp.Header, body)
			})
		}
	}
}

func TestMalformedConnect(t *testing.T) {
	l := start(t, lab.Config{PlainEdge: true})
	for destination, want := range map[string]int{"echo.lab": 400, "/echo.lab:7": 400, "http://echo.lab:7/": 400, "echo.lab:7": 302} {
		if resp, _ := connect(t, through(t, l), destination); resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", destination, resp.Status, want)
		}
	}
}

func TestDirectConnection(t *testing.T) {
	l := start(t, lab.Config{})
	if c, err := net.Dial("tcp", l.EdgeAddr()); err == nil { // the reset may already meet the dial
		defer c.Close()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatal("served")
		}
	}
	if s := l.Stats(); s.Direct != 1 || s.Connections != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestProxies(t *testing.T) {
	l := start(t, lab.Config{})
	roots := pool(t, l.CAPEM())
	roots.AppendCertsFromPEM(l.ProxyCAPEM())
	for _, kind := range []string{"http", "https", "socks5", "http+password", "https+password", "socks5+password"} {
		t.Run(kind, func(t *testing.T) {
			get := func(u string, proxy *url.URL) (int, error) {
				tr := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}
				defer tr.CloseIdleConnections()
				resp, err := (&http.Client{Transport: tr}).Get(u)
				if err != nil {
					return 0, err
				}
				defer resp.Body.Close()
				return resp.StatusCode, nil
			}
			proxy, err := url.Parse(l.ProxyURL(kind))
			if err != nil {
				t.Fatal(err)
			}
			if status, err := get(l.EdgeURL().String()+"/healthz", proxy); err != nil || status != 200 {
				t.Errorf("status %d, %v", status, err)
			}
			if status, err := get("https://other.test/", proxy); err == nil {
				t.Errorf("unknown host: status %d", status)
			}
			if proxy.User != nil {
				proxy.User = url.UserPassword("lab user", "wrong")
				if status, err := get(l.EdgeURL().String()+"/healthz", proxy); err == nil && status != 407 {
					t.Errorf("wrong password: status %d", status)
				}
			}
		})
	}
}

func TestPasswordOnSameConnection(t *testing.T) {
	l := start(t, lab.Config{})
	proxy, _ := url.Parse(l.ProxyURL("http+password"))
	c, err := net.Dial("tcp", proxy.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, br := connect(t, c, l.EdgeURL().Host)
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != 407 || resp.Header.Get("Proxy-Authenticate") != `Basic realm="lab"` {
		t.Fatal(resp)
	}
	password, _ := proxy.User.Password()
	basic := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", l.EdgeURL().Host, basic)
	if resp, err = http.ReadResponse(br, &http.Request{Method: "CONNECT"}); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
}

func TestProxyIdle(t *testing.T) {
	l := start(t, lab.Config{ProxyIdle: 10 * time.Millisecond})
	if _, err := io.ReadAll(through(t, l)); err == io.EOF {
		t.Fatal(err)
	}
}

// edgeClient is an HTTP client that reaches the edge through the lab's proxy.
func edgeClient(t *testing.T, l *lab.Lab, h2 bool) *http.Client {
	t.Helper()
	proxy, _ := url.Parse(l.ProxyURL("http"))
	tr := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool(t, l.CAPEM())}, ForceAttemptHTTP2: h2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(t *testing.T, c *http.Client, u, token string) (*http.Response, string) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", u, nil)
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Pomerium "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

func TestSignIn(t *testing.T) {
	for _, config := range []lab.Config{{}, {LocalCallback: true}} {
		l := start(t, config)
		c := edgeClient(t, l, false)
		edge := l.EdgeURL().String()
		var got url.Values
		client := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.Query() }))
		defer client.Close()

		login := edge + "/.pomerium/api/v1/login?pomerium_redirect_uri="
		for to, want := range map[string]int{"": 404, "ftp://localhost/": 400, "https://example.com/": 400, "http://[::1]:1/x": 200} {
			if resp, _ := get(t, c, login+url.QueryEscape(to), ""); resp.StatusCode != want {
				t.Errorf("redirect to %q: %s", to, resp.Status)
			}
		}
		_, signIn := get(t, c, login+url.QueryEscape(client.URL+"/nonce?a=b"), "")
		if resp, err := http.Get(signIn); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		} else {
			resp.Body.Close()
		}
		if err := l.Browse(context.Background(), strings.Replace(signIn, "nonce", "other", 1)); err == nil {
			t.Error("a changed URL was taken")
		}
		if err := l.Browse(context.Background(), signIn); err != nil {
			t.Fatal(err)
		}
		token := got.Get("pomerium_jwt")
		if len(got) != 2 || got.Get("a") != "b" || l.Stats().SignIns != 1 {
			t.Fatalf("redirect with %v after %d sign-ins", got, l.Stats().SignIns)
		}
		if resp, _ := connect(t, edgeTLS(t, l), "echo.lab:7", "Authorization: Pomerium "+token); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		if resp, _ := get(t, c, edge+"/healthz", token); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
		http.DefaultClient.CloseIdleConnections()
	}
}

// The callback is made from the Host header: a browser leaves the default port out, and the
// signature no longer fits (PROTOCOL.md 4.2).
func TestDefaultPortInHostBreaksCallback(t *testing.T) {
	l := start(t, lab.Config{})
	redirect := "?pomerium_redirect_uri=" + url.QueryEscape("http://127.0.0.1:1/")
	for host, want := range map[string]func(error) bool{
		"edge.lab:443": func(err error) bool { return err != nil && strings.Contains(err.Error(), "400") },
		"edge.lab":     func(err error) bool { return errors.Is(err, sock.ErrRefused) }, // it gets to the callback
	} {
		c := edgeClient(t, l, false)
		req, _ := http.NewRequest("GET", l.EdgeURL().String()+"/.pomerium/api/v1/login"+redirect, nil)
		req.Host = host
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		signIn, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err := l.Browse(t.Context(), string(signIn)); !want(err) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
