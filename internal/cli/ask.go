package cli

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/pomerium/pomerium-cli/internal/check"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// asks are what to ask of those who run the network, in words that they use. A
// row looks at an error and says the request, or "" if it is not its own. What
// one can do oneself is in hints.
var asks = []func(error) string{
	askProxyDial,
	askProxyTLS,
	askProxyAuth,
	askProxyConnect,
	askEdgeTLS,
	askInspection,
	askDirect,
}

// askFor picks the request for an error, or "".
func askFor(err error) string {
	for _, a := range asks {
		if text := a(err); text != "" {
			return text
		}
	}
	return ""
}

// atProxy finds the error of a forward proxy that was doing op.
func atProxy(err error, op string) (*proxy.Error, bool) {
	e, ok := as[*proxy.Error](err)
	return e, ok && e.Op == op
}

func askProxyDial(err error) string {
	e, ok := atProxy(err, proxy.OpDial)
	switch {
	case !ok, errors.Is(err, errLoop):
		return ""
	case is[*net.DNSError](err):
		return "is " + e.Hop + " the forward proxy for this network? The name servers of this machine do not resolve its name"
	}
	return "is " + e.Hop + " the forward proxy for this network, and may this machine connect to it?"
}

func askProxyTLS(err error) string {
	e, ok := atProxy(err, proxy.OpTLS)
	switch {
	case !ok:
		return ""
	case is[x509.UnknownAuthorityError](err):
		return "please send me the certificate of the authority that has issued the certificate of the forward proxy " + e.Hop
	case wantsCertificate(err):
		return "please issue me a client certificate for the forward proxy " + e.Hop
	case silentOrCut(err):
		return "please see why the forward proxy " + e.Hop + " does not finish a TLS handshake with this machine: does it speak TLS on that port?"
	}
	return ""
}

func askProxyAuth(err error) string {
	e, ok := atProxy(err, proxy.OpAuth)
	switch {
	case !ok:
		return ""
	case errors.Is(err, proxy.ErrRejected):
		return "does my user at the forward proxy " + e.Hop + " still exist, and is it not locked?"
	case errors.Is(err, proxy.ErrNoService), errors.Is(err, proxy.ErrTicketRefused):
		return "which service principal name (SPN) does the forward proxy " + e.Hop + " have?"
	case len(e.Schemes) > 0 && !slices.ContainsFunc(e.Schemes, spoken):
		return "how does a program without a browser authenticate to the forward proxy " + e.Hop + ", which offers " + strings.Join(e.Schemes, ", ") + "?"
	}
	return "which user may a program give to the forward proxy " + e.Hop + "?"
}

func askProxyConnect(err error) string {
	e, ok := atProxy(err, proxy.OpConnect)
	if !ok || e.Location != "" || is[*proxy.WrongProtocol](err) {
		return ""
	}
	reply, socks := as[proxy.Reply](err)
	switch {
	case e.Status == 403, e.Status == 405, reply == 2:
		return "please allow CONNECT to " + e.Target + " on the forward proxy " + e.Hop + " for the user or machine that I use" + squidError(e)
	case e.Status >= 500, socks:
		return "please see why the forward proxy " + e.Hop + " cannot reach " + e.Target + squidError(e) + ": can it look the name up, and may it connect to that port?"
	case e.Status == 0:
		return "please see why the forward proxy " + e.Hop + " does not answer CONNECT to " + e.Target
	}
	return fmt.Sprintf("please see why the forward proxy %s answers CONNECT to %s with %d%s", e.Hop, e.Target, e.Status, squidError(e))
}

// squidError is the proxy's own name for what it did, which its administrator
// finds in the documentation.
func squidError(e *proxy.Error) string {
	if code := e.Header.Get("X-Squid-Error"); code != "" {
		return " (X-Squid-Error: " + code + ")"
	}
	return ""
}

func askEdgeTLS(err error) string {
	e, ok := as[*tunnel.Error](err)
	if !ok || e.Op != "tls" {
		return ""
	}
	unverified, named := as[*tls.CertificateVerificationError](err)
	switch {
	case is[x509.UnknownAuthorityError](err) && named && len(unverified.UnverifiedCertificates) > 0:
		return fmt.Sprintf("please exclude %s from TLS inspection: its certificate comes from %s; or send me the certificate of that authority",
			e.Edge, unverified.UnverifiedCertificates[0].Issuer)
	case is[x509.HostnameError](err) && named && len(unverified.UnverifiedCertificates) > 0:
		return fmt.Sprintf("please see why connections to %s come to a server with the certificate of %s, from %s",
			e.Edge, unverified.UnverifiedCertificates[0].Subject, unverified.UnverifiedCertificates[0].Issuer)
	case errors.Is(err, tunnel.ErrNotTLS):
		return "" // a page to sign in to the network on: no administrator needed
	case silentOrCut(err):
		return "please let TLS to " + e.Edge + " pass: something stops the handshake, as a filter does that reads the name (SNI)"
	}
	return ""
}

// silentOrCut says whether a handshake ended without a word of the other side.
func silentOrCut(err error) bool {
	late, ok := as[net.Error](err)
	return ok && late.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || is[*net.OpError](err)
}

func askInspection(err error) string {
	if server := inspected(err); server != "" {
		return "please exclude " + server + " from TLS inspection: CONNECT requests inside of TLS do not reach it"
	}
	return ""
}

// askDirect is about a way out without a proxy.
func askDirect(err error) string {
	late, isLate := as[net.Error](err)
	if is[*proxy.Error](err) || is[*tunnel.Error](err) || !isLate {
		return ""
	}
	if is[*net.DNSError](err) {
		return "which forward proxy do programs on this network use? (names outside are not looked up here)"
	}
	if is[*net.OpError](err) || late.Timeout() {
		return "may this machine connect to the Pomerium server directly, or which forward proxy do programs on this network use?"
	}
	return ""
}

// explain says what to do about a step that went wrong.
func explain(s check.Step) (hint, ask string) {
	switch {
	case s.Name == check.StepIdle && s.Cut > 0:
		_, host, _ := strings.Cut(s.At, "://")
		return hintCut(time.Duration(s.Cut * float64(time.Second))), fmt.Sprintf("please let CONNECT tunnels to %s be silent for longer: connections are cut after %s without a byte", host, seconds(s.Cut))
	case s.State != check.Failed || s.Err == nil:
		return "", ""
	}
	return hintFor(s.Err), askFor(s.Err)
}
