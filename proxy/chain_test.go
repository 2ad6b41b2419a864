package proxy_test

import (
	"errors"
	"net"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

// TestChain runs bytes through each kind of proxy behind each other kind, each
// with its own credentials and its own authority.
func TestChain(t *testing.T) {
	for near, startNear := range starters {
		for far, startFar := range starters {
			t.Run(near+" then "+far, func(t *testing.T) {
				second := startFar(t, serve(t, func(c net.Conn, _ int) { echo(c) }), "")
				first := startNear(t, second.addr, "")
				before, err := proxy.Chain([]string{first.url(near, goodPassword)}, "--pre-proxy", first.config())
				if err != nil {
					t.Fatal(err)
				}
				c := second.config()
				c.Before = before
				s, err := proxy.Fixed(second.url(far, goodPassword), "--forward-proxy", c)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := proxy.Dial(s, parse(t, "https://edge.test"))(t.Context(), "tcp", target)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				exchangeEcho(t, conn, "")
			})
		}
	}
}

// TestChainErrors: each hop has its own setting in its errors, and a way that
// stops before its last proxy is not the last.
func TestChainErrors(t *testing.T) {
	unavailable := scripted(t, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
	through := serve(t, func(c net.Conn, _ int) { connectProxyTo(c, unavailable) })
	for _, tc := range []struct {
		name, near, want string
		raw              []string
	}{
		{"near one is dead", "", "forward proxy http://near.test:1 (--pre-proxy): refused for the test", []string{"socks5://far.test"}},
		{"near one does not reach the far one", unavailable,
			"none of 2 ways leads out: forward proxy http://near.test:1 (--pre-proxy): connect far.test:1080: 502 Bad Gateway; " +
				"forward proxy http://near.test:1 (--pre-proxy): connect other.test:80: 502 Bad Gateway",
			[]string{"socks5://far.test", "http://other.test"}},
		{"far one says no", through, "forward proxy http://far.test:80 (--forward-proxy): connect edge.test:443: 502 Bad Gateway",
			[]string{"http://far.test", "http://other.test"}},
		{"direct is behind the near one", unavailable, "forward proxy http://near.test:1 (--pre-proxy): connect edge.test:443: 502 Bad Gateway",
			[]string{"direct"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := proxy.Config{Dial: (&names{at: map[string]string{"near.test": tc.near}}).dial}
			var err error
			if c.Before, err = proxy.Chain([]string{"http://near.test:1"}, "--pre-proxy", c); err != nil {
				t.Fatal(err)
			}
			_, err = proxy.Dial(alternatives(t, c, tc.raw...), parse(t, "https://edge.test"))(t.Context(), "tcp", target)
			if text(err) != tc.want {
				t.Errorf("error %v\nwant  %s", err, tc.want)
			}
		})
	}
	_, err := proxy.Chain([]string{"http://a.test", "ftp://user:canary@b.test"}, "--pre-proxy", proxy.Config{})
	var setting *proxy.SettingError
	if !errors.As(err, &setting) || text(err) != "--pre-proxy: the scheme is none of http, https, socks5 and socks5h" {
		t.Errorf("error %v", err)
	}
}

func connectProxyTo(c net.Conn, leadsTo string) {
	if _, err := readHead(c); err == nil {
		lead(c, leadsTo, ok200)
	}
}
