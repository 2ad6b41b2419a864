//go:build linux

package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// TestRefusals runs the program as ssh does, on standard input and output, where the exit code says who refused.
func TestRefusals(t *testing.T) {
	wrong := func(p world.Proxy) *world.Proxy {
		u := *p.URL
		u.User = url.UserPassword(world.User, "canary")
		p.URL = &u
		return &p
	}
	absent := func(p world.Proxy) *world.Proxy {
		p.URL = &url.URL{Scheme: "http", Host: "proxy.test:9"}
		return &p
	}
	untrusted := func(p world.Proxy) *world.Proxy {
		p.CA = w.CA.CA // the edge's, which says nothing about the proxy
		return &p
	}
	for _, c := range []struct {
		name, kind  string
		change      func(world.Proxy) *world.Proxy
		dest, token string
		code        int
		message     string // a regular expression that standard error matches
	}{
		{"wrong password", "squid-basic", wrong, world.Echo, world.GoodToken, 3, `proxy\.test:3129.*refused the user name or the password`},
		{"wrong password for TLS", "squid-tls-basic", wrong, world.Echo, world.GoodToken, 3, `proxy\.test:3131.*refused the user name or the password`},
		{"wrong password for dante", "dante-password", wrong, world.Echo, world.GoodToken, 3, `proxy\.test:1081`},
		{"wrong password for microsocks", "microsocks-password", wrong, world.Echo, world.GoodToken, 3, `proxy\.test:1083`},
		{"wrong password for apache", "apache-basic", wrong, world.Echo, world.GoodToken, 3, `proxy\.test:3151.*refused the user name or the password`},
		{"wrong password for apache's digest", "apache-digest", wrong, world.Echo, world.GoodToken, 3, `proxy\.test:3152.*refused the user name or the password`},
		{"nobody listens", "squid", absent, world.Echo, world.GoodToken, 3, `proxy\.test:9.*refused`},
		{"unknown CA", "squid-tls", untrusted, world.Echo, world.GoodToken, 3, `proxy\.test:3130.*certificate`},
		{"stale token", "squid", nil, world.Echo, world.StaleToken, 4, `edge\.test`},
		{"forbidden", "squid", nil, world.Echo, world.DeniedToken, 5, `(?s)edge\.test.*[0-9a-f-]{36}`},
		{"no such route", "squid", nil, "nobody.test:1", world.GoodToken, 5, `(?s)nobody\.test:1.*route.*[0-9a-f-]{36}`},
		{"other kind of route", "squid", nil, world.Datagram, world.GoodToken, 5, `(?s)dns\.test:53.*[Uu][Dd][Pp]`},
		{"destination refuses", "squid", nil, world.Refused, world.GoodToken, 5, `(?s)refused\.test:1.*[Cc]onnection.refused`},
	} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(c.name+"/"+protocol, func(t *testing.T) {
				oneWay(t)
				p := proxy(t, c.kind)
				if c.change != nil {
					p = c.change(*p)
				}
				r := run(t, nil, binary, arguments(p, protocol, c.dest, "--service-account", c.token, "--listen", "-")...)
				if r.code != c.code || r.stdout != "" || !regexp.MustCompile(c.message).MatchString(r.stderr) {
					t.Errorf("exit code %d, want %d; standard output %q; standard error, to match %q:\n%s", r.code, c.code, r.stdout, c.message, r.stderr)
				}
				for _, secret := range []string{"canary", c.token, world.Password} {
					if strings.Contains(r.stderr, secret) {
						t.Errorf("%q is in the message:\n%s", secret, r.stderr)
					}
				}
			})
		}
	}
}

// TestListeners speaks with each listener of the edge what that offers.
func TestListeners(t *testing.T) {
	for _, edge := range []string{world.EdgeURL, world.EdgeH1, world.EdgeH2, world.EdgeText} {
		for _, kind := range []string{"squid", "dante"} {
			t.Run(fmt.Sprintf("%s/%s", edge, kind), func(t *testing.T) {
				oneWay(t)
				args := arguments(proxy(t, kind), "auto", world.Web, append(goodToken, "--pomerium-url", edge)...)
				tun := open(t, args)
				if out := must(t, nil, "curl", "-sS", "http://"+tun.Addr+"/"); out != "GET /\n" {
					t.Errorf("curl printed %q", out)
				}
			})
		}
	}
}

// TestEnvironment chooses the proxy by variables.
func TestEnvironment(t *testing.T) {
	for _, c := range []struct{ kind, variable, scheme string }{
		{"squid-basic", "HTTPS_PROXY", "http"},
		{"tinyproxy", "https_proxy", "http"},
		{"dante-password", "ALL_PROXY", "socks5h"},
	} {
		t.Run(c.variable, func(t *testing.T) {
			oneWay(t)
			u := *proxy(t, c.kind).URL
			u.Scheme = c.scheme
			r := run(t, strings.NewReader("GET /x HTTP/1.0\r\n\r\n"), "env", c.variable+"="+u.String(), binary, "tcp", world.Web, "--listen", "-",
				"--pomerium-url", world.EdgeURL, "--alternate-ca-path", w.CA.CA, "--service-account", world.GoodToken)
			if r.code != 0 || !strings.HasSuffix(r.stdout, "GET /x\n") {
				t.Errorf("exit code %d, output %q\n%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}

// TestSignIn lets several connections at once need a token: one page is opened, on the same way out, and the token is kept
// for the next run.
func TestSignIn(t *testing.T) {
	for _, kind := range []string{"squid-basic", "dante"} {
		t.Run(kind, func(t *testing.T) {
			oneWay(t)
			p := proxy(t, kind)
			u := *p.URL
			if u.Scheme == "socks5" {
				u.Scheme = "socks5h"
			}
			browser := filepath.Join(t.TempDir(), "browser")
			script := fmt.Sprintf("#!/bin/sh\nexec curl -sSL --proxy '%s' --noproxy 127.0.0.1,localhost --cacert '%s' -o /dev/null \"$1\"\n", &u, w.CA.CA)
			if err := os.WriteFile(browser, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			home := t.TempDir()
			before := w.SignIn.Visits()
			for range 2 {
				tun := openAt(t, home, arguments(p, "auto", world.Web, "--browser-cmd", browser))
				var all sync.WaitGroup
				for range 5 {
					all.Go(func() {
						r := run(t, nil, "curl", "-sS", "http://"+tun.Addr+"/")
						if r.stdout != "GET /\n" {
							t.Errorf("curl: %+v", r)
						}
					})
				}
				all.Wait()
			}
			if n := w.SignIn.Visits() - before; n != 1 {
				t.Errorf("%d sign-ins, want 1", n)
			}
		})
	}
}
