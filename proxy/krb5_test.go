//go:build !windows && !darwin

package proxy_test

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/proxy"
)

// kerberosProxy opens to a ticket for its name, and offers Basic besides.
func kerberosProxy(t *testing.T, k *kerberos, service string) *answering {
	return answer(t, func(_ int, head string) (string, bool) {
		credentials := field(head, "Proxy-Authorization")
		if _, ok := k.open(decode(credentials), service); ok || credentials == goodKey {
			return ok200, true
		}
		return "HTTP/1.1 407 No\r\nContent-Length: 0\r\nProxy-Authenticate: Negotiate\r\n" + wants + "\r\n", true
	})
}

func TestEdgeCase20_TicketComesLater(t *testing.T) {
	k := newKerberos(t)
	p := kerberosProxy(t, k, "HTTP/proxy.test")
	h := hop(t, "http://proxy.test:3128", to(p.addr))
	const start = "forward proxy http://proxy.test:3128: authenticate: the proxy asks for authentication (Negotiate, Basic) " +
		"and there is no user and password for it; Negotiate: no Kerberos ticket: "
	for i, step := range []struct {
		do  func()
		err string
	}{
		{func() {}, "there is no ticket cache " + k.cache + ""},
		{func() { k.kinit("HTTP/proxy.test", k.keys, time.Now().Add(time.Hour)) }, ""},
		{func() {}, ""},
		{func() { k.kinit("HTTP/proxy.test", k.keys, time.Now().Add(-time.Second)) }, "the one in " + k.cache + " has expired"},
		{func() { k.kinit("HTTP/proxy.test", k.keys, time.Now().Add(time.Hour)) }, ""},
		{func() { os.Remove(k.cache) }, "there is no ticket cache " + k.cache + ""},
		{func() {
			os.WriteFile(k.cache, []byte("\x05\x04\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x7f\xff\xff\xff"), 0o600)
		},
			"the ticket cache or the keytab is damaged"},
	} {
		step.do()
		conn, err := h.DialContext(t.Context(), "tcp", target)
		if err == nil {
			conn.Close()
		}
		want := ""
		if step.err != "" {
			want = start + step.err
		}
		if text(err) != want || errors.Is(err, proxy.ErrNoTicket) != (want != "") {
			t.Errorf("step %d: error\n got %v\nwant %s", i, err, want)
		}
	}
}

func TestEdgeCase20_NoTicketNextScheme(t *testing.T) {
	k := newKerberos(t)
	p := kerberosProxy(t, k, "HTTP/proxy.test")
	open(t, hop(t, userURL, to(p.addr))).Close()
	if n := p.requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3: NTLM inside Negotiate, then the password", n)
	}
	// A ticket that the proxy refuses is no wrong password either.
	k.kinit("HTTP/proxy.test", k.other, time.Now().Add(time.Hour))
	open(t, hop(t, userURL, to(p.addr))).Close()
	if n := p.requests.Load(); n != 7 {
		t.Errorf("%d requests, want 7: the ticket, then NTLM, then the password", n)
	}
}

// A proxy that refuses the ticket may take the password inside Negotiate, but not
// on a connection on which it has refused Negotiate, as squid.
func TestEdgeCase20_RefusedTicketThenNTLM(t *testing.T) {
	for _, kind := range httpKinds() {
		t.Run(kind, func(t *testing.T) {
			k := newKerberos(t)
			k.kinit("HTTP/proxy.test", k.other, time.Now().Add(time.Hour))
			g := insideGate(t)
			inner, spoilt := g.judge, sync.Map{}
			g.judge = func(v *visit, credentials string) (bool, string, bool) {
				if !strings.Contains(string(decode(credentials)), "NTLMSSP\x00") {
					spoilt.Store(v, true)
				}
				if _, ok := spoilt.Load(v); ok {
					return false, "", false
				}
				return inner(v, credentials)
			}
			p := g.serve(t, kind)
			p.parts = func(_ string, credentials bool) bool { return !credentials } // once more, for another reason
			h := p.hop(t, g, true)
			c := proxy.Config{Dial: h.Dial, TLS: h.TLS, User: url.UserPassword(`DOM\u`, goodPassword)}
			s, err := proxy.Fixed(h.String(), "--forward-proxy", c)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := proxy.Dial(s, mustParse(t, "https://edge.test"))(t.Context(), "tcp", target)
			if err != nil {
				t.Fatal(err)
			}
			exchangeEcho(t, conn, "")
			conn.Close()
			if got, err := get(client(t, h.String(), c, nil), "http://edge.test/x"); got != "200 http://edge.test/x" || err != nil {
				t.Errorf("in absolute form: %q, %v", got, err)
			}
			if n := p.wrong.Load(); n != 0 {
				t.Errorf("%d wrong passwords", n)
			}
		})
	}
}

func TestEdgeCase20_ServiceName(t *testing.T) {
	for _, tc := range []struct{ proxy, spn, service string }{
		{"http://proxy.test:3128", "", "HTTP/proxy.test"},
		{"http://proxy.test", "", "HTTP/proxy.test"},
		{"http://proxy.test.:3128", "", "HTTP/proxy.test"},
		{"http://alias.test:3128", "HTTP/other.test", "HTTP/other.test"},
	} {
		k := newKerberos(t)
		k.kinit(tc.service, k.keys, time.Now().Add(time.Hour))
		p := kerberosProxy(t, k, tc.service)
		s, err := proxy.Fixed(tc.proxy, "--forward-proxy", proxy.Config{Dial: to(p.addr), SPN: tc.spn})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := proxy.Dial(s, mustParse(t, "https://edge.test"))(t.Context(), "tcp", target)
		if err != nil {
			t.Errorf("%v: %v", tc, err)
			continue
		}
		conn.Close()
	}
}

// Where the ticket is.
func TestEdgeCase20_Caches(t *testing.T) {
	k := newKerberos(t)
	k.kinit("HTTP/proxy.test", k.keys, time.Now().Add(time.Hour))
	p := kerberosProxy(t, k, "HTTP/proxy.test")
	dir := filepath.Dir(k.cache)
	base := os.Getenv("KRB5_CONFIG")
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	included := filepath.Join(t.TempDir(), "d")
	os.Mkdir(included, 0o700)
	os.WriteFile(filepath.Join(included, "cache.conf"), []byte("[libdefaults]\ndefault_ccache_name = FILE:"+k.cache+"\n"), 0o600)
	os.WriteFile(filepath.Join(included, "cache.conf~"), []byte("[libdefaults\n"), 0o600)
	os.WriteFile(filepath.Join(dir, "primary"), []byte("cache\n"), 0o600)
	none := "FILE:" + filepath.Join(dir, "none")
	for _, tc := range []struct{ name, cache, config, err string }{
		{"FILE:", "FILE:" + k.cache, base, ""},
		{"path alone", k.cache, base, ""},
		{"DIR:", "DIR:" + dir, base, ""},
		{"DIR::", "DIR::" + k.cache, base, ""},
		{"krb5.conf", "", base + ":" + write("krb5.conf", "[libdefaults]\n  default_ccache_name = FILE:"+k.cache+"\n"), ""},
		{"includedir", "", write("krb5.conf", "includedir "+included+"\n"), ""},
		{"include", "", write("krb5.conf", "include "+filepath.Join(included, "cache.conf")+"\n"), ""},
		{"no krb5.conf", k.cache, filepath.Join(dir, "none.conf"), ""},
		{"KEYRING:", "KEYRING:persistent:0", base, "no Kerberos ticket: the ticket cache is of the kind KEYRING, and only files can be read"},
		{"none", none, base, "no Kerberos ticket: there is no ticket cache " + none[5:] + ""},
		{"endless include", k.cache, selfIncluding(t), "it includes itself"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("KRB5CCNAME", tc.cache)
			t.Setenv("KRB5_CONFIG", tc.config)
			conn, err := hop(t, "http://proxy.test:3128", to(p.addr)).DialContext(t.Context(), "tcp", target)
			if err == nil {
				conn.Close()
			}
			if (err != nil) != (tc.err != "") || !strings.HasSuffix(text(err), tc.err) {
				t.Errorf("error\n got %v\nwant %s", err, tc.err)
			}
		})
	}
}

func selfIncluding(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "krb5.conf")
	os.WriteFile(path, []byte("include "+path+"\n"), 0o600)
	return path
}

// A KDC that does not answer costs half of the time, and then the password is
// used. The next tunnel asks the same question no second time.
func TestEdgeCase20_SilentKDC(t *testing.T) {
	k := newKerberos(t)
	asked := make(chan struct{}, 100)
	kdc := serve(t, func(c net.Conn, _ int) {
		asked <- struct{}{}
		c.Read(make([]byte, 4096))
		readHead(c) // until it is closed
	})
	conf := filepath.Join(t.TempDir(), "krb5.conf")
	os.WriteFile(conf, []byte("[libdefaults]\ndefault_realm = "+realm+"\nudp_preference_limit = 1\n[realms]\n"+realm+" = {\nkdc = "+kdc+"\n}\n"), 0o600)
	t.Setenv("KRB5_CONFIG", conf)
	k.kinit("HTTP/other.test", k.keys, time.Now().Add(time.Hour))
	p := kerberosProxy(t, k, "HTTP/proxy.test")
	h := hop(t, userURL, to(p.addr))
	h.Timeout = 2 * time.Second
	open(t, h).Close()
	<-asked
	h = hop(t, "http://proxy.test:3128", to(p.addr))
	h.Timeout = 200 * time.Millisecond
	_, err := h.DialContext(t.Context(), "tcp", target)
	if !strings.HasSuffix(text(err), "Negotiate: the KDC does not answer") {
		t.Errorf("error %v", err)
	}
}

// FuzzNegotiate: whatever a proxy says in Negotiate and NTLM, there is an end,
// and what is sent fits in a line.
func FuzzNegotiate(f *testing.F) {
	k := newKerberos(f)
	k.kinit("HTTP/proxy.test", k.keys, time.Now().Add(time.Hour))
	for _, seed := range []string{
		"Negotiate", "Negotiate oQcwBaADCgEC", "Negotiate oRQwEqADCgEBoQsGCSqGSIb3EgECAg==", "Negotiate oRUwE6ADCgEBoQwGCisGAQQBgjcCAgo=", "Negotiate " + encode(ntlmChallenge([]byte("8 bytes!"), true)), "Negotiate !", "negotiate  ", "NTLM", "NTLM TlRM",
		"NTLM " + encode(ntlmChallenge([]byte("8 bytes!"), true)), "NTLM " + encode(ntlmChallenge([]byte("8 bytes!"), false)),
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		if strings.ContainsAny(first+second, "\r\n") || len(first)+len(second) > 4000 {
			return
		}
		no := func(challenge string) string {
			return "HTTP/1.1 407 No\r\nProxy-Authenticate: " + challenge + "\r\nContent-Length: 0\r\n\r\n"
		}
		_, sent, err := replay(t, userURL, []byte(no(first)+no(second)+no(first)+no(second)))
		if err == nil {
			t.Fatal("opened")
		}
		checkText(t, err)
		for head := range strings.SplitSeq(sent, "\r\n\r\n") {
			if n := strings.Count(head, "\r\n"); n > 4 {
				t.Errorf("asked %q", head)
			}
		}
	})
}
