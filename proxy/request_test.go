package proxy_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

// asked returns the head of the CONNECT for addr, and the error of the dial.
func asked(t *testing.T, h *proxy.Hop, addr string) (string, error) {
	t.Helper()
	heads := make(chan string, 1)
	h.Dial = piped(t, func(c net.Conn) {
		head, _ := readHead(c)
		heads <- head
	})
	_, err := h.DialContext(t.Context(), "tcp", addr)
	select {
	case head := <-heads:
		return head, err
	default:
		return "", err
	}
}

func TestEdgeCase22_Targets(t *testing.T) {
	for _, tc := range []struct{ addr, authority, err string }{
		{addr: "edge.test:443", authority: "edge.test:443"},
		{addr: "Edge.Test.:0443", authority: "Edge.Test.:443"},
		{addr: "an_edge.test:1", authority: "an_edge.test:1"},
		{addr: "192.0.2.1:443", authority: "192.0.2.1:443"},
		{addr: "[2001:DB8:0::1]:443", authority: "[2001:db8::1]:443"},
		{addr: "bücher.example:443", authority: "xn--bcher-kva.example:443"},
		{addr: "BÜCHER.example.:443", authority: "xn--bcher-kva.example.:443"},
		{addr: "[fe80::1%eth0]:443", err: `address "[fe80::1%eth0]:443" has a zone, which means something only on this machine: a proxy cannot reach it`},
		{addr: "edge.test", err: "address edge.test: missing port in address"},
		{addr: "edge.test:0", err: `address "edge.test:0": the port is 0`},
		{addr: "edge.test:65536", err: `address "edge.test:65536": the port is over 65535`},
		{addr: "edge test:443", err: `address "edge test:443": the host name has a character that no host name has`},
		{addr: "edge.test\r\nX: y:443", err: `address edge.test` + "\r\n" + `X: y:443: too many colons in address`},
		{addr: "edge\r\n:443", err: `address "edge\r\n:443": the host name has a character that no host name has`},
		{addr: "a\u2f20.test:443\u200d", err: "address \"a⼠.test:443\u200d\": the port is not a number"},
		{addr: "xn--\u00fc.test:443", err: "address \"xn--ü.test:443\": the host name is not a valid internationalized name"},
		{addr: strings.Repeat("a", 256) + ":443", err: `address "` + strings.Repeat("a", 256) + `:443": the host name is longer than 255 bytes`},
	} {
		head, err := asked(t, hop(t, "http://proxy.test:3128", nil), tc.addr)
		if tc.err != "" {
			if want := "dialing through a proxy: " + tc.err; strings.ReplaceAll(text(err), "\\u200d", "\u200d") != want || head != "" {
				t.Errorf("%q:\n got %v\nwant %s", tc.addr, err, want)
			}
			continue
		}
		if !strings.HasPrefix(head, "CONNECT "+tc.authority+" HTTP/1.1\r\n") || field(head, "Host") != tc.authority {
			t.Errorf("%q: asked\n%s", tc.addr, head)
		}
	}
}

func TestEdgeCase23_WhatProxiesDemand(t *testing.T) {
	h := hop(t, "http://proxy.test:3128", nil)
	h.Header = http.Header{"x-team": {"a", "b"}}
	head, _ := asked(t, h, target)
	want := "CONNECT edge.test:443 HTTP/1.1\r\nHost: edge.test:443\r\nProxy-Connection: Keep-Alive\r\n" +
		"User-Agent: pomerium-cli\r\nX-Team: a\r\nX-Team: b\r\n\r\n"
	if head != want {
		t.Errorf("asked\n%q, want\n%q", head, want)
	}
}

// TestEdgeCase23_HostWithPort: some proxies refuse what RFC 9112 3.2.3 asks for. It
// is told as they tell it, and asked once.
func TestEdgeCase23_HostWithPort(t *testing.T) {
	p := answer(t, func(_ int, head string) (string, bool) {
		if strings.Contains(field(head, "Host"), ":") {
			return "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\ninvalid Host", true
		}
		return ok200, true
	})
	_, err := hop(t, "http://proxy.test:3128", to(p.addr)).DialContext(t.Context(), "tcp", target)
	if want := "forward proxy http://proxy.test:3128: connect edge.test:443: 400 Bad Request: invalid Host"; text(err) != want || p.requests.Load() != 1 {
		t.Errorf("error %v after %d requests, want %s", err, p.requests.Load(), want)
	}
}

func TestEdgeCase23_HeaderInjection(t *testing.T) {
	for _, tc := range []struct {
		header http.Header
		err    string
	}{
		{http.Header{"X": {"a\r\nProxy-Authorization: b"}}, "the value of the extra header X has a line break or control character"},
		{http.Header{"X": {"a\nb"}}, "the value of the extra header X has a line break or control character"},
		{http.Header{"X\r\nY": {"a"}}, "the name of an extra header has a character that is not allowed"},
		{http.Header{"": {"a"}}, "the name of an extra header has a character that is not allowed"},
		{http.Header{"host": {"a"}}, "the extra header host is not ours to set"},
		{http.Header{"Content-Length": {"5"}}, "the extra header Content-Length is not ours to set"},
	} {
		h := hop(t, "http://proxy.test:3128", nil)
		h.Header = tc.header
		head, err := asked(t, h, target)
		if want := "forward proxy http://proxy.test:3128: connect: " + tc.err; text(err) != want || head != "" {
			t.Errorf("%q: error %v, want %s", tc.header, err, want)
		}
	}
}
