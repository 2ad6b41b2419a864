package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/icholy/digest"
)

// Digest is the scheme of RFC 7616: the password does not travel, but who
// listens can guess at it. A nonce is used for many requests, counted. The
// variants that end in -sess are not spoken, nor is qop=auth-int alone.
type Digest struct {
	Username, Password string
	Algorithms         []string // which may be used, as in a challenge; nil: SHA-512-256, SHA-256, MD5
}

// Scheme implements Authenticator.
func (Digest) Scheme() string { return "Digest" }

// Begin implements Authenticator.
func (d Digest) Begin(_ context.Context, peer Peer) (Exchange, error) {
	return &digestExchange{digest: d, peer: peer}, nil
}

// String keeps the password out of what is printed.
func (d Digest) String() string { return "Digest" }

// GoString keeps it out of %#v too.
func (d Digest) GoString() string { return "proxy.Digest{}" }

func (d Digest) secrets() []string { return []string{d.Password} }

type digestExchange struct {
	digest Digest
	peer   Peer
	nonce  string // what was answered last
	again  bool   // a second nonce has been answered
}

// Answer answers a nonce once. Another one is answered only if the first was too
// old, by the proxy's word or because it had been used before.
func (x *digestExchange) Answer(_ context.Context, challenge string) (string, error) {
	c, err := x.digest.parse(challenge)
	first := x.nonce == ""
	if !first {
		if err != nil || c.Nonce == x.nonce || x.again || !c.Stale && x.peer.Count == 0 {
			return "", ErrRejected
		}
		x.again, x.peer.Count = true, 0
	}
	if err != nil {
		return "", err
	}
	answer, err := digest.Digest(c, digest.Options{
		Method:   x.peer.Method,
		URI:      x.peer.URI,
		Count:    x.peer.Count + 1,
		Username: x.digest.Username,
		Password: x.digest.Password,
	})
	if err != nil {
		return "", errors.New("Digest: the proxy's challenge cannot be answered") // the cause quotes the proxy
	}
	x.nonce = c.Nonce
	return answer.String(), nil
}

func (x *digestExchange) Bound() bool { return false }

// parse understands a challenge and refuses what cannot be answered.
func (d Digest) parse(text string) (*digest.Challenge, error) {
	c, err := digest.ParseChallenge(plainChallenge(text))
	if err != nil || c.Nonce == "" {
		return nil, errors.New("Digest: the proxy's challenge cannot be understood")
	}
	for i := range c.QOP {
		c.QOP[i] = strings.ToLower(strings.TrimSpace(c.QOP[i]))
	}
	name := c.Algorithm
	if name == "" {
		name = "MD5" // RFC 7616 3.3
	}
	is := func(s string) bool { return strings.EqualFold(s, name) }
	switch {
	case strings.HasSuffix(strings.ToLower(name), "-sess"):
		return nil, errors.New("Digest: the proxy wants a variant that ends in -sess, which is not spoken here")
	case !slices.ContainsFunc(digestAlgorithms, is): // not to be quoted: it may be anything
		return nil, errors.New("Digest: the proxy's algorithm is not known here")
	case d.Algorithms != nil && !slices.ContainsFunc(d.Algorithms, is):
		return nil, fmt.Errorf("Digest: the algorithm %s is not to be used: %w", name, errUnsuited)
	case len(c.QOP) > 0 && !c.SupportsQOP("auth"):
		return nil, errors.New("Digest: the proxy wants the request's body to be signed (qop=auth-int), which is not done here")
	}
	return c, nil
}

// plainChallenge writes a challenge as the library reads it: RFC 9110 11.2 lets
// names be in any case, and values be quoted or not.
func plainChallenge(text string) string {
	_, parameters, _ := strings.Cut(text, " ")
	pieces := splitUnquoted(parameters)
	for i, piece := range pieces {
		name, value, _ := strings.Cut(piece, "=")
		if value = strings.TrimSpace(value); !strings.HasPrefix(value, `"`) {
			value = `"` + value + `"`
		}
		pieces[i] = strings.ToLower(strings.TrimSpace(name)) + "=" + value
	}
	return digest.Prefix + strings.Join(pieces, ",")
}

var digestAlgorithms = []string{"SHA-512-256", "SHA-256", "MD5"}
