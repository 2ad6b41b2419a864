package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

// canary is a password that no error and no log line may hold, in any of the
// forms that it travels in.
const canary = "c%61nary!+p4ss" // as in the URL

var canaryForms = []string{"c%61nary", "canary!", "canary%21", "dTpjYW5hcnkhK3A0c3M=", "OmNhbmFyeSEr", canaryHeader}

// canaryHeader is a header's value, which may be a secret, too.
const canaryHeader = "canary-of-a-header"

func checkCanary(t *testing.T, where, s string) {
	t.Helper()
	for _, form := range canaryForms {
		if strings.Contains(s, form) {
			t.Errorf("%s has the password in it: %s", where, s)
		}
	}
}

func TestEdgeCase52_NoPasswordInErrorsOrLogs(t *testing.T) {
	// Each proxy answers everything with its reply, which has in it what it was
	// sent where %s stands.
	replies := []string{
		"", "%s", "HTTP/1.1 %s", "HTTP/1.1 200", "HTTP/1.1 407 No\r\n\r\n%s",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Type: text/html\r\n\r\n<title>%s</title>",
		"HTTP/1.1 403 No: canary!+p4ss\r\nX-Squid-Error: canary!+p4ss\r\nVia: u:canary!+p4ss\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 403 No\r\nContent-Type: text/html\r\n\r\n<p>you <b>sent</b> canary&#33;+p4ss",
		"HTTP/1.1 403 canary-of-a-header\r\nX-Squid-Error: canary-of-a-header\r\nContent-Type: text/html\r\n\r\n<p>you <b>sent</b> canary-of-a-header",
		"HTTP/1.1 403 No\r\n\r\n" + strings.Repeat("x", 195) + "dTpjYW5hcnkhK3A0c3M=",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: canary!+p4ss, canary%21+p4ss, Other\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=\"canary!+p4ss\", nonce=n, qop=auth\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Digest nonce=n, algorithm=\"canary!+p4ss\"\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=x, nonce=n\r\nContent-Type: text/html\r\n\r\n<title>%s</title>",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM " + encode(ntlmChallenge([]byte("canary!+"), true)) + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM canary!+p4ss\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate canary!+p4ss\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 No\r\nLocation: http://u:canary!+p4ss@x.test/canary\r\nContent-Length: 0\r\n\r\n",
		"SSH-2.0-canary!+p4ss\r\n", "HTTP/1.1 canary!+p4ss\r\n\r\n", "canary!+p4ss\r\n\r\n", "dTpjYW5hcnkhK3A0c3M=\r\n\r\n", "\x05\x02", "\x05\xff", "\x01\x01", "\x05\x02\x01\x01",
	}
	for _, scheme := range proxy.Schemes() {
		for _, reply := range replies {
			addr := serve(t, func(c net.Conn, _ int) {
				sent := make([]byte, 4096)
				for {
					n, err := c.Read(sent)
					if err != nil {
						return
					}
					says := reply
					if strings.Contains(reply, "%s") {
						says = fmt.Sprintf(reply, sent[:n])
					}
					io.WriteString(c, says)
					if !strings.Contains(reply, "Content-Length") {
						return
					}
				}
			})
			var l logs
			raw := scheme + "://u:" + canary + "@proxy.test"
			s, err := proxy.Fixed(raw, "--forward-proxy", proxy.Config{Dial: to(addr), Log: l.logger(), Header: http.Header{"X-Team": {canaryHeader}}})
			if err != nil {
				t.Fatal(err)
			}
			edge := mustParse(t, "https://edge.test")
			ways, _ := s.Ways(t.Context(), edge)
			conn, err := ways[0].DialContext(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
				continue
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
				failed := asError(t, err)
				checkCanary(t, "the error", fmt.Sprintf(verb, err)+fmt.Sprintf(verb, failed.Err))
				checkCanary(t, "the way", fmt.Sprintf("%s %v", ways[0], ways[0].Hops[0]))
			}
			checkCanary(t, "the log", l.String())
			rt := &proxy.Transport{Selector: s}
			_, err = get(clientOf(rt), "http://edge.test/x")
			checkCanary(t, "the error of a request", text(err))
			rt.CloseIdleConnections()
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, auth := range []proxy.Authenticator{
			proxy.Basic{Username: "u", Password: "canary!+p4ss"}, proxy.Digest{Username: "u", Password: "canary!+p4ss"},
			proxy.NTLM{Username: "u", Password: "canary!+p4ss"}, &proxy.Negotiate{Username: "u", Password: "canary!+p4ss"},
		} {
			checkCanary(t, auth.Scheme(), fmt.Sprintf(verb, auth))
		}
	}
}
