//go:build linux

package e2e

import (
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// TestCheckProxyTLS: what check says of the TLS of an https proxy, with each flag that is for it given, wrong and left out.
func TestCheckProxyTLS(t *testing.T) {
	issued := `certificate issued by CN=e2e proxy CA$`
	for kind, alpn := range map[string]string{"stunnel": "", "squid-tls-cert": "", "haproxy-h2-cert": "h2, "} {
		tls := `^ +[0-9.]+ ms  TLS +TLS 1\.3, ` + alpn + issued
		refused := []string{tls, `^ +FAILED  TLS .*remote error: tls: certificate required$`, `^It breaks at the forward proxy https://proxy\.test:\d+: TLS\.$`,
			`give one with --forward-proxy-client-cert and --forward-proxy-client-key$`, `please issue me a client certificate for the forward proxy https://proxy\.test`}
		for _, c := range []struct {
			name   string
			change func(*world.Proxy)
			more   []string
			code   int
			lines  []string
		}{
			{"all given", func(*world.Proxy) {}, nil, 0, []string{tls, `^ +[0-9.]+ ms  CONNECT edge\.test:8443`, `certificate issued by CN=e2e edge CA$`, `^All of it works\.$`}},
			{"another authority", func(p *world.Proxy) { p.CA = w.CA.CA }, nil, 3, []string{
				`^ +FAILED  TLS .*unknown authority \(certificate of CN=proxy\.test, issued by CN=e2e proxy CA\)$`,
				`if that authority is your organisation's, give its certificate with --forward-proxy-ca-path$`,
				`please send me the certificate of the authority that has issued the certificate of the forward proxy https://proxy\.test`}},
			{"another name", rename, nil, 3, []string{
				`^ +FAILED  TLS .*valid for proxy\.test, not alias\.test \(certificate of CN=proxy\.test, issued by CN=e2e proxy CA\)$`, `--forward-proxy-tls-server-name$`}},
			{"another name that is given", rename, []string{"--forward-proxy-tls-server-name", "proxy.test"}, 0, []string{tls, `^All of it works\.$`}},
			{"no certificate", func(p *world.Proxy) { p.Cert = "" }, nil, 3, refused},
			{"a certificate of another authority", func(p *world.Proxy) { p.Cert, p.Key = w.CA.Cert, w.CA.Key }, nil, 3, refused},
		} {
			t.Run(kind+" "+c.name, func(t *testing.T) {
				oneWay(t)
				p := *proxy(t, kind)
				c.change(&p)
				r := run(t, nil, binary, check(&p, world.Echo, append(c.more, goodToken...)...)...)
				if r.code != c.code || r.stderr != "" {
					t.Errorf("exit code %d, want %d; standard error %q", r.code, c.code, r.stderr)
				}
				inOrder(t, r.stdout, c.lines)
			})
		}
	}
}

// rename reaches the proxy by a name that is not in its certificate.
func rename(p *world.Proxy) {
	u := *p.URL
	u.Host = strings.Replace(u.Host, "proxy.test", "alias.test", 1)
	p.URL = &u
}

// TestEdgeCase49_Inspection: a squid that opens TLS is named, with the flag that would trust it. Once it is trusted, it stops
// CONNECT requests, and is told of as what it is.
func TestEdgeCase49_Inspection(t *testing.T) {
	oneWay(t)
	p := proxy(t, "squid-bump")
	r := run(t, nil, binary, check(p, world.Echo, goodToken...)...)
	if r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	inOrder(t, r.stdout, []string{
		`^ +FAILED  TLS .*unknown authority \(certificate of CN=edge\.test, issued by CN=e2e inspection CA\)$`,
		`give its certificate with --alternate-ca-path$`,
		`please exclude edge\.test:8443 from TLS inspection: its certificate comes from CN=e2e inspection CA; or send me`})
	r = run(t, nil, binary, check(p, world.Echo, append(goodToken, "--alternate-ca-path", p.CA)...)...)
	if r.code != 3 {
		t.Errorf("exit code %d", r.code)
	}
	inOrder(t, r.stdout, []string{
		`TLS +TLS 1\.3, certificate issued by CN=e2e inspection CA$`,
		`^ +FAILED  tunnel to echo\.test:7 +403 Forbidden`,
		`^Something on the way opens TLS and lets no tunnel through\.$`,
		`have edge\.test:8443 exempted from TLS inspection`,
		`please exclude edge\.test:8443 from TLS inspection: CONNECT requests`})
}
