package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// An Authenticator answers an HTTP proxy that asks who is there, in one
// authentication scheme (RFC 9110 11.7). It may be used by many goroutines.
type Authenticator interface {
	// Scheme is the name of the scheme, as in a challenge; case does not matter.
	Scheme() string
	// Begin starts an exchange with a proxy. An error means that this scheme
	// cannot be used now; the next one is tried.
	Begin(ctx context.Context, peer Peer) (Exchange, error)
}

// An Exchange answers one challenge after the other, for one request.
type Exchange interface {
	// Answer returns the value of Proxy-Authorization that answers the
	// challenge, `Basic realm="x"`. The scheme's name alone stands for a
	// challenge that did not come again. When the proxy has refused a user name
	// and password, the error wraps ErrRejected, and no scheme sends them again;
	// after any other error the next scheme is tried.
	Answer(ctx context.Context, challenge string) (credentials string, err error)
	// Bound says that the last answer means something only on the connection
	// that its challenge came from.
	Bound() bool
}

// A Peer is the proxy that asks, and what it was asked for.
type Peer struct {
	Host        string            // the proxy's name, without port
	Certificate *x509.Certificate // the proxy's, to bind an answer to the TLS connection; nil: not TLS
	Method      string            // of the request: CONNECT, GET, ...
	URI         string            // of the request: host:port, or a URL in absolute form
	Count       int               // how many requests have answered the same challenge before
}

// errUnsuited is wrapped when a challenge is for another Authenticator of the
// same scheme: it is no reason to tell.
var errUnsuited = errors.New("not for this authenticator")

// authTable has a row for each scheme, the strongest first: that is the order in
// which they are tried. Digest with MD5 comes behind NTLM, whose answer has a
// challenge of both sides in it, and can be bound to TLS.
func authTable() []authRow {
	return []authRow{
		{"negotiate", func(w who) Authenticator { return newNegotiate(w) }},
		{"digest", func(w who) Authenticator {
			return w.password(Digest{Username: w.name, Password: w.secret, Algorithms: []string{"SHA-512-256", "SHA-256"}})
		}},
		{"ntlm", func(w who) Authenticator { return w.ntlm() }},
		{"negotiate", func(w who) Authenticator { return w.ntlmInside() }},
		{"digest", func(w who) Authenticator {
			return w.password(Digest{Username: w.name, Password: w.secret, Algorithms: []string{"MD5"}})
		}},
		{"basic", func(w who) Authenticator {
			return w.password(Basic{Username: w.name, Password: w.secret, Unasked: w.alone()})
		}},
	}
}

type authRow struct {
	name string
	make func(who) Authenticator // nil: there is nothing to answer with
}

// who is what the authenticators are made of.
type who struct {
	known        bool // there is a user
	name, secret string
	spn          string
	schemes      []string // to insist on; nil: all
}

func newWho(user *url.Userinfo, schemes []string, spn string) who {
	w := who{known: user != nil, spn: spn, schemes: schemes}
	if user != nil {
		w.name = user.Username()
		w.secret, _ = user.Password()
	}
	return w
}

// alone says whether one scheme is insisted on. What the proxy wants is known
// then, and it need not be asked.
func (w who) alone() bool { return len(w.schemes) == 1 }

// password returns a where there is a password to use with it.
func (w who) password(a Authenticator) Authenticator {
	if !w.known {
		return nil
	}
	return a
}

func (w who) authenticators() []Authenticator {
	all := []Authenticator{} // not nil: that would mean the default
	for _, row := range authTable() {
		if w.schemes != nil && !slices.Contains(w.schemes, row.name) {
			continue
		}
		if a := row.make(w); a != nil {
			all = append(all, a)
		}
	}
	return all
}

// AuthSchemes lists the names that ParseAuth knows, the strongest first.
func AuthSchemes() []string {
	var names []string
	for _, row := range authTable() {
		if !slices.Contains(names, row.name) {
			names = append(names, row.name)
		}
	}
	return names
}

// ParseAuth parses a list of authentication schemes to insist on, separated by
// commas: negotiate, digest, ntlm, basic. The order means nothing: the strongest
// that the proxy offers is used. One alone is not waited for: what it begins with
// goes out with the first request, but for Digest, which needs a nonce.
func ParseAuth(list string) ([]string, error) {
	var all []string
	known := AuthSchemes()
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%q is none of %s", name, strings.Join(known, ", "))
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all, nil
}

// secrets lists what is not quoted from what the proxy says: the forms in which
// the password travels, and what of Header may be one.
func (h *Hop) secrets() []string { return append(h.me().secrets(), h.headerSecrets()...) }

// longEnough is how many bytes of a header's value may be a secret: to keep back
// all that has "1" or "red" in it would keep back what the proxy says.
const longEnough = 8

func (h *Hop) headerSecrets() []string {
	var all []string
	for _, values := range h.Header {
		for _, value := range values {
			if len(value) >= longEnough {
				all = append(all, value)
			}
		}
	}
	return all
}

func (id *identity) secrets() []string {
	var all []string
	if id.user != nil {
		if password, ok := id.user.Password(); ok {
			_, encoded, _ := strings.Cut(id.user.String(), ":")
			all = append(all, password, encoded)
		}
	}
	for _, auth := range id.auth {
		if keeper, ok := auth.(interface{ secrets() []string }); ok {
			all = append(all, keeper.secrets()...)
		}
	}
	return all
}

// certificate is what the proxy showed on conn, or nil.
func certificate(conn net.Conn) *x509.Certificate {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	certs := secure.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return nil
	}
	return certs[0]
}
