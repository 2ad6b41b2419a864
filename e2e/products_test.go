//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// products are other forward proxies, and what companies put in front of them: what differs between them is how a tunnel is opened
// and how bytes and ends pass, so this is what is tried.
var products = []string{
	"apache", "apache-basic", "apache-digest", "trafficserver", "privoxy", "ssh",
	"haproxy", "haproxy-tls", "haproxy-h2", "stunnel", "squid-tls-cert", "cntlm",
}

func TestProducts(t *testing.T) {
	t.Parallel()
	for _, kind := range products {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(kind+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				oneWay(t)
				p := proxy(t, kind)
				carries(t, open(t, arguments(p, protocol, world.Echo, append(goodToken, world.Target, world.Web)...)), protocol)
				if t.Failed() {
					t.Logf("the proxy wrote:\n%s", p.Tail())
				}
			})
		}
	}
}

// TestChain passes several proxies, each with credentials of its own, the nearest first.
func TestChain(t *testing.T) {
	t.Parallel()
	for _, chain := range [][]string{
		{"squid-basic", "dante-password"},
		{"dante-password", "squid-digest"},
		{"squid", "squid-tls-basic"},
		{"microsocks", "squid-tls", "dante-password"},
		{"squid-tls", "nghttpx"},
		{"nghttpx", "squid-tls-basic"},
	} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(strings.Join(chain, " ")+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				oneWay(t)
				last := len(chain) - 1
				args := arguments(proxy(t, chain[last]), protocol, world.Echo, append(goodToken, world.Target, world.Web)...)
				for _, kind := range chain[:last] {
					args = append(args, "--pre-proxy", proxy(t, kind).URL.String())
				}
				carries(t, open(t, args), protocol)
			})
		}
	}
}

// carries opens tunnels, ends them, and moves bytes both ways.
func carries(t *testing.T, tun *tunnel, protocol string) {
	t.Run("echo", func(t *testing.T) { echo(t, tun.to(t, world.Echo)) })
	t.Run("halfclose", func(t *testing.T) { end(t, tun, protocol) })
	t.Run("bulk", func(t *testing.T) { bulk(t, tun.to(t, world.Target)) })
}

// bulk moves bytes up and down at once, and compares checksums.
func bulk(t *testing.T, addr string) {
	const size = 16 << 20
	conn := dial(t, addr)
	fmt.Fprint(conn, world.Order{Send: size, Take: size, End: world.Digest})
	sent := make(chan error, 1)
	go func() { // joined below
		_, err := io.Copy(conn, io.LimitReader(world.NewPattern(), size))
		sent <- err
	}()
	sum := sha256.New()
	n, err := io.CopyN(sum, conn, size)
	if got := hex.EncodeToString(sum.Sum(nil)); got != world.Sum(size) {
		t.Errorf("%d bytes of %d came, with checksum %s, %v", n, int64(size), got, err)
	}
	if err := <-sent; err != nil {
		t.Error("sending:", err)
	}
	if digest, err := io.ReadAll(conn); string(digest) != world.Sum(size) {
		t.Errorf("the destination took %q, %v; want %s", digest, err, world.Sum(size))
	}
}

// TestEdgeCase25_CertificateWanted: a proxy that asks for a certificate, and a user who shows none.
func TestEdgeCase25_CertificateWanted(t *testing.T) {
	for _, kind := range []string{"squid-tls-cert", "stunnel", "haproxy-h2-cert"} {
		t.Run(kind, func(t *testing.T) {
			oneWay(t)
			p := *proxy(t, kind)
			p.Cert = ""
			r := run(t, nil, binary, arguments(&p, "auto", world.Echo, append(goodToken, "--listen", "-")...)...)
			if r.code != 3 || !strings.Contains(r.stderr, "--forward-proxy-client-cert") {
				t.Errorf("exit code %d\n%s", r.code, r.stderr)
			}
		})
	}
}

// TestEdgeCase21_StaleNonce: apache's nonces live for a second, and then it says stale.
func TestEdgeCase21_StaleNonce(t *testing.T) {
	oneWay(t)
	p := proxy(t, "apache-digest")
	stale := func() int { return strings.Count(p.Log(), "nonce expired") }
	before := stale()
	tun := open(t, arguments(p, "h1", world.Echo, goodToken...))
	pingPong(t, tun)
	must(t, nil, "sleep", "2")
	for range 3 { // a connection may have been kept ready
		pingPong(t, tun)
	}
	if stale() == before {
		t.Errorf("apache called no nonce stale:\n%s", p.Tail())
	}
}

// TestEdgeCase39_Stopped stops the first proxy while tunnels run through it: they are cut, what comes later goes through the second,
// and a later run does not ask the first.
func TestEdgeCase39_Stopped(t *testing.T) {
	oneWay(t)
	first, err := w.Mortal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Kill()
	second := proxy(t, "squid")
	home := t.TempDir()
	args := func(protocol string) []string {
		return append(arguments(first, protocol, world.Target, append(goodToken, world.Echo)...),
			"--forward-proxy", second.URL.String(), "--log-level", "debug")
	}
	protocols := []string{"h1", "h2"}
	var tunnels []*tunnel
	var running []net.Conn
	for _, protocol := range protocols {
		tun := openAt(t, home, args(protocol))
		for range 3 {
			conn := dial(t, tun.to(t, world.Target))
			order(t, conn, world.Order{Send: 1, Take: 1, End: world.Close}, 1)
			running = append(running, conn)
		}
		tunnels = append(tunnels, tun)
	}
	first.Kill()
	for i, conn := range running {
		if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("tunnel %d: %v, want a reset", i, err)
		}
	}
	through := regexp.MustCompile(`proxy connected.*hop=` + regexp.QuoteMeta(second.URL.String()))
	for _, tun := range tunnels {
		echo(t, tun.to(t, world.Echo))
		tun.log.await(t, through)
	}
	for _, protocol := range protocols {
		later := openAt(t, home, args(protocol))
		echo(t, later.to(t, world.Echo))
		if later.log.lines(regexp.QuoteMeta(first.URL.Host)) > 0 {
			t.Error("a later run asks the dead proxy")
		}
	}
}

// TestEdgeCase38_WebServer takes the script from a web server, asks again with its validator, and follows a change.
func TestEdgeCase38_WebServer(t *testing.T) {
	oneWay(t)
	server, dir, err := w.StartScripts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	script := func(result string) {
		text := fmt.Sprintf("function FindProxyForURL(url, host) { return shExpMatch(host, '*.test') ? '%s' : 'PROXY proxy.test:9' }", result)
		if err := os.WriteFile(filepath.Join(dir, "proxy.pac"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	squid, dante := proxy(t, "squid"), proxy(t, "dante")
	p := *squid
	p.URL = mustParse(t, "pac+"+world.Scripts+"proxy.pac")
	home, served := t.TempDir(), len(server.Log())
	through := func(hop string) {
		t.Helper()
		tun := openAt(t, home, arguments(&p, "auto", world.Echo, append(goodToken, "--log-level", "debug")...))
		pingPong(t, tun)
		tun.log.await(t, regexp.MustCompile(`proxy connected.*hop=`+regexp.QuoteMeta(hop)))
	}
	script("PROXY proxy.test:9; SOCKS4 x:1; PROXY " + squid.URL.Host + "; SOCKS5 " + dante.URL.Host)
	through(squid.URL.String())
	through(squid.URL.String())
	script("SOCKS5 " + dante.URL.Host + "; PROXY " + squid.URL.Host)
	through(dante.URL.String())
	var answers []string
	for _, m := range regexp.MustCompile(`(?m)^served /proxy\.pac (\d+)$`).FindAllStringSubmatch(server.Log()[served:], -1) {
		answers = append(answers, m[1])
	}
	if got := slices.Compact(answers); !slices.Equal(got, []string{"200", "304", "200"}) && !slices.Equal(got, []string{"200", "304", "200", "304"}) {
		t.Errorf("the web server answered %s", answers)
	}
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
