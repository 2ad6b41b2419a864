package lab_test

import (
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/internal/lab"
)

// FuzzBytes sends whatever to everything that listens: each must come to an end.
func FuzzBytes(f *testing.F) {
	l, err := lab.Start(lab.Config{PlainEdge: true, AllowDirect: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	addresses := []string{l.EdgeAddr()}
	for _, kind := range []string{"http+password", "https", "socks5", "socks5+password"} {
		u, err := url.Parse(l.ProxyURL(kind))
		if err != nil {
			f.Fatal(err)
		}
		addresses = append(addresses, u.Host)
	}
	for _, seed := range []string{
		"CONNECT echo.lab:7 HTTP/1.1\r\nAuthorization: Pomerium " + l.Token() + "\r\n\r\nhello",
		"CONNECT a/b:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
		"CONNECT bulk-999999999999g.lab:1 HTTP/1.1\r\n\r\n",
		"GET /.pomerium/callback/?pomerium_expiry=x&pomerium_signature=zz HTTP/1.1\r\nHost: edge.lab\r\n\r\n",
		"GET /.pomerium/user HTTP/1.0\r\nAccept: a/b;q=x, */*;q=0.1\r\nAuthorization: Pomerium a.b.c\r\n\r\n",
		"GET http://edge.lab/healthz HTTP/1.1\r\nHost: edge.lab\r\n\r\n",
		http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff",
		http2.ClientPreface + "\x00\x00\x02\x00\x09\x00\x00\x00\x01\x05a",
		"\x05\x01\x00\x05\x01\x00\x03\x0aedge.lab:1\x00\x50",
		"\x05\x01\x02\x01\x01u\x01p",
		"\x05\x01\x00\x05\x01\x00\x09",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, addr := range addresses {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			c.Write(data)
			c.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, c); err != nil {
				if e, ok := err.(net.Error); ok && e.Timeout() {
					t.Errorf("%s: no end to %q", addr, data)
				}
			}
			c.Close()
		}
	})
}
