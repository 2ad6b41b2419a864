//go:build linux

package world_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

var shared *world.World

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if err := world.Ensure(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "e2e/world: left out:", err)
			if os.Getenv("CI") != "" {
				return 1
			}
			return 0
		}
		var err error
		if shared, err = world.Start(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer shared.Close()
		return m.Run()
	}())
}

func TestOnlyTheProxyIsInReach(t *testing.T) {
	w, err := world.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if n, err := w.Strays(); n != 0 || err != nil {
		t.Errorf("%d strays before anything was sent (%v)", n, err)
	}
	if _, err = w.ProxyHost.Run(t.Context(), "curl", "-sS", "--cacert", w.CA.CA, world.EdgeURL+"/.pomerium/user"); err != nil {
		t.Errorf("from the proxies' host: %v", err)
	}
	_, err = w.UserHost.Run(t.Context(), "curl", "-sS", "--connect-timeout", "1", "--resolve", "edge.test:8443:198.18.2.2", world.EdgeURL)
	if err == nil {
		t.Error("the edge was reached without a proxy")
	}
	addressed, err := w.Strays()
	if addressed == 0 {
		t.Errorf("a direct dial was not counted (%v)", err)
	}
	_, err = w.UserHost.Run(t.Context(), "curl", "-sS", world.EdgeURL)
	if err == nil || !strings.Contains(err.Error(), "resolve host") {
		t.Errorf("the edge's name: %v, want that it does not resolve", err)
	}
	if named, err := w.Strays(); named <= addressed {
		t.Errorf("looking up a name was not counted: %d after %d (%v)", named, addressed, err)
	}
}

// TestAnswers holds the edge against what is known of a Pomerium server.
func TestAnswers(t *testing.T) {
	const json, html, none = "application/json", "text/html; charset=UTF-8", ""
	for _, c := range []struct {
		dest, token, accept string
		status              int
		contentType, body   string // body is a regular expression
	}{
		{world.Echo, world.GoodToken, json, 200, none, ``},
		{world.Echo, "", "", 302, html, `Login`},
		{world.Echo, "", json, 401, json, `^{"error":"Unauthenticated","request_id":".+"}$`},
		{world.Echo, world.StaleToken, json, 401, json, `^{"error":"Unauthenticated","request_id":".+"}$`},
		{world.Echo, world.StaleToken, "", 401, html, `Unauthenticated`},
		{world.Echo, world.DeniedToken, json, 403, json, `^{"error":"Forbidden","request_id":".+"}$`},
		{world.Echo, world.DeniedToken, "*/*", 403, html, `Forbidden`},
		{"nobody.test:1", world.GoodToken, json, 404, json, `^{"requestId":".+","status":"404","statusText":"route_not_found"}$`},
		{"nobody.test:1", world.GoodToken, "", 404, html, `route_not_found`},
		{world.Refused, world.GoodToken, json, 503, json, `"statusText":"upstream_reset_before_response_started{remote_connection_failure`},
		{world.Datagram, world.GoodToken, json, 403, none, `^$`},
	} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			t.Run(fmt.Sprintf("%s/%s/%s/%s", protocol, c.dest, c.token, c.accept), func(t *testing.T) {
				resp, body := connect(t, protocol, c.dest, c.token, c.accept)
				if resp.StatusCode != c.status || !strings.HasPrefix(resp.Header.Get("Content-Type"), c.contentType) {
					t.Errorf("%s, %s; want %d, %s", resp.Status, resp.Header.Get("Content-Type"), c.status, c.contentType)
				}
				if !regexp.MustCompile(c.body).MatchString(body) {
					t.Errorf("body %q does not match %s", body, c.body)
				}
				if resp.Header.Get("X-Request-Id") == "" {
					t.Error("no request id")
				}
			})
		}
	}
}

// connect asks the edge for a tunnel, and reads the answer to its end where it is not one.
func connect(t *testing.T, protocol, dest, token, accept string) (*http.Response, string) {
	t.Helper()
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(shared.CA.CA)
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal("reading the CA", err)
	}
	conn, err := shared.ProxyHost.Dial("tcp", "198.18.2.2:8443")
	if err != nil {
		t.Fatal(err)
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: world.EdgeName, NextProtos: []string{protocol}})
	t.Cleanup(func() { secure.Close() })
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return secure, secure.Handshake() },
	}
	t.Cleanup(transport.CloseIdleConnections)
	up, feed := io.Pipe()
	t.Cleanup(func() { feed.Close() })
	req := &http.Request{Method: "CONNECT", URL: &url.URL{Scheme: "https", Host: "edge.test:8443"}, Host: dest, Header: http.Header{}, Body: up}
	if protocol == "http/1.1" {
		req.Body = nil
	}
	if token != "" {
		req.Header.Set("Authorization", "Pomerium "+token)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := secure.ConnectionState().NegotiatedProtocol; got != protocol {
		t.Fatalf("speaks %s, not %s", got, protocol)
	}
	if resp.StatusCode == 200 {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp, string(body)
}

// TestProxies sends a request through each forward proxy.
func TestProxies(t *testing.T) {
	for _, kind := range world.Kinds() {
		t.Run(kind, func(t *testing.T) {
			p, err := shared.Proxy(t.Context(), kind)
			if err != nil {
				t.Fatal(err)
			}
			u := *p.URL
			if u.Scheme == "socks5" {
				u.Scheme = "socks5h"
			}
			get := func(proxy string) (string, error) {
				out, err := shared.UserHost.Run(t.Context(), "curl", "-sS", "--proxy", proxy, "--proxy-cacert", p.CA, "--cacert", shared.CA.CA,
					"-H", "Authorization: Pomerium "+world.GoodToken, world.EdgeURL+"/.pomerium/user")
				return string(out), err
			}
			if out, err := get(u.String()); err != nil || !json.Valid([]byte(out)) {
				t.Errorf("%q, %v\n%s", out, err, p.Tail())
			}
			if u.User != nil {
				u.User = url.UserPassword(world.User, "wrong")
				if out, err := get(u.String()); err == nil {
					t.Errorf("a wrong password: %q", out)
				}
			}
		})
	}
}

func TestServers(t *testing.T) {
	if err := shared.StartPostgres(t.Context()); err != nil {
		t.Error(err)
	}
	if err := shared.StartRedis(t.Context()); err != nil {
		t.Error(err)
	}
	config, err := shared.StartSSH(t.Context())
	if err != nil {
		t.Error(err)
	}
	if out, err := shared.EdgeHost.Run(t.Context(), "psql", "-h", "127.0.0.1", "-U", "postgres", "-Atc", "select 6*7"); string(out) != "42\n" {
		t.Errorf("psql: %q, %v", out, err)
	}
	if out, err := shared.EdgeHost.Run(t.Context(), "redis-cli", "ping"); string(out) != "PONG\n" {
		t.Errorf("redis: %q, %v", out, err)
	}
	if out, err := shared.EdgeHost.Run(t.Context(), "ssh", "-F", config, "-o", "HostKeyAlias=ssh.test", "127.0.0.1", "echo hello"); string(out) != "hello\n" {
		t.Errorf("ssh: %q, %v", out, err)
	}
}

func TestPattern(t *testing.T) {
	whole := make([]byte, 1000)
	io.ReadFull(world.NewPattern(), whole)
	p, pieces := world.NewPattern(), []byte{}
	for n := 1; len(pieces) < len(whole); n++ {
		piece := make([]byte, min(n, len(whole)-len(pieces)))
		io.ReadFull(p, piece)
		pieces = append(pieces, piece...)
	}
	if !bytes.Equal(whole, pieces) {
		t.Error("reading the pattern in pieces gives other bytes")
	}
}
