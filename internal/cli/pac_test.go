package cli_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// script is a PAC script that always returns result.
func script(result string) string {
	return fmt.Sprintf("function FindProxyForURL(url, host) { return %q }", result)
}

// TestEdgeCase38_Script runs the program with scripts from everywhere.
func TestEdgeCase38_Script(t *testing.T) {
	w := newWorld(t)
	good := map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.Token()}
	u, err := url.Parse(w.ProxyURL("http"))
	if err != nil {
		t.Fatal(err)
	}
	result := "PROXY 127.0.0.1:1; SOCKS4 x; proxy " + u.Host
	served := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/proxy.pac" {
			http.NotFound(rw, r)
			return
		}
		io.WriteString(rw, script(result))
	}))
	t.Cleanup(served.Close)
	secure := httptest.NewUnstartedServer(served.Config.Handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := w.file(t, "script-ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	bySOCKS, err := url.Parse(w.ProxyURL("socks5"))
	if err != nil {
		t.Fatal(err)
	}
	file := w.file(t, "proxy.pac", []byte(script("SOCKS5 "+bySOCKS.Host)))
	asked := w.file(t, "asked.pac", []byte(`function FindProxyForURL(url, host) {
		return shExpMatch(host, "*.lab") && url.substring(0, 6) == "https:" ? "PROXY `+u.Host+`" : "PROXY 127.0.0.1:1" }`))
	guarded, err := url.Parse(w.ProxyURL("http+password"))
	if err != nil {
		t.Fatal(err)
	}
	data := func(s string) string { return "pac+data:," + url.PathEscape(s) }
	for _, c := range []struct {
		name, raw string
		code      int
		stderr    string // a part of it
	}{
		{"http", "pac+" + served.URL + "/proxy.pac", 0, "SOCKS version 4 is not spoken here"},
		{"kept", "PAC+" + served.URL + "/proxy.pac", 0, ""},
		{"https", "pac+" + secure.URL + "/proxy.pac", 0, ""},
		{"https of nobody known", "pac+" + secure.URL + "/proxy.pac?2", 3, "hint: if that authority is your organisation's, give its certificate with --forward-proxy-ca-path"},
		{"file", "pac+file:///" + strings.TrimPrefix(filepath.ToSlash(file), "/"), 0, ""},
		{"data", data(script("PROXY " + u.Host)), 0, ""},
		{"what it is asked", "pac+file:///" + strings.TrimPrefix(filepath.ToSlash(asked), "/"), 0, ""},
		{"password wanted", data(script("PROXY " + guarded.Host)), 3, "hint: give user and password in POMERIUM_FORWARD_PROXY_USER"},
		{"all dead", data(script("PROXY 127.0.0.1:1; SOCKS5 127.0.0.1:2")), 3, "(the pac script of --forward-proxy): dial"},
		{"throws", data("function FindProxyForURL() { throw 'x' }"), 3, "hint: ask whoever keeps the script"},
		{"nothing of use", data(script("SOCKS4 a:1")), 3, "hint: ask whoever keeps the script"},
		{"not found", "pac+" + served.URL + "/other.pac", 3, "hint: check the script's address in --forward-proxy"},
		{"no server", "pac+http://127.0.0.1:1/proxy.pac", 3, "hint: check the script's address in --forward-proxy"},
		{"not a script's URL", "pac+ftp://127.0.0.1:1/proxy.pac", 2, "none of pac+https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &run{stdin: "hello", env: good}
			args := w.tcp("echo.lab:7", "--forward-proxy", c.raw, "--listen", "-")
			if c.name == "https" {
				args = append(args, "--forward-proxy-ca-path", ca, "--forward-proxy-tls-server-name", "proxy.test") // that is no name of the web server
			}
			r.main(t, args...)
			if r.code != c.code || !strings.Contains(r.stderr, c.stderr) || (c.code == 0) != (r.stdout == "hello") {
				t.Errorf("exit code %d, want %d; %q; %s", r.code, c.code, r.stdout, r.stderr)
			}
		})
	}
	if n := w.DirectConnections(); n != 0 {
		t.Errorf("%d connections to the edge were direct", n)
	}
}

// TestEdgeCase38_ScriptBesideProxies: a script that cannot be had is passed over
// where there is an alternative, and is never fetched before it is needed.
func TestEdgeCase38_ScriptBesideProxies(t *testing.T) {
	w := newWorld(t)
	var fetched atomic.Int32
	served := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		http.NotFound(rw, r)
	}))
	t.Cleanup(served.Close)
	r := &run{stdin: "hello", env: map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.Token(),
		"POMERIUM_FORWARD_PROXY": "pac+" + served.URL + "/proxy.pac " + w.ProxyURL("http")}}
	r.main(t, append(withoutFlag(w.tcp("echo.lab:7"), "--forward-proxy"), "--listen", "-")...)
	if r.code != 0 || r.stdout != "hello" || fetched.Load() == 0 {
		t.Errorf("exit code %d, %q, %s; fetched %d times", r.code, r.stdout, r.stderr, fetched.Load())
	}
	fetched.Store(0)
	l := listens(t, nil, w.tcp("echo.lab:7", "--forward-proxy", "pac+"+served.URL+"/proxy.pac")...)
	l.end()
	if n := fetched.Load(); n != 0 || l.code != 0 {
		t.Errorf("fetched %d times before a connection needed it; exit code %d", n, l.code)
	}
}
