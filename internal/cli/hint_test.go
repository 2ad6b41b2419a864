package cli_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/internal/cli"
	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/keyring"
	"github.com/pomerium/pomerium-cli/internal/kubecred"
	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/pac"
	"github.com/pomerium/pomerium-cli/internal/sock"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

const hop = "http://proxy.internal:3128"

func proxyErr(op string, change func(*proxy.Error)) error {
	e := &proxy.Error{Hop: hop, Source: "--forward-proxy", Op: op, Target: "edge.example.com:443", Err: errors.New("x")}
	if change != nil {
		change(e)
	}
	return fmt.Errorf("wrapped: %w", e)
}

func answer(status int, author edge.Author, reason string) error {
	return &edge.AnswerError{Edge: "pomerium.example.com", Destination: "db.internal:5432", Status: status, Author: author, Reason: reason, RequestID: "id-1"}
}

// troubles has a row for each remedy: what went wrong, what is said, and the
// code that the program exits with.
var troubles = []struct {
	err  error
	want string
	exit int
}{
	{cli.UnknownCommand("tpc", "tcp"), "did you mean pomerium-cli tcp?", 2},
	{cli.UnknownCommand("xyz"), "pomerium-cli help", 2},
	{&cli.Refusal{What: "command x", Reason: "not yet", Instead: "use pomerium-cli tcp"}, "use pomerium-cli tcp", 2},
	{&proxy.SettingError{Source: "--forward-proxy", Err: errors.New("x")}, "write --forward-proxy http://", 2},
	{&proxy.SettingError{Source: "--pre-proxy", Err: errors.New("x")}, "write --pre-proxy http://", 2},
	{&proxy.SettingError{Source: "POMERIUM_FORWARD_PROXY", Err: errors.New("x")}, "correct POMERIUM_FORWARD_PROXY", 2},
	{&proxy.SettingError{Source: "HTTPS_PROXY", Err: errors.New("x")}, "correct HTTPS_PROXY", 2},
	{&proxy.SettingError{Source: "ProxyType in KDE settings", Err: errors.New("x")}, "correct it there, or name the proxy itself: --forward-proxy", 2},
	{&proxy.SettingError{Source: "GNOME settings", Err: cli.ErrDetect}, "--forward-proxy pac+http://wpad.", 2},
	{cli.UsageError("pomerium-cli tcp", errors.New("x")), "pomerium-cli tcp --help", 2},
	{cli.UsageError("pomerium-cli auth", cli.ErrNoServer), "or in POMERIUM_URL", 2},
	{cli.UsageError("", fmt.Errorf("--forward-proxy: %w", cli.ErrPasswordInURL)), "--forward-proxy-credentials-file or POMERIUM_FORWARD_PROXY_USER", 2},
	{cli.UsageError("", fmt.Errorf("--service-account: %w", cli.ErrTokenInFlag)), "give it with --service-account-file", 2},
	{cli.UsageError("", fmt.Errorf("--remote: %w", cli.ErrNobody)), "give a token with --service-account-file", 2},
	{cli.PageError("https://x.example.com/.pomerium/sign_out", io.EOF), "open that page in the browser that you signed in with", 1},
	{cli.ErrNoRoute, "pomerium-cli routes list", 1},
	{cli.ErrManyRoute, "pomerium-cli routes list", 1},
	{fmt.Errorf("config: %w", kubecred.ErrStyle), "--kubeconfig takes another file", 1},
	{&login.Error{Op: "signing in to x", Err: cli.UnattendedError("https://x.test")}, "pomerium-cli login https://x.test signs in", 4},
	{&login.Error{Op: "signing in to x", Err: cli.ErrSignedOut}, "pomerium-cli login signs in", 4},
	{&edge.AnswerError{Edge: "x.example.com", Status: 404}, "no list for pomerium-cli routes", 5},

	{&listen.Error{Spec: "127.0.0.1:1", Reason: listen.InUse}, "choose another with --listen", 1},
	{&listen.Error{Spec: "127.0.0.1:1", Reason: listen.Forbidden}, "from 1024 with --listen", 1},
	{&listen.Error{Spec: "192.0.2.1:1", Reason: listen.NotOurs}, "--listen 127.0.0.1:5432 is for", 1},
	{&listen.Error{Spec: "unix:/x", Reason: listen.NotASocket}, "--listen unix:/path", 1},
	{&listen.Error{Spec: "-", Err: errors.New("x")}, ">/dev/null", 1},
	{&listen.OutputError{Err: syscall.EPIPE}, "the output of --listen -", 1},

	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Status, e.Schemes = 407, []string{"Basic"} }), "in --forward-proxy: http://user:password@proxy.internal:3128", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Source = "HTTPS_PROXY" }), "in HTTPS_PROXY: http://user:password@", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Schemes = []string{"Bearer", "Hawk"} }), "none of these is spoken here", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Schemes = []string{"Bearer", "NTLM"} }), "--forward-proxy-credentials-file, or in --forward-proxy: http://user:password@", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Hop = "socks5://proxy.internal:1080" }), "in --forward-proxy: socks5://user:password@proxy.internal:1080", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = fmt.Errorf("Negotiate: %w", proxy.ErrNoTicket) }), "kinit gets a ticket", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = fmt.Errorf("Negotiate: %w", proxy.ErrTicketRefused) }), "the proxy's name in the domain with that in --forward-proxy", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = proxy.ErrParted }), "leave NTLM out with --forward-proxy-auth", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = fmt.Errorf("Negotiate: %w", proxy.ErrNoService) }), "--forward-proxy-spn", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = errors.Join(proxy.ErrRejected, cli.ErrKeptRefused) }), "--save puts it in place of the old", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = keyring.ErrLocked }), "unlock the keyring", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = proxy.ErrRejected }), "check user and password in --forward-proxy (%", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err, e.UserSource = proxy.ErrRejected, "/home/x/.netrc" }), "check user and password in /home/x/.netrc", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err, e.UserSource = proxy.ErrRejected, "POMERIUM_FORWARD_PROXY_USER and so on" }), "check POMERIUM_FORWARD_PROXY_USER and", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Err = &proxy.LeftOut{} }), "--forward-proxy-auth says what may be used", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Source = "--pre-proxy" }), "in --pre-proxy: http://user:password@proxy.internal:3128", 3},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = errors.New("remote error: tls: certificate required") }), "--forward-proxy-client-cert", 3},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = errors.New("remote error: tls: expired certificate") }), "--forward-proxy-client-cert", 3},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = x509.UnknownAuthorityError{} }), "--forward-proxy-ca-path", 3},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = x509.HostnameError{Certificate: &x509.Certificate{}} }), "in the certificate in --forward-proxy", 3},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) {
		e.Source, e.Err = "--pre-proxy", errors.New("remote error: tls: certificate required")
	}), "a helper such as stunnel", 3},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) {
		e.Source, e.Err = "--pre-proxy", x509.HostnameError{Certificate: &x509.Certificate{}}
	}), "use a name that is in the certificate in --pre-proxy", 3},
	{proxyErr(proxy.OpTLS, func(e *proxy.Error) { e.Err = &proxy.WrongProtocol{Want: "TLS", Got: "HTTP"} }), "try http://", 3},
	{proxyErr(proxy.OpTLS, nil), "check that the proxy speaks TLS", 3},
	{proxyErr(proxy.OpTunnel, nil), "a shorter --keep-alive", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = &proxy.WrongProtocol{Want: "HTTP", Got: "SOCKS"} }), "try socks5://", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = &proxy.WrongProtocol{Want: "SOCKS5", Got: "HTTP"} }), "try http://", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = &proxy.WrongProtocol{Want: "HTTP", Got: "TLS"} }), "try https://", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = &proxy.WrongProtocol{Want: "HTTP", Got: "SSH"} }), "check the port in --forward-proxy", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status, e.Location = 302, "portal.example.com" }), "sign in to the network", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status = 403 }), "to allow CONNECT to edge.example.com:443", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status = 502 }), "could not reach edge.example.com:443", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status = 404 }), "could not reach edge.example.com:443", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = sock.ErrReset }), "try socks5:// in --forward-proxy", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = proxy.Reply(2) }), "to allow CONNECT to edge.example.com:443", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = proxy.Reply(4) }), "could not reach edge.example.com:443", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = proxy.Reply(8) }), "check --forward-proxy", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Hop, e.Err = "socks5://h:1", context.DeadlineExceeded }), "try http://", 3},
	{proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Err = context.DeadlineExceeded }), "try socks5://", 3},
	{proxyErr(proxy.OpConnect, nil), "check --forward-proxy", 3},
	{proxyErr(proxy.OpDial, func(e *proxy.Error) { e.Err = context.DeadlineExceeded }), "--connect-timeout", 3},
	{cli.ScriptError("--forward-proxy", &pac.Error{Name: "x", Err: io.EOF}), "ask whoever keeps the script", 3},
	{cli.ScriptError("--forward-proxy", x509.UnknownAuthorityError{}), "--forward-proxy-ca-path", 3},
	{cli.ScriptError("--forward-proxy", io.EOF), "address in --forward-proxy", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Source = "the pac script of --forward-proxy" }), "give user and password in POMERIUM_FORWARD_PROXY_USER", 3},
	{proxyErr(proxy.OpAuth, func(e *proxy.Error) { e.Source = "https host in GNOME settings" }), "give user and password in POMERIUM_FORWARD_PROXY_USER", 3},
	{proxyErr(proxy.OpDial, nil), "--forward-proxy direct", 3},
	{proxyErr(proxy.OpDial, func(e *proxy.Error) { e.Source = "--pre-proxy" }), "check --pre-proxy", 3},
	{&proxy.TriedError{Tried: []error{proxyErr(proxy.OpDial, nil), proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status = 403 })}}, "to allow CONNECT", 3},
	{&proxy.TriedError{Tried: []error{proxyErr(proxy.OpDial, nil), &net.OpError{Op: "dial", Err: sock.ErrRefused}}}, "check --forward-proxy", 3},

	{cli.StoreError(keyring.ErrNone), "--token-store file", 1},
	{cli.StoreError(keyring.ErrLocked), "unlock the keyring", 1},
	{&login.Error{Op: "service account", Err: login.ErrRefused, Account: true}, "have a new service account token made", 4},
	{&login.Error{Op: "service account", Err: os.ErrNotExist, Account: true}, "--service-account-file (", 4},
	{cli.UsageError("", &login.Error{Op: "service account", Err: os.ErrNotExist, Account: true}), "--service-account-file (", 2},
	{&login.Error{Op: "signing in", Err: context.Canceled}, "--browser-cmd", 4},
	{answer(401, edge.AuthorPomerium, "Unauthenticated"), "--browser-cmd", 4},
	{&login.Error{Op: "token", Err: cli.ErrNoToken}, "pomerium-cli check --sign-in", 4},
	{&login.Error{Op: "token", Err: cli.ErrOldToken}, "pomerium-cli check --sign-in", 4},
	{&login.Error{Op: "signing in", Err: &net.OpError{Op: "dial", Err: sock.ErrRefused}}, "port in --pomerium-url", 4},
	{&login.Error{Op: "signing in", Err: &net.DNSError{Name: "pomerium.example.com", IsNotFound: true}}, "--forward-proxy http://", 4},
	{&login.Error{Op: "signing in", Err: proxyErr(proxy.OpConnect, func(e *proxy.Error) { e.Status = 403 })}, "to allow CONNECT", 3},

	{x509.UnknownAuthorityError{}, "--alternate-ca-path", 1},
	{x509.HostnameError{Certificate: &x509.Certificate{}}, "--pomerium-url", 1},
	{x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}, "clock (date)", 1},
	{fmt.Errorf("edge.example.com: %w", http.ErrSchemeMismatch), "sign in to the network, or check the port in --pomerium-url", 1},
	{tunnel.ErrNotTLS, "--pomerium-url", 1},
	{&tunnel.Error{Edge: "edge.example.com:443", Op: "connect", Err: io.EOF}, "scheme and port in --pomerium-url", 1},
	{&tunnel.Error{Edge: "edge.example.com:443", Op: "tls", Err: io.ErrUnexpectedEOF}, "scheme and port in --pomerium-url", 1},
	{&login.Error{Op: "signing in", Err: fmt.Errorf("edge.example.com: %w", io.EOF)}, "scheme and port in --pomerium-url", 4},
	{tunnel.ErrNoH2, "--protocol", 1},
	{errors.New("remote error: tls: certificate required"), "--client-cert", 1},

	{&edge.AnswerError{Edge: "pomerium.example.com", Destination: "db:1", Status: 500, Reason: "ERROR: a page of squid"}, "have pomerium.example.com exempted from TLS inspection, or choose another way with --forward-proxy", 3},
	{&edge.AnswerError{Edge: "pomerium.example.com", Destination: "db:1", Status: 302, Astray: "block.example.com", Reason: "sent on to block.example.com"}, "have pomerium.example.com exempted from TLS inspection", 3},
	{&edge.AnswerError{Edge: "pomerium.example.com:80", Destination: "db:1", Status: 301, Astray: "pomerium.example.com", Reason: "sent on to pomerium.example.com"}, "check that --pomerium-url begins with https://", 5},
	{&edge.AnswerError{Edge: "[2001:db8::1]", Destination: "db:1", Status: 302, Astray: "[2001:db8::2]", Reason: "sent on to [2001:db8::2]"}, "have [2001:db8::1] exempted from TLS inspection", 3},
	{atEdge("connect", tunnel.ErrNoAnswer), "have pomerium.example.com exempted from TLS inspection", 3},
	{answer(403, edge.AuthorNone, ""), "give pomerium-cli tcp a TCP route", 5},
	{answer(403, edge.AuthorPomerium, "Forbidden"), "mention request id id-1", 5},
	{answer(404, edge.AuthorProxy, "route_not_found"), "https://pomerium.example.com/.pomerium/routes", 5},
	{answer(400, edge.AuthorNone, ""), "--pomerium-url", 5},
	{answer(408, edge.AuthorNone, ""), "--log-level debug", 5},
	{answer(421, edge.AuthorNone, ""), "--pomerium-url", 5},
	{answer(429, edge.AuthorNone, ""), "--max-connections", 5},
	{answer(431, edge.AuthorNone, ""), "--service-account-file", 5},
	{answer(450, edge.AuthorPomerium, ""), "https://pomerium.example.com", 5},
	{answer(495, edge.AuthorPomerium, ""), "--client-cert", 5},
	{answer(503, edge.AuthorProxy, "no_healthy_upstream"), "--log-level debug", 5},
	{answer(418, edge.AuthorNone, ""), "--pomerium-url", 5},

	{cli.ErrLoop, "--forward-proxy", 1},
	{&net.DNSError{Name: "pomerium.example.com", IsNotFound: true}, "--forward-proxy http://", 1},
	{&net.OpError{Op: "dial", Err: sock.ErrRefused}, "port in --pomerium-url", 1},
	{&proxy.DirectError{Source: "direct", Err: &net.DNSError{Name: "pomerium.example.com", IsNotFound: true}}, "where only a proxy can look names up", 1},
	{&proxy.DirectError{Source: "NO_PROXY", Err: &net.OpError{Op: "dial", Err: sock.ErrRefused}}, "that no proxy is used comes from NO_PROXY, and --forward-proxy", 1},
	{&net.OpError{Op: "dial", Err: syscall.ENETUNREACH}, "--forward-proxy http://", 1},
	{&tunnel.IdleError{Quiet: time.Minute, Err: tunnel.ErrCut}, "--keep-alive does it", 1},
	{&tunnel.IdleError{Quiet: time.Minute, Err: &net.OpError{Op: "read", Err: sock.ErrReset}}, "--keep-alive does it", 1},
	{tunnel.ErrDeadPath, "--keep-alive", 1},
	{os.ErrInvalid, "", 1},
}

func TestHints(t *testing.T) {
	// What a user can type: a flag, a variable, a command, an address.
	remedy := regexp.MustCompile(`--[a-z]|[A-Z]{3,}_[A-Z]|pomerium-cli|https?://|>/dev/null|\(date\)`)
	for _, c := range troubles {
		got := cli.HintFor(c.err)
		if !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%v:\n got %q\nwant %q", c.err, got, c.want)
		}
		if got != "" && !remedy.MatchString(got) {
			t.Errorf("%v: the hint %q names nothing to type", c.err, got)
		}
		if exit := cli.ExitCode(c.err); exit != c.exit {
			t.Errorf("%v: exit code %d, want %d", c.err, exit, c.exit)
		}
	}
}

// TestEveryHintIsTested fails for a new row of the table without a trouble above.
func TestEveryHintIsTested(t *testing.T) {
	for i, hint := range cli.Hints() {
		used := false
		for _, c := range troubles {
			used = used || hint(c.err) != ""
		}
		if !used {
			t.Errorf("hint %d is used by no row of troubles", i)
		}
	}
}
