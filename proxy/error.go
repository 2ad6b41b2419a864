package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What a hop was doing when it failed: the values of Error.Op.
const (
	OpDial    = "dial"         // reaching the proxy
	OpTLS     = "tls"          // the TLS handshake with an https proxy
	OpAuth    = "authenticate" // the proxy wants to know who asks
	OpConnect = "connect"      // the proxy was asked for the target
	OpTunnel  = "tunnel"       // the way to the target was open, over HTTP/2
)

// ErrRejected is wrapped by the error of a proxy that refused the user name
// and password which it was given.
var ErrRejected = errors.New("the proxy refused the user name or the password")

var errScheme = errors.New("the scheme is none of http, https, socks5 and socks5h")

// Error is a failure at a hop. It holds no password; what the proxy said is
// plain text of bounded length.
type Error struct {
	Hop      string      // scheme://host:port of the proxy
	Source   string      // the setting that named the proxy, as in Way; may be empty
	Op       string      // OpDial, OpTLS, OpAuth, OpConnect or OpTunnel
	Target   string      // host:port that the proxy was asked for; empty before that
	Status   int         // of an HTTP answer; 0 without one
	Schemes  []string    // authentication schemes that the proxy offered
	Location string      // the host that a 3xx answer points to
	Header   http.Header // Proxy-Status, Retry-After, Via and X-Squid-Error of the answer; may be nil
	Body     string      // the gist of the answer's body, one line
	Err      error       // the cause; never nil

	UserSource string // the setting that user and password are from, as in Hop; of OpAuth alone
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("forward proxy " + e.Hop)
	if e.Source != "" {
		b.WriteString(" (" + e.Source + ")")
	}
	switch e.Op {
	case OpTLS:
		b.WriteString(": tls")
	case OpAuth:
		b.WriteString(": authenticate")
	case OpConnect:
		b.WriteString(": connect")
		if e.Target != "" {
			b.WriteString(" " + e.Target)
		}
	case OpTunnel:
		b.WriteString(": tunnel to " + e.Target)
	}
	b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), "tls: ")) // crypto/tls says it, too
	if e.Body != "" {
		b.WriteString(": " + e.Body)
	}
	for _, name := range []string{"X-Squid-Error", "Proxy-Status"} {
		if v := e.Header.Get(name); v != "" {
			b.WriteString(" (" + name + ": " + v + ")")
		}
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// DirectError is a failed dial by a way that has no proxy.
type DirectError struct {
	Addr   string // host:port
	Source string // the setting that chose this way, as in Way; may be empty
	Err    error  // the cause; never nil
}

func (e *DirectError) Error() string {
	text := "dialing " + e.Addr + " directly"
	if e.Source != "" && e.Source != "direct" {
		text += " (" + e.Source + ")"
	}
	return text + ": " + e.Err.Error()
}

func (e *DirectError) Unwrap() error { return e.Err }

// WrongProtocol says that a proxy's port speaks something else than its URL
// says. It is the cause in an Error.
type WrongProtocol struct {
	Want string // "HTTP", "SOCKS5" or "TLS"
	Got  string // "TLS", "HTTP", "HTTP/2", "SOCKS", "SSH"; empty: something else
	Said string // how it began, if that is text
}

func (e *WrongProtocol) Error() string {
	want := map[string]string{"HTTP": "HTTP proxy", "SOCKS5": "SOCKS5", "TLS": "TLS"}[e.Want]
	msg := "this port does not speak " + want
	if e.Got != "" {
		msg += ", it speaks " + e.Got
	}
	if e.Said != "" {
		msg += fmt.Sprintf(": it answered %q", e.Said)
	}
	return msg
}

// LeftOut says that a proxy offers authentication schemes that are spoken here,
// and [Config.Schemes] has none of them. It is the cause in an Error.
type LeftOut struct {
	Offered, Allowed []string // "Basic", "Digest", "NTLM", "Negotiate", and what else is offered
}

func (e *LeftOut) Error() string {
	return "the proxy offers " + strings.Join(e.Offered, ", ") + ", and only " + strings.Join(e.Allowed, ", ") + " may be used"
}

// SettingError is a proxy setting that cannot be used. Its text names the
// setting and what is wrong, never the value.
type SettingError struct {
	Source string // "--forward-proxy", "HTTPS_PROXY", ...
	Err    error
}

func (e *SettingError) Error() string { return e.Source + ": " + e.Err.Error() }
func (e *SettingError) Unwrap() error { return e.Err }

// fail makes the error of one step. When the time was up or the caller has
// cancelled, that is the cause, not what the connection made of it.
func (h *Hop) fail(ctx context.Context, op, target string, err error) *Error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var late *limitError
	if errors.As(err, &late) {
		err = &limitError{what: silence[op], limit: late.limit}
	}
	var wrong *WrongProtocol
	if errors.As(err, &wrong) {
		err = &WrongProtocol{Want: wrong.Want, Got: wrong.Got, Said: quote(wrong.Said, h.secrets())}
	}
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		// A TLS 1.3 proxy that wants a client certificate says so after the handshake.
		op, target = OpTLS, ""
	}
	failed := &Error{Hop: h.String(), Source: h.Source, Op: op, Target: target, Err: err}
	if op == OpAuth {
		failed.UserSource = h.UserSource
		if h.Logins != nil {
			failed.Err = &denied{err, h}
		}
	}
	return failed
}

// A limitError says that a limit of ours was reached.
type limitError struct {
	what  string
	limit time.Duration
}

// silence is what was missing when the time was up.
var silence = map[string]string{
	OpDial:    "no connection",
	OpTLS:     "no end of the handshake",
	OpAuth:    "no answer",
	OpConnect: "no answer",
}

func (e *limitError) Error() string {
	return fmt.Sprintf("%s within %v", e.what, e.limit)
}

func (e *limitError) Timeout() bool { return true }

// Temporary makes it a net.Error.
func (e *limitError) Temporary() bool { return true }

func (e *limitError) Is(target error) bool { return target == context.DeadlineExceeded }

// hurriedKey marks a context that ends with a hop's time: no person is asked in it.
type hurriedKey struct{}

func withLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		limit = DefaultTimeout
	}
	ctx = context.WithValue(ctx, hurriedKey{}, true)
	return context.WithTimeoutCause(ctx, limit, &limitError{what: "no connection", limit: limit})
}

// explainTLS puts words to what a TLS handshake says in numbers.
func explainTLS(err error, protocols []string) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		got, said := identify(record.RecordHeader[:])
		return &WrongProtocol{Want: "TLS", Got: got, Said: said}
	}
	if strings.HasSuffix(err.Error(), "tls: no application protocol") {
		if slices.Contains(protocols, protoHTTP2) {
			return fmt.Errorf("the proxy speaks neither HTTP/2 nor HTTP/1.1 over TLS: %w", err)
		}
		return fmt.Errorf("the proxy does not accept HTTP/1.1 over TLS (HTTP/2 alone?): %w", err)
	}
	return nameIssuer(err)
}

// nameIssuer says whose certificate was not trusted, and who issued it.
func nameIssuer(err error) error {
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0 {
		cert := unverified.UnverifiedCertificates[0]
		return fmt.Errorf("%w (certificate of %s, issued by %s)", err,
			quote(printable(cert.Subject.String()), nil), quote(printable(cert.Issuer.String()), nil))
	}
	return err
}
