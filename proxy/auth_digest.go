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
	return digestCredentials(answer), nil
}

func (x *digestExchange) Bound() bool { return false }

// parse understands a challenge and refuses what cannot be answered.
func (d Digest) parse(text string) (*digest.Challenge, error) {
	p, ok := parameters(text)
	if !ok || p["nonce"] == "" {
		return nil, errors.New("Digest: the proxy's challenge cannot be understood")
	}
	c := &digest.Challenge{
		Realm: p["realm"], Nonce: p["nonce"], Opaque: p["opaque"], Algorithm: p["algorithm"],
		Stale: strings.EqualFold(p["stale"], "true"), Userhash: strings.EqualFold(p["userhash"], "true"),
	}
	for name := range strings.SplitSeq(p["qop"], ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			c.QOP = append(c.QOP, name)
		}
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

// digestCredentials writes the answer as RFC 7616 3.4 wants it. (The library quotes
// as Go does: another user or realm where they are not in UTF-8.)
func digestCredentials(c *digest.Credentials) string {
	text := "Digest username=" + quoted(c.Username) + ", realm=" + quoted(c.Realm) + ", nonce=" + quoted(c.Nonce) +
		", uri=" + quoted(c.URI) + ", response=" + quoted(c.Response)
	if c.Algorithm != "" {
		text += ", algorithm=" + c.Algorithm
	}
	if c.Opaque != "" {
		text += ", opaque=" + quoted(c.Opaque)
	}
	if c.QOP != "" {
		text += fmt.Sprintf(", qop=%s, nc=%08x, cnonce=%s", c.QOP, c.Nc, quoted(c.Cnonce))
	}
	if c.Userhash {
		text += ", userhash=true"
	}
	return text
}

var digestAlgorithms = []string{"SHA-512-256", "SHA-256", "MD5"}
