package cli

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/sock"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// hintEdgeTLS is about the edge's certificate, which an intercepting proxy may
// have replaced.
func hintEdgeTLS(err error) string {
	switch {
	case is[x509.UnknownAuthorityError](err):
		return "if that authority is your organisation's, give its certificate with --alternate-ca-path"
	case is[x509.HostnameError](err):
		return "give the server's own name in --pomerium-url"
	case is[x509.CertificateInvalidError](err):
		return "check this machine's clock (date), and the server's certificate"
	case errors.Is(err, tunnel.ErrNotTLS), errors.Is(err, http.ErrSchemeMismatch):
		return "open a web page in a browser to sign in to the network, or check the port in --pomerium-url"
	case (is[*tunnel.Error](err) || is[*login.Error](err)) && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return "check scheme and port in --pomerium-url: a server that speaks TLS closes what is not, and the other way round"
	case errors.Is(err, tunnel.ErrNoH2):
		return "leave --protocol out, or say --protocol h1"
	case wantsCertificate(err):
		return "the server wants a certificate of an authority that it trusts: give one with --client-cert and --client-key"
	}
	return ""
}

// wantsCertificate reports whether the other side of TLS has no certificate of
// ours, or does not take the one that it has. crypto/tls has no type for that.
func wantsCertificate(err error) bool {
	_, alert, _ := strings.Cut(err.Error(), "remote error: tls: ")
	return strings.Contains(alert, "certificate") // required, bad, expired, ...
}

// hintInspection is about a box on the way that opens TLS.
func hintInspection(err error) string {
	if server := inspected(err); server != "" {
		return "something on the way opens TLS and does not pass CONNECT on: have " + server + " exempted from TLS inspection, or choose another way with --forward-proxy"
	}
	return ""
}

// inspected names the edge in whose place something else has answered a CONNECT,
// or nobody has. The edge's own answers are signed; a redirect to the same host is
// of another server there, or wants https.
func inspected(err error) (server string) {
	answer, answered := as[*edge.AnswerError](err)
	silent, ok := as[*tunnel.Error](err)
	switch {
	case answered && answer.Author == edge.AuthorNone && answer.Reason != "" && answer.Destination != "" && !answer.SignIn() && !itself(answer):
		return answer.Edge
	case ok && errors.Is(err, tunnel.ErrNoAnswer):
		return silent.Edge
	}
	return ""
}

// itself reports whether an edge leads to itself, and not to a page of Pomerium's.
func itself(e *edge.AnswerError) bool {
	edge, to := url.URL{Host: e.Edge}, url.URL{Host: e.Astray}
	return strings.EqualFold(edge.Hostname(), to.Hostname())
}

// edgeAnswers are remedies for what the edge says, by status.
var edgeAnswers = map[int]string{
	400: "check the destination, and that --pomerium-url is a Pomerium server",
	404: "check host and port of the destination as the portal shows them: open https://EDGE/.pomerium/routes in a browser; --pomerium-url chooses the server",
	408: "try again; if it stays, ask whoever runs EDGE whether the destination is up (pomerium-cli --log-level debug tells more)",
	421: "check --pomerium-url: EDGE does not serve this destination",
	429: "wait a little, then try again; --max-connections does not limit what the server counts",
	431: "the server finds the request too long: a shorter token, for instance with --service-account-file",
	450: "this device is not allowed: open https://EDGE in a browser to register it, or use --service-account-file",
	495: "the server wants a client certificate: give one with --client-cert and --client-key",
}

func hintEdgeAnswer(err error) string {
	e, ok := as[*edge.AnswerError](err)
	if !ok || e.SignIn() {
		return ""
	}
	switch {
	case e.Destination == "" && e.Status == 404:
		return "check that https://" + e.Edge + " is a Pomerium server; one before v0.29, or with its portal switched off, has no list for pomerium-cli routes"
	case e.Status == 403 && e.Author == edge.AuthorNone && e.Reason == "":
		return "this name is a route of another kind (UDP or HTTP): see https://" + e.Edge + "/.pomerium/routes, and give pomerium-cli tcp a TCP route"
	case e.Status == 403:
		return "ask whoever runs " + e.Edge + " for access" + mention(e.RequestID) + ", or sign in as somebody else (--service-account-file)"
	case edgeAnswers[e.Status] != "":
		return strings.ReplaceAll(edgeAnswers[e.Status], "EDGE", e.Edge)
	case e.Status >= 500:
		return "the server cannot reach the destination just now: try again, or ask whoever runs " + e.Edge + mention(e.RequestID) + "; --log-level debug tells more"
	}
	return "check that --pomerium-url begins with https:// and is a Pomerium server"
}

func mention(requestID string) string {
	if requestID == "" {
		return ""
	}
	return " and mention request id " + requestID
}

// hintIdle is about a silent tunnel that was cut, which happens over HTTP/1.1
// alone: there nothing in band can tell that the tunnel is in use.
func hintIdle(err error) string {
	if is[*tunnel.IdleError](err) {
		return "over HTTP/1.1 nothing keeps a silent tunnel open: let the program send something now and then, or ask for a longer idle limit; where the server speaks HTTP/2 (no --protocol h1), --keep-alive does it"
	}
	return ""
}

// hintCut is about a path that cuts what is silent for so long.
func hintCut(cut time.Duration) string {
	ping := min(defaultKeepAlive, max(time.Second, (cut/2).Truncate(time.Second)))
	return "--keep-alive " + ping.String() + " sends a ping in time, over HTTP/2; over HTTP/1.1 the program that uses the tunnel has to say something"
}

// hintDirect is about a way out without a proxy that leads nowhere.
func hintDirect(err error) string {
	_, isURL := as[*url.Error](err)
	_, isDial := as[*net.OpError](err)
	direct, _ := as[*proxy.DirectError](err)
	switch {
	case errors.Is(err, errLoop):
		return "point --forward-proxy, or --listen, to another port"
	case direct != nil && !slices.Contains([]string{"", "direct", "loopback", "--forward-proxy"}, direct.Source):
		return "check --pomerium-url; that no proxy is used comes from " + direct.Source + ", and --forward-proxy http://proxy.internal:3128 comes before that"
	case is[*net.DNSError](err):
		return "check the name in --pomerium-url; where only a proxy can look names up, give it with --forward-proxy http://proxy.internal:3128"
	case errors.Is(err, sock.ErrRefused):
		return "check the port in --pomerium-url"
	case errors.Is(err, tunnel.ErrDeadPath):
		return "if this comes back, something drops silent connections: try a shorter --keep-alive"
	case isURL || isDial:
		return "check --pomerium-url; if this machine goes out through a proxy, give it with --forward-proxy http://proxy.internal:3128"
	}
	return ""
}
