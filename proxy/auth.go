package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// An Authenticator answers an HTTP proxy that asks who is there, in one
// authentication scheme (RFC 9110 11.7).
type Authenticator interface {
	// Scheme is the name of the scheme, as in a challenge; case does not matter.
	Scheme() string
	// Begin starts an exchange with the proxy of that name (without port). An
	// error means that this scheme cannot be used now; the next one is tried.
	Begin(proxyHost string) (Exchange, error)
}

// An Exchange answers one challenge after the other on one connection.
type Exchange interface {
	// Answer returns the value of Proxy-Authorization that answers the
	// challenge, `Basic realm="x"`. When the proxy has refused what was sent
	// and there is nothing else to send, the error wraps ErrRejected.
	Answer(challenge string) (credentials string, err error)
}

const (
	maxAnswers = 4  // answers to 407s in one attempt to get through
	maxSchemes = 16 // schemes that an error lists
)

// A demand is what a proxy asked for and was satisfied with.
type demand struct {
	auth      Authenticator
	challenge string
}

// A login answers the 407s of one attempt to get through a proxy.
type login struct {
	hop         *Hop
	demand      *demand // what is being answered; nil before the first
	exchange    Exchange
	credentials string   // what to send with the next request; empty: nothing
	sent        []string // what has been sent: not to be quoted
	schemes     []string // what the proxy offered last
	spent       []string // schemes that came to nothing
	answers     int
}

// login starts with what satisfied the proxy before, so that it need not ask.
func (h *Hop) login() *login {
	l := &login{hop: h}
	if d := h.asked.Load(); d != nil {
		if l.try(d) != nil {
			h.asked.CompareAndSwap(d, nil)
		}
	}
	return l
}

// accepted remembers what satisfied the proxy.
func (l *login) accepted() {
	if l.demand != nil {
		l.hop.asked.Store(l.demand)
	}
}

// answer takes the lines of Proxy-Authenticate and prepares credentials.
func (l *login) answer(lines []string) error {
	challenges := parseChallenges(lines)
	l.schemes = l.named(challenges)
	if l.answers++; l.answers > maxAnswers {
		return fmt.Errorf("the proxy asked again after %d answers: %w", maxAnswers, ErrRejected)
	}
	refused := l.goOn(challenges)
	if refused == nil {
		return nil
	}
	for _, auth := range l.hop.authenticators() {
		for _, c := range challenges {
			if !strings.EqualFold(c.scheme, auth.Scheme()) || slices.Contains(l.spent, auth.Scheme()) {
				continue
			}
			err := l.try(&demand{auth, c.text})
			if err == nil {
				return nil
			}
			refused = err
		}
	}
	return l.explain(refused)
}

// named lists the schemes of challenges, each once, for people to read.
func (l *login) named(challenges []challenge) []string {
	var names []string
	for _, c := range challenges {
		name := quote(c.scheme, l.secrets())
		known := slices.ContainsFunc(names, func(s string) bool { return strings.EqualFold(s, name) })
		if name != "" && !known && len(names) < maxSchemes {
			names = append(names, name)
		}
	}
	return names
}

var errUnasked = errors.New("no credentials were sent")

// goOn gives the next challenge to the exchange that is under way.
func (l *login) goOn(challenges []challenge) error {
	if l.exchange == nil {
		return errUnasked
	}
	var err error = ErrRejected
	for _, c := range challenges {
		if !strings.EqualFold(c.scheme, l.demand.auth.Scheme()) {
			continue
		}
		var credentials string
		if credentials, err = answerTo(l.exchange, c.text); err == nil {
			l.send(credentials)
			return nil
		}
	}
	// What satisfied the proxy before does not any more.
	l.hop.asked.CompareAndSwap(l.demand, nil)
	l.spent = append(l.spent, l.demand.auth.Scheme())
	l.demand, l.exchange, l.credentials = nil, nil, ""
	return err
}

// try begins an exchange with its first challenge.
func (l *login) try(d *demand) error {
	exchange, err := d.auth.Begin(l.hop.URL.Hostname())
	if err != nil {
		return err
	}
	credentials, err := answerTo(exchange, d.challenge)
	if err != nil {
		return err
	}
	if strings.EqualFold(d.auth.Scheme(), "Basic") && l.hop.URL.Scheme == "http" {
		l.hop.warn.Do(func() {
			l.hop.log().Warn("the proxy password goes unencrypted over the network", "hop", l.hop.String())
		})
	}
	l.demand, l.exchange = d, exchange
	l.send(credentials)
	return nil
}

func answerTo(exchange Exchange, challenge string) (string, error) {
	credentials, err := exchange.Answer(challenge)
	if err == nil && !httpguts.ValidHeaderFieldValue(credentials) {
		err = errors.New("the credentials do not fit in a header line")
	}
	return credentials, err
}

func (l *login) send(credentials string) {
	l.credentials = credentials
	l.sent = append(l.sent, credentials)
}

// secrets lists what must not be quoted from what the proxy says.
func (l *login) secrets() []string { return append(l.hop.secrets(), l.sent...) }

// explain says why a 407 cannot be answered.
func (l *login) explain(refused error) error {
	ours := make([]string, 0, 1)
	for _, auth := range l.hop.authenticators() {
		ours = append(ours, auth.Scheme())
	}
	offer := strings.Join(l.schemes, ", ")
	switch {
	case refused != errUnasked:
		return refused
	case len(l.schemes) == 0:
		return errors.New("the proxy asks for authentication but does not say how (407 without a challenge), so nothing is sent")
	case len(ours) == 0:
		return fmt.Errorf("the proxy asks for authentication (%s) and its URL has no user and password", offer)
	default:
		return fmt.Errorf("the proxy offers %s, and only %s can be answered", offer, strings.Join(ours, ", "))
	}
}

func (h *Hop) authenticators() []Authenticator {
	if h.Auth != nil || h.URL.User == nil {
		return h.Auth
	}
	password, _ := h.URL.User.Password()
	return []Authenticator{Basic{Username: h.URL.User.Username(), Password: password}}
}

// secrets lists the forms in which the password travels.
func (h *Hop) secrets() []string {
	var all []string
	if h.URL.User != nil {
		if password, ok := h.URL.User.Password(); ok {
			_, encoded, _ := strings.Cut(h.URL.User.String(), ":")
			all = append(all, password, encoded)
		}
	}
	for _, auth := range h.authenticators() {
		if basic, ok := auth.(Basic); ok {
			all = append(all, basic.Password, basic.token())
		}
	}
	return all
}
