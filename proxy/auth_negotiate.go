package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Negotiate is the scheme of RFC 4559: the ticket that the user has already, from
// logging on to a domain or from kinit, so that no password is needed.
//
// On Windows it is SSPI with the logon session, or with Username and Password
// where they are given; that includes NTLM where there is no Kerberos. On macOS
// it is the GSS framework with the user's credentials. Elsewhere it is Kerberos
// with the ticket cache of KRB5CCNAME, a file (by default the one of krb5.conf,
// or /tmp/krb5cc_UID), or with the keytab of KRB5_CLIENT_KTNAME; KRB5_CONFIG
// names krb5.conf. These are read anew when they change, so that a ticket that
// comes later is used by the next connection. The KDC is asked directly, never
// through a proxy.
//
// To an https proxy the answer is bound to its certificate.
type Negotiate struct {
	SPN                string // of the proxy; empty: HTTP/ and its name, or what that is an alias of
	Username, Password string // on Windows, in place of the logon session; elsewhere not used
	Unasked            bool   // begins with the first request, where Negotiate comes first in Hop.Auth

	kept tickets
}

var (
	// ErrNoTicket is wrapped by the error of Negotiate where there is no ticket,
	// or one that has expired.
	ErrNoTicket = errors.New("no Kerberos ticket")
	// ErrTicketRefused is wrapped where the proxy refused a ticket.
	ErrTicketRefused = errors.New("the proxy refused the Kerberos ticket")
	// ErrNoService is wrapped where the KDC knows no service of the proxy's name.
	ErrNoService = errors.New("the KDC does not know that service")
)

// kdcLimit is how long a KDC may take, within half of what is left for the hop:
// another scheme may do without it.
const kdcLimit = 5 * time.Second

func newNegotiate(w who) *Negotiate {
	n := &Negotiate{SPN: w.spn, Unasked: w.alone()}
	if hasLogonSession {
		n.Username, n.Password = w.name, w.secret
	}
	return n
}

// Scheme implements Authenticator.
func (*Negotiate) Scheme() string { return "Negotiate" }

// Begin implements Authenticator.
func (n *Negotiate) Begin(ctx context.Context, peer Peer) (Exchange, error) {
	session, err := n.session(ctx, n.spn(peer.Host), peer)
	if err != nil {
		return nil, fmt.Errorf("Negotiate: %w", err)
	}
	return &sessionExchange{scheme: "Negotiate", session: session, password: n.password()}, nil
}

// String keeps the password out of what is printed.
func (n *Negotiate) String() string { return "Negotiate" }

// GoString keeps it out of %#v too.
func (n *Negotiate) GoString() string { return "&proxy.Negotiate{}" }

func (n *Negotiate) unasked() bool { return n.Unasked }

func (n *Negotiate) secrets() []string { return []string{n.Password} }

// password says whether a refusal is one of a password.
func (n *Negotiate) password() bool { return hasLogonSession && n.Username != "" }

// spn is the name of the proxy's service, never with a port.
func (n *Negotiate) spn(host string) string {
	if n.SPN != "" {
		return n.SPN
	}
	return "HTTP/" + strings.TrimSuffix(host, ".")
}

// A session makes the tokens of one security context (RFC 2743 2.2.1).
type session interface {
	// step returns the token that answers in; the first in is nil.
	step(ctx context.Context, in []byte) ([]byte, error)
	// close frees what the system keeps for the session.
	close()
}

// sessionExchange carries a session's tokens.
type sessionExchange struct {
	scheme   string
	session  session
	password bool
	legs     int
	closed   bool
}

func (x *sessionExchange) Answer(ctx context.Context, challenge string) (string, error) {
	in, err := token68(challenge)
	if err != nil {
		return "", fmt.Errorf("%s: %w", x.scheme, err)
	}
	if x.closed {
		return "", fmt.Errorf("%s: it is over", x.scheme)
	}
	out, err := x.session.step(ctx, in)
	switch {
	case err == nil && len(out) > 0:
		x.legs++
		return x.scheme + " " + base64.StdEncoding.EncodeToString(out), nil
	case x.legs > 0 && x.password:
		err = ErrRejected
	case err == nil:
		err = errors.New("the proxy refused what it was given")
	}
	x.close()
	return "", fmt.Errorf("%s: %w", x.scheme, err)
}

// close frees the session; the login calls it when it is over.
func (x *sessionExchange) close() {
	if !x.closed {
		x.closed = true
		x.session.close()
	}
}

// Bound: a second token answers the proxy's on this connection.
func (x *sessionExchange) Bound() bool { return x.legs > 1 }

// withKDCLimit leaves half of the time for other schemes.
func withKDCLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := kdcLimit
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)/2)
	}
	return context.WithTimeout(ctx, limit)
}
