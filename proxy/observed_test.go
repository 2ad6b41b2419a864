package proxy_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

// TestEachStepIsLogged: who looks for a fault reads what the proxy said of
// itself, what it asked for and what it took.
func TestEachStepIsLogged(t *testing.T) {
	s := answer(t, func(n int, _ string) (string, bool) {
		if n == 1 {
			return "HTTP/1.1 407 No\r\nServer: squid/6.9\r\nVia: 1.1 gate\x1b[2J\r\nProxy-Authenticate: NTLM\r\n" +
				"Proxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n", true
		}
		return "HTTP/1.1 200 OK\r\nProxy-Agent: other\r\n\r\n", true
	})
	var l logs
	h := &proxy.Hop{URL: parse(t, "http://u:p@proxy.test"), Dial: to(s.addr), Log: l.logger(), Auth: []proxy.Authenticator{proxy.Basic{Username: "u", Password: "p"}}}
	conn, err := h.DialContext(t.Context(), "tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, want := range []string{
		`msg="proxy answered" hop=http://proxy.test:80 status=407 agent="Server: squid/6.9; Via: 1.1 gate[2J" offered="NTLM, Basic"`,
		`msg="proxy answered" hop=http://proxy.test:80 status=200 agent="Proxy-Agent: other" offered=""`,
		`msg="proxy authenticated" hop=http://proxy.test:80 scheme=Basic`,
	} {
		if !strings.Contains(l.String(), want) {
			t.Errorf("%s is not in\n%s", want, l.String())
		}
	}
}

func TestReach(t *testing.T) {
	asked := make(chan string, 1)
	at := serve(t, func(c net.Conn, _ int) {
		head, _ := readHead(c)
		asked <- head
	})
	if err := hop(t, "http://proxy.test", to(at)).Reach(t.Context()); err != nil {
		t.Error(err)
	}
	if head := <-asked; head != "" {
		t.Errorf("the proxy was asked %q", head)
	}
	dead := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dead") }
	if err := hop(t, "socks5://proxy.test", dead).Reach(t.Context()); asError(t, err).Op != proxy.OpDial {
		t.Error(err)
	}
}

func TestException(t *testing.T) {
	for _, tc := range []struct{ list, target, want string }{
		{"", "https://edge.test", ""},
		{"other.test", "https://edge.test", ""},
		{"other.test, .edge.test ,test", "https://a.edge.test", ".edge.test"},
		{"edge.test:8443,edge.test:443", "https://edge.test:443", "edge.test:443"},
		{"10.0.0.0/8", "https://10.1.2.3", "10.0.0.0/8"},
		{",,*", "https://edge.test", "*"},
	} {
		t.Run(tc.list+" "+tc.target, func(t *testing.T) {
			u, err := url.Parse(tc.target)
			if err != nil {
				t.Fatal(err)
			}
			if got := proxy.Exception(tc.list, u); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
