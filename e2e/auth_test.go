//go:build linux

package e2e

import (
	"io"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// squids are those that ask in other schemes than Basic. NTLM is judged by Samba's ntlm_auth and winbindd (a standalone
// server, NTLMv2 only); "fake" is the helper of squid that lets everybody in.
var squids = []string{"squid-digest", "squid-digest-tls", "squid-ntlm", "squid-ntlm-tls", "squid-ntlm-fake", "squid-spnego", "squid-spnego-tls", "squid-negotiate", "squid-negotiate-tls"}

// TestAuthentication opens tunnels through proxies with each scheme, many at once.
func TestAuthentication(t *testing.T) {
	for _, kind := range squids {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(kind+"/"+protocol, func(t *testing.T) {
				oneWay(t)
				p := proxy(t, kind)
				var env []string
				if strings.HasPrefix(kind, "squid-negotiate") || kind == "squid-spnego-tls" { // which refuses the ticket, and takes the password then
					env = kerberos(t, "1h")
				}
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("the proxy wrote:\n%s", p.Tail())
					}
				})
				tun := openAt(t, t.TempDir(), arguments(p, protocol, world.Echo, goodToken...), env...)
				var all sync.WaitGroup
				for range 8 {
					all.Go(func() { pingPong(t, tun) })
				}
				all.Wait()
				pingPong(t, tun)
			})
		}
	}
}

// TestWrongPasswordIsSentOnce: eight connections at once, one look at the password.
func TestWrongPasswordIsSentOnce(t *testing.T) {
	for kind, asks := range map[string]int{"squid-basic": 1, "squid-digest": 1, "squid-ntlm": 2, "squid-spnego": 2} { // NTLM has a leg more
		t.Run(kind, func(t *testing.T) {
			oneWay(t)
			p := *proxy(t, kind)
			wrong := *p.URL
			wrong.User = url.UserPassword(world.User, "wr0ng")
			p.URL = &wrong
			before := strings.Count(p.Log(), "failed due to")
			wrongOnce(t, append(arguments(&p, "auto", world.Echo, goodToken...), "--log-level", "debug"), nil, asks)
			if n := strings.Count(p.Log(), "failed due to") - before; asks == 2 && n != 1 {
				t.Errorf("the domain saw %d wrong passwords, want 1", n)
			}
		})
	}
}

// TestEdgeCase20_Tickets: none, then one that expires, then another, in one run of the program.
func TestEdgeCase20_Tickets(t *testing.T) {
	oneWay(t)
	kdc := mustKDC(t)
	cache := filepath.Join(t.TempDir(), "cache")
	args := arguments(proxy(t, "squid-negotiate"), "h1", world.Echo, goodToken...)
	tun := openAt(t, t.TempDir(), args, "KRB5_CONFIG="+kdc.Conf, "KRB5CCNAME=FILE:"+cache)
	none := regexp.MustCompile("no Kerberos ticket: there is no ticket cache " + regexp.QuoteMeta(cache))
	dial(t, tun.Addr)
	tun.log.await(t, none)
	kinit(t, kdc, cache, "2s")
	pingPong(t, tun)
	expired(t, kdc, cache)
	for range 3 { // a connection may have been kept ready
		dial(t, tun.Addr)
	}
	tun.log.await(t, regexp.MustCompile("has expired"))
	kinit(t, kdc, cache, "1h")
	pingPong(t, tun)
}

// TestEdgeCase20_Renewal: the ticket is renewed while the program listens, as a desktop does it, and its first life ends.
func TestEdgeCase20_Renewal(t *testing.T) {
	oneWay(t)
	kdc := mustKDC(t)
	cache, first := filepath.Join(t.TempDir(), "cache"), filepath.Join(t.TempDir(), "first")
	args := arguments(proxy(t, "squid-negotiate"), "h1", world.Echo, goodToken...)
	tun := openAt(t, t.TempDir(), args, "KRB5_CONFIG="+kdc.Conf, "KRB5CCNAME=FILE:"+cache)
	kinit(t, kdc, cache, "5s")
	must(t, nil, "cp", cache, first)
	pingPong(t, tun)
	renew := func() {
		t.Helper()
		if err := w.Renew(t.Context(), kdc, cache); err != nil {
			t.Fatal(err)
		}
	}
	must(t, nil, "sleep", "2")
	renew()
	expired(t, kdc, first)
	renew()       // for time enough to look at it
	for range 3 { // a connection may have been kept ready
		pingPong(t, tun)
	}
}

// TestKeytab: a program without a person has its own key.
func TestKeytab(t *testing.T) {
	oneWay(t)
	kdc := mustKDC(t)
	none := "KRB5CCNAME=FILE:" + filepath.Join(t.TempDir(), "none")
	args := arguments(proxy(t, "squid-negotiate"), "h2", world.Echo, goodToken...)
	pingPong(t, openAt(t, t.TempDir(), args, "KRB5_CONFIG="+kdc.Conf, none, "KRB5_CLIENT_KTNAME=FILE:"+kdc.User))
}

// TestEdgeCase20_ServiceNames: the proxy under an alias, under a name that is given, and under one that nobody knows.
func TestEdgeCase20_ServiceNames(t *testing.T) {
	kdc := mustKDC(t)
	p := *proxy(t, "squid-negotiate")
	for _, tc := range []struct {
		name, host, spn, err string
	}{
		{"alias", "alias.test", "", ""},
		{"given", "alias.test", world.OtherService, ""},
		{"unknown", "proxy.test", "HTTP/nobody.test", "no ticket for HTTP/nobody.test: the KDC does not know that service"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			oneWay(t)
			u := *p.URL
			u.Host = net.JoinHostPort(tc.host, p.URL.Port())
			p := p
			p.URL = &u
			args := arguments(&p, "h1", world.Echo, goodToken...)
			if tc.spn != "" {
				args = append(args, "--forward-proxy-spn", tc.spn)
			}
			cache := filepath.Join(t.TempDir(), "cache")
			kinit(t, kdc, cache, "1h")
			tun := openAt(t, t.TempDir(), args, "KRB5_CONFIG="+kdc.Conf, "KRB5CCNAME=FILE:"+cache)
			if tc.err == "" {
				pingPong(t, tun)
				return
			}
			dial(t, tun.Addr)
			tun.log.await(t, regexp.MustCompile(regexp.QuoteMeta(tc.err)))
		})
	}
}

// TestEdgeCase15_ProxyHasNewKey: the ticket for the proxy in the user's cache is older than the proxy's key.
func TestEdgeCase15_ProxyHasNewKey(t *testing.T) {
	oneWay(t)
	kdc := mustKDC(t)
	args := arguments(proxy(t, "squid-negotiate"), "h1", world.Echo, goodToken...)
	cache := filepath.Join(t.TempDir(), "cache")
	kinit(t, kdc, cache, "1h")
	env := []string{"KRB5_CONFIG=" + kdc.Conf, "KRB5CCNAME=FILE:" + cache}
	cmd := exec.Command("kvno", world.ProxyService) // puts the ticket there
	cmd.Env = append(environment(t.TempDir()), env...)
	if err := w.UserHost.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	tun := openAt(t, t.TempDir(), args, env...)
	pingPong(t, tun)
	if err := kdc.NewKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	pingPong(t, tun)
	pingPong(t, openAt(t, t.TempDir(), args, env...))
}

// kerberos is the environment of a user with a ticket.
func kerberos(t *testing.T, life string) []string {
	t.Helper()
	kdc := mustKDC(t)
	cache := filepath.Join(t.TempDir(), "cache")
	kinit(t, kdc, cache, life)
	return []string{"KRB5_CONFIG=" + kdc.Conf, "KRB5CCNAME=FILE:" + cache}
}

func mustKDC(t *testing.T) *world.KDC {
	t.Helper()
	kdc, err := w.KDC(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return kdc
}

func kinit(t *testing.T, kdc *world.KDC, cache, life string) {
	t.Helper()
	if err := w.Kinit(t.Context(), kdc, cache, life); err != nil {
		t.Fatal(err)
	}
}

// expired waits until klist calls the tickets expired.
func expired(t *testing.T, kdc *world.KDC, cache string) {
	t.Helper()
	must(t, nil, "sh", "-c", "while klist -s -c '"+cache+"'; do sleep 0.1; done")
}

func pingPong(t *testing.T, tun *tunnel) {
	t.Helper()
	conn, err := w.UserHost.Dial("tcp", tun.Addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "ping")
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Errorf("got %q, %v", got, err)
	}
}
