//go:build linux

package world

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
)

// Proxy is a running forward proxy. Several may be one program.
type Proxy struct {
	*Process
	URL *url.URL // as the user's host reaches it, with the user and the password that it asks for
	CA  string   // the file of the authority behind an https proxy's certificate, or behind what a proxy shows that opens TLS

	Cert, Key string // the files of the certificate that it wants to see; empty: none
}

// What the proxies that ask for it want to hear. The password is one that has to be escaped in a URL.
const (
	User     = "e2e"
	Password = "p@ss:w/rd%41"

	passwordAPR1   = `$apr1$DV3z0DrM$xSA1GjcTTHJyKUadNPy1w/`
	passwordSHA512 = `$6$OnO8h6rh6kGBj5qX$JiVoHgzACR5VknSH/97Rxm7pmyvLSNK1YVeFpNuQ96qvAJzOsO3Bi3gh4jS.K.RtepiXCEF6sYH2bx8iO4iU8/`

	account       = User + ":x:61000:61000::/:/usr/sbin/nologin\n"
	accountShadow = User + ":" + passwordSHA512 + ":19000:0:99999:7:::\n"
)

// A kind is a forward proxy that there is: how it is started, and how the user's host reaches it.
type kind struct {
	name     string
	start    func(context.Context, *World) (*Process, error)
	program  string // rows that name the same program share it
	scheme   string
	host     string // empty: the proxies' host
	port     int
	password string
	cert     bool   // wants a certificate of the client
	needs    string // the kind that it stands in front of
	special  bool   // not in Kinds
}

var kinds = []kind{
	{name: "squid", start: startSquid, program: "squid", scheme: "http", port: 3128},
	{name: "squid-basic", start: startSquid, program: "squid", scheme: "http", port: 3129, password: Password},
	{name: "squid-tls", start: startSquid, program: "squid", scheme: "https", port: 3130},
	{name: "squid-tls-basic", start: startSquid, program: "squid", scheme: "https", port: 3131, password: Password},
	{name: "squid-tls-cert", start: startSquid, program: "squid", scheme: "https", port: 3140, cert: true, special: true},
	{name: "squid-idle", start: startIdleSquid, program: "squid-idle", scheme: "http", port: 3138, special: true},
	{name: "squid-bump", start: startBumpingSquid, program: "squid-bump", scheme: "http", port: 3144, special: true},
	{name: "squid-digest", start: startSquidDigest, program: "squid-digest", scheme: "http", port: 3132, password: Password, special: true},
	{name: "squid-digest-tls", start: startSquidDigest, program: "squid-digest", scheme: "https", port: 3133, password: Password, special: true},
	{name: "squid-ntlm", start: startSquidNTLM, program: "squid-ntlm", scheme: "http", port: 3134, password: Password, special: true},
	{name: "squid-ntlm-tls", start: startSquidNTLM, program: "squid-ntlm", scheme: "https", port: 3135, password: Password, special: true},
	{name: "squid-ntlm-fake", start: startSquidFakeNTLM, program: "squid-ntlm-fake", scheme: "http", port: 3142, password: Password, special: true},
	{name: "squid-spnego", start: startSquidSPNEGO, program: "squid-spnego", scheme: "http", port: 3146, password: Password, needs: "squid-ntlm", special: true},
	{name: "squid-spnego-tls", start: startSquidSPNEGO, program: "squid-spnego", scheme: "https", port: 3147, password: Password, needs: "squid-ntlm", special: true},
	{name: "squid-negotiate", start: startSquidNegotiate, program: "squid-negotiate", scheme: "http", port: 3136, special: true},
	{name: "squid-negotiate-tls", start: startSquidNegotiate, program: "squid-negotiate", scheme: "https", port: 3137, special: true},
	{name: "tinyproxy", start: startTinyproxy, program: "tinyproxy", scheme: "http", port: 8888},
	{name: "dante", start: startDante, program: "dante", scheme: "socks5", port: 1080},
	{name: "dante-password", start: startDantePassword, program: "dante-password", scheme: "socks5", port: 1081, password: Password},
	{name: "microsocks", start: startMicrosocks, program: "microsocks", scheme: "socks5", port: 1082},
	{name: "microsocks-password", start: startMicrosocksPassword, program: "microsocks-password", scheme: "socks5", port: 1083, password: Password},
	{name: "microsocks-frozen", start: startFreezer, program: "microsocks-frozen", scheme: "socks5", port: 1084, special: true},
	{name: "apache", start: startApache, program: "apache", scheme: "http", port: 3150, special: true},
	{name: "apache-basic", start: startApache, program: "apache", scheme: "http", port: 3151, password: Password, special: true},
	{name: "apache-digest", start: startApache, program: "apache", scheme: "http", port: 3152, password: Password, special: true},
	{name: "haproxy", start: startHAProxy, program: "haproxy", scheme: "http", port: 3160, needs: "squid", special: true},
	{name: "haproxy-tls", start: startHAProxy, program: "haproxy", scheme: "https", port: 3161, needs: "squid", special: true},
	{name: "haproxy-h2", start: startHAProxy, program: "haproxy", scheme: "https", port: 3162, needs: "squid", special: true},
	{name: "haproxy-h2-cert", start: startHAProxy, program: "haproxy", scheme: "https", port: 3163, cert: true, needs: "squid", special: true},
	{name: "stunnel", start: startStunnel, program: "stunnel", scheme: "https", port: 3170, cert: true, needs: "squid", special: true},
	{name: "nghttpx", start: startNghttpx, program: "nghttpx", scheme: "https", port: 3200, needs: "squid"},
	{name: "nghttpx-h1", start: startNghttpxH1, program: "nghttpx-h1", scheme: "https", port: 3201, needs: "squid", special: true},
	{name: "trafficserver", start: startTrafficServer, program: "trafficserver", scheme: "http", port: 3180, special: true},
	{name: "privoxy", start: startPrivoxy, program: "privoxy", scheme: "http", port: 8118, special: true},
	{name: "cntlm", start: startCNTLM, program: "cntlm", scheme: "http", host: "127.0.0.1", port: 3190, needs: "squid-ntlm", special: true},
	{name: "ssh", start: startSSHSOCKS, program: "ssh-socks", scheme: "socks5", host: "127.0.0.1", port: 1085, special: true},
}

// Kinds names the forward proxies that any test may use. There are more: "squid-idle" cuts what is silent for five seconds,
// "microsocks-frozen" is there to be frozen; those of squid_auth.go ask in other schemes than Basic; and other products have a
// test of their own.
func Kinds() []string {
	var names []string
	for _, k := range kinds {
		if !k.special {
			names = append(names, k.name)
		}
	}
	return names
}

// Proxy starts a forward proxy, or returns the one that runs already.
func (w *World) Proxy(ctx context.Context, name string) (*Proxy, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil, fmt.Errorf("no forward proxy is called %q", name)
	}
	k := kinds[i]
	if k.needs != "" {
		if _, err := w.Proxy(ctx, k.needs); err != nil {
			return nil, err
		}
	}
	process, err := w.once(k.program, func() (*Process, error) { return k.start(ctx, w) })
	if err != nil {
		return nil, err
	}
	p := &Proxy{Process: process, CA: w.proxyCA.CA}
	if name == "squid-bump" {
		p.CA = w.bumpCA.CA
	}
	if k.cert {
		p.Cert, p.Key = w.ClientCA.Cert, w.ClientCA.Key
	}
	host := k.host
	if host == "" {
		host = "proxy.test"
	}
	p.URL = &url.URL{Scheme: k.scheme, Host: net.JoinHostPort(host, strconv.Itoa(k.port))}
	if k.password != "" {
		p.URL.User = url.UserPassword(User, k.password)
	}
	return p, nil
}
