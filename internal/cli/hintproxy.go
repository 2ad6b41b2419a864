package cli

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/pomerium/pomerium-cli/internal/keyring"
	"github.com/pomerium/pomerium-cli/internal/pac"
	"github.com/pomerium/pomerium-cli/proxy"
)

// hintScript is about a PAC script that chose no proxy.
func hintScript(err error) string {
	e, ok := as[*scriptError](err)
	switch {
	case !ok:
		return ""
	case is[*pac.Error](err):
		return "ask whoever keeps the script, or name the proxy itself: --forward-proxy http://proxy.internal:3128"
	case is[x509.UnknownAuthorityError](err):
		return "if that authority is your organisation's, give its certificate with --forward-proxy-ca-path"
	}
	return "check the script's address in " + e.setting + ", or name the proxy itself: --forward-proxy http://proxy.internal:3128"
}

// hintProxyAuth is about a proxy that wants to know who asks.
func hintProxyAuth(err error) string {
	e, ok := as[*proxy.Error](err)
	if !ok || e.Op != proxy.OpAuth {
		return ""
	}
	switch {
	case errors.Is(err, errKeptRefused):
		return "type the new password in a terminal: --save puts it in place of the old; or give " + envLogin + ", which come before the keyring"
	case errors.Is(err, keyring.ErrLocked), errors.Is(err, keyring.ErrDismissed):
		return "unlock the keyring, or give " + envLogin + ", or --forward-proxy-credentials-file"
	case is[*proxy.LeftOut](err):
		return "--forward-proxy-auth says what may be used: name what the proxy offers there, or leave it out"
	case errors.Is(err, proxy.ErrRejected) && strings.HasPrefix(e.UserSource, envForwardProxy):
		return "check " + e.UserSource
	case errors.Is(err, proxy.ErrRejected) && e.UserSource != "":
		return "check user and password in " + e.UserSource + "; " + envLogin + " come before any file"
	case errors.Is(err, proxy.ErrRejected):
		return "check user and password in " + setting(e.Source) + " (% # / ? @ in them are written as %25 %23 %2F %3F %40)"
	case errors.Is(err, proxy.ErrNoService):
		return "give the name that the domain has for the proxy with --forward-proxy-spn HTTP/its.name"
	case errors.Is(err, proxy.ErrTicketRefused):
		return "compare the proxy's name in the domain with that in " + setting(e.Source) + " (--forward-proxy-spn gives another), and this machine's clock (date)"
	case errors.Is(err, proxy.ErrParted):
		return "something between here and the proxy closes connections: where the proxy offers others, leave NTLM out with --forward-proxy-auth negotiate,digest,basic"
	case errors.Is(err, proxy.ErrNoTicket):
		return "kinit gets a ticket, klist shows it (KRB5CCNAME=FILE:/path where the cache is no file); or put user and password in " + setting(e.Source) + ": " + withUser(e.Hop)
	case len(e.Schemes) > 0 && !slices.ContainsFunc(e.Schemes, spoken):
		return "none of these is spoken here; a helper such as cntlm or px may do it: --forward-proxy http://127.0.0.1:<its port>"
	case strings.HasPrefix(e.Source, ofScript), ofSystem(e.Source):
		return "give user and password in " + envLogin
	case e.Source == ofPreProxy: // the variables and the file are for the last proxy
		return "put user and password in " + ofPreProxy + ": " + withUser(e.Hop)
	}
	return "give user and password in " + envLogin + ", in a --forward-proxy-credentials-file, or in " + setting(e.Source) + ": " + withUser(e.Hop)
}

// spoken reports whether package proxy knows an authentication scheme.
func spoken(scheme string) bool { return slices.Contains(proxy.AuthSchemes(), strings.ToLower(scheme)) }

// setting names where the proxy comes from.
func setting(source string) string {
	if source == "" {
		return "--forward-proxy"
	}
	return source
}

// forLast is advice for the last proxy of a chain; "" where another failed.
func forLast(e *proxy.Error, advice string) string {
	if e.Source == ofPreProxy {
		return ""
	}
	return advice
}

// withUser shows where user and password go in a proxy's URL.
func withUser(hop string) string {
	scheme, rest, ok := strings.Cut(hop, "://")
	if !ok {
		return "http://user:password@" + hop
	}
	return scheme + "://user:password@" + rest
}

func hintProxyTLS(err error) string {
	e, ok := as[*proxy.Error](err)
	if !ok || e.Op != proxy.OpTLS {
		return ""
	}
	switch {
	case is[x509.UnknownAuthorityError](err):
		return "if that authority is your organisation's, give its certificate with --forward-proxy-ca-path"
	case is[x509.HostnameError](err):
		return "use a name that is in the certificate in " + setting(e.Source) + forLast(e, ", or give that name with --forward-proxy-tls-server-name")
	case wantsCertificate(err) && e.Source == ofPreProxy:
		return "--forward-proxy-client-cert is for the last proxy; a helper such as stunnel can show this one a certificate"
	case wantsCertificate(err):
		return "the proxy wants a certificate of an authority that it trusts: give one with --forward-proxy-client-cert and --forward-proxy-client-key"
	case is[*proxy.WrongProtocol](err):
		return "try http:// instead of https:// in " + setting(e.Source)
	}
	hint := "check that the proxy speaks TLS on this port: https:// in " + setting(e.Source) + " means TLS to the proxy itself"
	if late, ok := as[net.Error](err); ok && late.Timeout() {
		hint += "; or wait longer with --connect-timeout"
	}
	return hint
}

// hintProxyProtocol is about a port that speaks something else.
func hintProxyProtocol(err error) string {
	e, ok := as[*proxy.Error](err)
	wrong, mixed := as[*proxy.WrongProtocol](err)
	if !ok || !mixed {
		return ""
	}
	for got, scheme := range map[string]string{"SOCKS": "socks5", "HTTP": "http", "TLS": "https"} {
		if wrong.Got == got {
			return "try " + scheme + ":// in " + setting(e.Source)
		}
	}
	return "check the port in " + setting(e.Source)
}

// hintProxyAnswer is about a proxy that was asked for the edge and said no.
func hintProxyAnswer(err error) string {
	e, ok := as[*proxy.Error](err)
	if !ok || e.Op != proxy.OpConnect {
		return ""
	}
	late, _ := as[net.Error](err)
	reply, _ := as[proxy.Reply](err) // of SOCKS5; 0 is success, and no error
	switch {
	case late != nil && late.Timeout() && strings.HasPrefix(e.Hop, "socks5"):
		return "an HTTP proxy answers SOCKS with silence: try http:// in " + setting(e.Source) + ", or wait longer with --connect-timeout"
	case late != nil && late.Timeout():
		return "a SOCKS proxy answers HTTP with silence: try socks5:// in " + setting(e.Source) + ", or wait longer with --connect-timeout"
	case e.Location != "":
		return "sign in to the network in a browser (it points to " + e.Location + "), then try again; or choose another --forward-proxy"
	case e.Status == 403, e.Status == 405, reply == 2:
		return "ask whoever runs the proxy to allow CONNECT to " + e.Target + ", or choose another --forward-proxy"
	case e.Status >= 500, e.Status == 404, reply == 1, reply >= 3 && reply <= 6: // 404: Privoxy, of a name that it does not find
		return "the proxy could not reach " + e.Target + ": check the name and the port in --pomerium-url"
	case strings.HasPrefix(e.Hop, "http:") && (is[syscall.Errno](err) || errors.Is(err, io.ErrUnexpectedEOF)): // a reset, or an end
		return "a SOCKS proxy cuts HTTP off like that: try socks5:// in " + setting(e.Source) + "; or the proxy does not let you reach " + e.Target
	}
	return "check " + setting(e.Source) + ", and whether this proxy may connect to " + e.Target
}

func hintProxyDial(err error) string {
	e, ok := as[*proxy.Error](err)
	if !ok {
		return ""
	}
	if e.Op == proxy.OpTunnel {
		return "the way to the proxy was open before: if this comes back, something drops silent connections: try a shorter --keep-alive"
	}
	hint := "check " + setting(e.Source)
	if late, ok := as[net.Error](err); ok && late.Timeout() {
		hint += ", or wait longer with --connect-timeout"
	}
	return hint + forLast(e, "; a second --forward-proxy is an alternative, --forward-proxy direct goes without a proxy")
}
