//go:build linux

package world

import (
	"context"
	"fmt"
	"net/url"
)

// Proxy is a running forward proxy. Several may be one program.
type Proxy struct {
	*Process
	URL *url.URL // as the user's host reaches it, with the user and the password that it asks for
	CA  string   // the file of the authority behind an https proxy's certificate
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

// kinds are the forward proxies that there are: how each is started, and how the user's host reaches it.
var kinds = []struct {
	name     string
	start    func(context.Context, *World) (*Process, error)
	program  string // rows that name the same program share it
	scheme   string
	port     int
	password string
	special  bool // for one test, which does to it what others would not bear
}{
	{"squid", startSquid, "squid", "http", 3128, "", false},
	{"squid-basic", startSquid, "squid", "http", 3129, Password, false},
	{"squid-tls", startSquid, "squid", "https", 3130, "", false},
	{"squid-tls-basic", startSquid, "squid", "https", 3131, Password, false},
	{"squid-idle", startIdleSquid, "squid-idle", "http", 3138, "", true},
	{"squid-digest", startSquidDigest, "squid-digest", "http", 3132, Password, true},
	{"squid-digest-tls", startSquidDigest, "squid-digest", "https", 3133, Password, true},
	{"squid-ntlm", startSquidNTLM, "squid-ntlm", "http", 3134, Password, true},
	{"squid-ntlm-tls", startSquidNTLM, "squid-ntlm", "https", 3135, Password, true},
	{"squid-ntlm-fake", startSquidFakeNTLM, "squid-ntlm-fake", "http", 3142, Password, true},
	{"squid-negotiate", startSquidNegotiate, "squid-negotiate", "http", 3136, "", true},
	{"squid-negotiate-tls", startSquidNegotiate, "squid-negotiate", "https", 3137, "", true},
	{"tinyproxy", startTinyproxy, "tinyproxy", "http", 8888, "", false},
	{"dante", startDante, "dante", "socks5", 1080, "", false},
	{"dante-password", startDantePassword, "dante-password", "socks5", 1081, Password, false},
	{"microsocks", startMicrosocks, "microsocks", "socks5", 1082, "", false},
	{"microsocks-frozen", startFreezer, "microsocks-frozen", "socks5", 1084, "", true},
	{"microsocks-password", startMicrosocksPassword, "microsocks-password", "socks5", 1083, Password, false},
}

// Kinds names the forward proxies that any test may use. There are more: "squid-idle" cuts what is silent for five seconds,
// "microsocks-frozen" is there to be frozen, and those of squid_auth.go ask in other schemes than Basic.
func Kinds() []string {
	var names []string
	for _, k := range kinds {
		if !k.special {
			names = append(names, k.name)
		}
	}
	return names
}

// Proxy starts a forward proxy on the proxies' host, or returns the one that runs there already.
func (w *World) Proxy(ctx context.Context, kind string) (*Proxy, error) {
	for _, k := range kinds {
		if k.name != kind {
			continue
		}
		process, err := w.once(k.program, func() (*Process, error) { return k.start(ctx, w) })
		if err != nil {
			return nil, err
		}
		p := &Proxy{Process: process, CA: w.proxyCA.CA}
		p.URL = &url.URL{Scheme: k.scheme, Host: fmt.Sprintf("proxy.test:%d", k.port)}
		if k.password != "" {
			p.URL.User = url.UserPassword(User, k.password)
		}
		return p, nil
	}
	return nil, fmt.Errorf("no forward proxy is called %q", kind)
}
