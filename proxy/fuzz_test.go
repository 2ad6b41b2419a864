package proxy_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/pomerium/pomerium-cli/proxy"
)

// played is a connection whose peer says fixed bytes and ends.
type played struct {
	net.Conn // nil: nothing else may be called
	says     *bytes.Reader
	sent     bytes.Buffer
}

func (c *played) Read(p []byte) (int, error)       { return c.says.Read(p) }
func (c *played) Write(p []byte) (int, error)      { return c.sent.Write(p) }
func (c *played) Close() error                     { return nil }
func (c *played) SetDeadline(time.Time) error      { return nil }
func (c *played) SetReadDeadline(time.Time) error  { return nil }
func (c *played) SetWriteDeadline(time.Time) error { return nil }

// replay dials target through the proxy in raw, which says the same bytes on
// each connection. It returns all that was sent.
func replay(t *testing.T, raw string, says []byte) (conn net.Conn, sent string, err error) {
	var all []*played
	h := hop(t, raw, func(context.Context, string, string) (net.Conn, error) {
		c := &played{says: bytes.NewReader(says)}
		all = append(all, c)
		return c, nil
	})
	conn, err = h.DialContext(t.Context(), "tcp", target)
	if len(all) > 10 {
		t.Errorf("%d connections", len(all))
	}
	for _, c := range all {
		sent += c.sent.String()
	}
	return conn, sent, err
}

// checkText fails when a terminal would obey what the proxy said.
func checkText(t *testing.T, err error) {
	t.Helper()
	failed := asError(t, err)
	for _, s := range append([]string{err.Error(), failed.Body, failed.Location}, failed.Schemes...) {
		if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
			t.Errorf("control character at %d of %q", i, s)
		}
		if len(s) > 4000 {
			t.Errorf("a text of %d bytes", len(s))
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200\n\nearly", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 403 No\r\nX-Squid-Error: a\r\n b\r\nno colon\r\n\r\n<title>x</title>", "HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n",
		"HTTP/1.1 502 Bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/2 200\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x0a", "SSH-2.0-x\r\n", "\x05\xff", "",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		conn, sent, err := replay(t, userURL, says)
		if !bytes.Contains(says, []byte("407")) && strings.Contains(sent, "Proxy-Authorization") {
			t.Error("credentials without a 407")
		}
		if err != nil {
			checkText(t, err)
			return
		}
		early, err := io.ReadAll(conn)
		if err != nil || !bytes.HasSuffix(says, early) {
			t.Errorf("early bytes %q, %v", early, err)
		}
	})
}

func FuzzSOCKS(f *testing.F) {
	for _, seed := range []string{
		"\x05\x00" + socksOpen, "\x05\x02\x01\x00" + socksOpen + "early", "\x05\x02\x01\x01", "\x05\xff", "\x05\x01",
		"\x05\x00\x05\x00\x00\x03\x00\x00\x00", "\x05\x00\x05\x00\xff\x03\x05x.tst\x00\x50x", "\x05\x00\x05\x00\x00\x04", "\x05\x00\x05\x05", "HTTP/1.1 400 Bad\r\n\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		conn, _, err := replay(t, "socks5://u:p@proxy.test", says)
		if err != nil {
			checkText(t, err)
			return
		}
		early, err := io.ReadAll(conn)
		if err != nil || !bytes.HasSuffix(says, early) || len(says)-len(early) < len("\x05\x00\x05\x00\x00\x03\x00\x00\x00") {
			t.Errorf("early bytes %q, %v", early, err)
		}
	})
}

func FuzzChallenges(f *testing.F) {
	for _, seed := range []string{
		`Basic realm="x"`, `Negotiate, NTLM, Basic realm="x"`, `Digest realm="a, Basic b", nonce="\", NTLM"`, `Basic realm = "x" , y`, `"`, `,,`, `NTLM TlRM==`, `=`, "a\tb",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n") || len(line) > 2000 {
			return
		}
		_, sent, err := replay(t, userURL, []byte("HTTP/1.1 407 No\r\nProxy-Authenticate: "+line+"\r\nContent-Length: 0\r\n\r\n"))
		if err == nil {
			t.Fatal("opened")
		}
		checkText(t, err)
		asked := slices.ContainsFunc(proxy.AuthSchemes(), func(name string) bool { return strings.Contains(strings.ToLower(line), name) })
		if strings.Contains(sent, "Proxy-Authorization") && !asked {
			t.Errorf("credentials for %q", line)
		}
		for _, scheme := range asError(t, err).Schemes {
			if scheme == "" || strings.ContainsAny(scheme, " \t,\"=") {
				t.Errorf("scheme %q", scheme)
			}
		}
	})
}

func FuzzParseURL(f *testing.F) {
	for _, tc := range badURLs {
		f.Add(tc.raw)
	}
	for _, seed := range []string{"http://u:p%20w@proxy.test:3128/", "socks5h://[fe80::1%25eth0]:1", "bücher.example"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := proxy.ParseURL(raw)
		if err != nil {
			if strings.IndexFunc(err.Error(), unicode.IsControl) >= 0 || len(err.Error()) > 200 {
				t.Errorf("error %q", err)
			}
			return
		}
		if u.Port() == "" || u.Port() == "0" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("ParseURL(%q) = %#v", raw, u)
		}
		again, err := proxy.ParseURL(u.String())
		if err != nil || *again != *u && again.String() != u.String() {
			t.Errorf("ParseURL(%q) = %s, and that again %v, %v", raw, u, again, err)
		}
	})
}

func FuzzEnvironment(f *testing.F) {
	for _, tc := range noProxyTable {
		f.Add(tc.noProxy, "http://p.test:3128", strings.TrimPrefix(tc.target, "https://"))
	}
	f.Add("*", ":::", "127.1")
	f.Add("[::1", "http://u:%@x", "LOCALHOST.")
	f.Fuzz(func(t *testing.T, noProxy, value, host string) {
		s := proxy.Environment(func(name string) string {
			return map[string]string{"NO_PROXY": noProxy, "ALL_PROXY": value}[name]
		}, proxy.Config{})
		ways, err := s.Ways(t.Context(), &url.URL{Scheme: "https", Host: host})
		_, bad := proxy.ParseURL(value)
		switch {
		case err != nil:
			if bad == nil {
				t.Errorf("error %v", err)
			}
		case len(ways) != 1:
			t.Errorf("%d ways", len(ways))
		case bad != nil && value != "" && len(ways[0].Hops) > 0:
			t.Errorf("way %s from %q", ways[0], value)
		case noProxy == "" && value != "" && len(ways[0].Hops) == 0 && ways[0].Source != "loopback":
			t.Errorf("%q goes direct (%s)", host, ways[0].Source)
		}
	})
}

func FuzzDigest(f *testing.F) {
	for _, seed := range []string{
		`realm="x", nonce="n", qop="auth"`, `realm="a, Basic b", nonce="\"", algorithm=SHA-256, qop="auth,auth-int", opaque="o", userhash=true`,
		`nonce=abc==, stale=true`, `nonce="n", algorithm=MD5-sess`, `=`, `nonce="`, `nonce="ü", realm="\`, "nonce=\"\x01\"", `NONCE = "n" , charset=UTF-8`,
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		if strings.ContainsAny(first+second, "\r\n") || len(first)+len(second) > 4000 {
			return
		}
		no := func(parameters string) string {
			return "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest " + parameters + "\r\nContent-Length: 0\r\n\r\n"
		}
		_, sent, err := replay(t, userURL, []byte(no(first)+no(second)+no(second)))
		if err == nil {
			t.Fatal("opened")
		}
		checkText(t, err)
		for head := range strings.SplitSeq(sent, "\r\n\r\n") {
			credentials := field(head, "Proxy-Authorization")
			if strings.Count(head, "\r\n") > 4 || credentials != "" && parameters(credentials)["uri"] != target {
				t.Errorf("asked %q", head)
			}
		}
	})
}
