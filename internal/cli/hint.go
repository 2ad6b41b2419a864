package cli

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/keyring"
	"github.com/pomerium/pomerium-cli/internal/kubecred"
	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/pac"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// hints are the remedies, one row for each kind of trouble, tried from top to
// bottom: what went wrong at the nearest hop comes first. A row looks at an
// error and says what to do, or "" if the error is not its own. Each names a
// flag, a variable or a command.
var hints = []func(error) string{
	hintCommand,
	hintRefusal,
	hintSetting,
	hintUsage,
	hintListen,
	hintOutput,
	hintScript,
	hintProxyAuth,
	hintProxyTLS,
	hintProxyProtocol,
	hintProxyAnswer,
	hintProxyDial,
	hintAccount,
	hintStore,
	hintSignedOut,
	hintKubeconfig,
	hintChoice,
	hintEdgeTLS,
	hintInspection,
	hintEdgeAnswer,
	hintSignIn,
	hintIdle,
	hintDirect,
}

// hintFor picks the remedy for an error, or "".
func hintFor(err error) string {
	for _, h := range hints {
		if text := h(err); text != "" {
			return text
		}
	}
	return ""
}

// as finds an error of type E in err's chain.
func as[E error](err error) (E, bool) {
	var e E
	ok := errors.As(err, &e)
	return e, ok
}

func hintCommand(err error) string {
	e, ok := as[*unknownCommand](err)
	switch {
	case !ok:
		return ""
	case len(e.similar) > 0:
		return "did you mean pomerium-cli " + e.similar[0] + "?"
	}
	return "pomerium-cli help lists the commands"
}

func hintRefusal(err error) string {
	if e, ok := as[*Refusal](err); ok {
		return e.Instead
	}
	return ""
}

// hintSetting is about a proxy setting that cannot be used.
func hintSetting(err error) string {
	e, ok := as[*proxy.SettingError](err)
	switch {
	case !ok:
		return ""
	case errors.Is(err, errDetect):
		return "if you know who answers there, name the script: --forward-proxy pac+http://wpad.example.com/wpad.dat; or name the proxy; or add --forward-proxy direct"
	case e.Source == "--pre-proxy":
		return "write --pre-proxy http://proxy.internal:3128, with % # / ? @ in a password as %25 %23 %2F %3F %40"
	case e.Source == "--forward-proxy":
		return "write --forward-proxy http://proxy.internal:3128, with % # / ? @ in a password as %25 %23 %2F %3F %40; or --forward-proxy direct for none"
	}
	if ofSystem(e.Source) {
		return "correct it there, or name the proxy itself: --forward-proxy http://proxy.internal:3128"
	}
	return "correct " + e.Source + " (% # / ? @ in a password are %25 %23 %2F %3F %40), unset it, or set --forward-proxy in its place"
}

func hintUsage(err error) string {
	if errors.Is(err, errNoServer) {
		return "give it as https://pomerium.example.com, or in " + envURL
	}
	if e, ok := as[*usageError](err); ok && e.command != "" {
		return e.command + " --help tells what it takes"
	}
	return ""
}

func hintListen(err error) string {
	e, ok := as[*listen.Error](err)
	if !ok {
		return ""
	}
	switch e.Reason {
	case listen.InUse:
		return "choose another with --listen, or leave --listen out for a free port"
	case listen.Forbidden:
		return "choose a port from 1024 with --listen 127.0.0.1:8443, or a path in a directory of your own"
	case listen.NotOurs:
		return "--listen 127.0.0.1:5432 is for programs of this machine, --listen :5432 for all who reach it"
	case listen.NotASocket:
		return "remove the file, or choose another path with --listen unix:/path"
	}
	if e.Spec == "-" {
		return "--listen - writes there what the destination answers; >/dev/null throws it away"
	}
	return ""
}

func hintOutput(err error) string {
	if is[*listen.OutputError](err) {
		return "the program that reads the output of --listen - has ended or cannot take more"
	}
	return ""
}

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
		return "type the new password in a terminal: --save puts it in place of the old; or give POMERIUM_FORWARD_PROXY_USER and POMERIUM_FORWARD_PROXY_PASSWORD, which come before the keyring"
	case errors.Is(err, keyring.ErrLocked), errors.Is(err, keyring.ErrDismissed):
		return "unlock the keyring, or give POMERIUM_FORWARD_PROXY_USER and POMERIUM_FORWARD_PROXY_PASSWORD, or --forward-proxy-credentials-file"
	case errors.Is(err, proxy.ErrRejected):
		return "check user and password in " + setting(e.Source) + " (% # / ? @ in them are written as %25 %23 %2F %3F %40), or in POMERIUM_FORWARD_PROXY_USER and POMERIUM_FORWARD_PROXY_PASSWORD"
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
		return "give user and password in POMERIUM_FORWARD_PROXY_USER and POMERIUM_FORWARD_PROXY_PASSWORD; --forward-proxy-auth may forbid what the proxy offers"
	case strings.HasPrefix(e.Hop, "socks"):
		return "put user and password in " + setting(e.Source) + ": " + withUser(e.Hop) + ", in POMERIUM_FORWARD_PROXY_USER and POMERIUM_FORWARD_PROXY_PASSWORD, or in a --forward-proxy-credentials-file"
	}
	return "put user and password in " + setting(e.Source) + ": " + withUser(e.Hop) + ", in POMERIUM_FORWARD_PROXY_USER and POMERIUM_FORWARD_PROXY_PASSWORD, or in a --forward-proxy-credentials-file; --forward-proxy-auth may forbid what the proxy offers"
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
		return "use a name that is in the certificate in " + setting(e.Source) + ", or give that name with --forward-proxy-tls-server-name"
	case wantsCertificate(err):
		return "the proxy wants a certificate of an authority that it trusts: give one with --forward-proxy-client-cert and --forward-proxy-client-key"
	case is[*proxy.WrongProtocol](err):
		return "try http:// instead of https:// in " + setting(e.Source)
	}
	return "check that the proxy speaks TLS on this port: https:// in " + setting(e.Source) + " means TLS to the proxy itself"
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
	if e.Source == "--pre-proxy" {
		return hint
	}
	return hint + "; a second --forward-proxy is an alternative, --forward-proxy direct goes without a proxy"
}

// hintAccount is about a service account, for which nobody can sign in.
// hintStore is about a keyring that cannot keep tokens.
func hintStore(err error) string {
	switch {
	case !is[*storeError](err):
		return ""
	case errors.Is(err, keyring.ErrLocked), errors.Is(err, keyring.ErrDismissed):
		return "unlock the keyring; or --token-store file, or memory for this run alone"
	}
	return "--token-store file keeps them in files that only you can read, --token-store memory for this run alone"
}

func hintAccount(err error) string {
	e, ok := as[*login.Error](err)
	switch {
	case !ok || !e.Account:
		return ""
	case errors.Is(err, login.ErrRefused):
		return "have a new service account token made, and give it with --service-account-file or POMERIUM_SERVICE_ACCOUNT"
	}
	return "--service-account-file (POMERIUM_SERVICE_ACCOUNT_FILE) names a file that holds the token and nothing else; --service-account (POMERIUM_SERVICE_ACCOUNT) is the token itself"
}

// hintKubeconfig is about a kubeconfig that is not changed.
func hintKubeconfig(err error) string {
	if errors.Is(err, kubecred.ErrStyle) {
		return "--dry-run prints what to put into it; --kubeconfig takes another file, and KUBECONFIG several"
	}
	return ""
}

// hintChoice is about words that choose no route, or several.
func hintChoice(err error) string {
	if errors.Is(err, errNoRoute) || errors.Is(err, errManyRoute) {
		return "pomerium-cli routes list --type tcp shows them"
	}
	return ""
}

// hintSignedOut is about a command that needs a sign-in and starts none.
func hintSignedOut(err error) string {
	if errors.Is(err, errSignedOut) || errors.Is(err, errUnattended) {
		return "pomerium-cli login signs in"
	}
	return ""
}

// hintEdgeTLS is about the edge's certificate, which an intercepting proxy may
// have replaced.
func hintEdgeTLS(err error) string {
	switch {
	case is[x509.UnknownAuthorityError](err):
		return "if that authority is your organisation's, give its certificate with --alternate-ca-path"
	case is[x509.HostnameError](err):
		return "give the server's own name with --pomerium-url"
	case is[x509.CertificateInvalidError](err):
		return "check this machine's clock (date), and the server's certificate"
	case errors.Is(err, tunnel.ErrNotTLS):
		return "open a web page in a browser to sign in to the network, or check the port in --pomerium-url"
	case is[*tunnel.Error](err) && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
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
// or nobody has. The edge's own answers are signed.
func inspected(err error) (server string) {
	answer, answered := as[*edge.AnswerError](err)
	silent, ok := as[*tunnel.Error](err)
	switch {
	case answered && answer.Author == edge.AuthorNone && answer.Reason != "" && answer.Destination != "" && !answer.SignIn():
		return answer.Edge
	case ok && errors.Is(err, tunnel.ErrNoAnswer):
		return silent.Edge
	}
	return ""
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
	return "check that --pomerium-url is a Pomerium server"
}

func mention(requestID string) string {
	if requestID == "" {
		return ""
	}
	return " and mention request id " + requestID
}

// hintSignIn is about a sign-in that did not come to an end, or was not begun.
func hintSignIn(err error) string {
	if errors.Is(err, errNoToken) || errors.Is(err, errOldToken) {
		return "sign in: pomerium-cli tcp does at its first connection, pomerium-cli check --sign-in does now; or give a token with --service-account-file"
	}
	if is[*login.Error](err) || wantsSignIn(err) {
		return "try again and sign in with the printed URL, choose the browser with --browser-cmd, or give a token with --service-account-file"
	}
	return ""
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
	switch {
	case errors.Is(err, errLoop):
		return "point --forward-proxy, or --listen, to another port"
	case is[*net.DNSError](err):
		return "check the name in --pomerium-url; where only a proxy can look names up, give it with --forward-proxy http://proxy.internal:3128"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "check the port in --pomerium-url"
	case errors.Is(err, tunnel.ErrDeadPath):
		return "if this comes back, something drops silent connections: try a shorter --keep-alive"
	case isURL || isDial:
		return "check --pomerium-url; if this machine goes out through a proxy, give it with --forward-proxy http://proxy.internal:3128"
	}
	return ""
}
