package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const (
	maxAnswers = 4  // answers to 407s in one attempt to get through
	maxSchemes = 16 // schemes that an error lists
)

// ErrParted is wrapped where the proxy, or something before it, closed the
// connection in the middle of NTLM or Negotiate.
var ErrParted = errors.New("the proxy closed the connection in the middle of the authentication, which needs one connection from beginning to end")

var (
	errUnasked = errors.New("no credentials were sent")
	// errOwnConnection says that a scheme authenticates a connection, and this one
	// is not ours alone: RFC 4559 section 6 keeps it off HTTP/2.
	errOwnConnection = errors.New("it needs a connection of its own")
)

// A login answers the 407s of one attempt to get through a proxy.
type login struct {
	hop         *Hop
	id          *identity
	peer        Peer
	demand      *demand // what is being answered; nil before the first
	exchange    Exchange
	credentials string   // what to send with the next request; empty: nothing
	gone        bool     // they have been sent
	sent        []string // all that has been sent: not to be quoted
	schemes     []string // what the proxy offered last
	spent       []int    // authenticators that came to nothing
	answers     int
	want        *Want   // what a password would do for
	shared      bool    // the connection carries other requests as well: HTTP/2
	apart       *demand // what can be answered on a connection of its own alone
	parted      bool    // an exchange has begun again, because its connection was gone
	turn        bool    // it is our turn to try what nobody knows to be right
	refused     string  // a scheme that came to nothing on this connection
}

// login starts with what satisfied the proxy before, so that it need not ask.
func (h *Hop) login(method, uri string) *login {
	l := &login{hop: h, id: h.me(), peer: Peer{Host: h.URL.Hostname(), Method: method, URI: uri}}
	l.demand = l.id.standing.remembered()
	if all := l.id.auth; l.demand == nil && len(all) > 0 {
		if a, ok := all[0].(interface{ unasked() bool }); ok && a.unasked() {
			l.demand = &demand{auth: all[0], challenge: all[0].Scheme()}
		}
	}
	return l
}

// on goes to another connection, which others use as well if it is shared. What
// was begun on the one before is carried over, or begun again.
func (l *login) on(ctx context.Context, conn net.Conn, shared bool) error {
	before := l.peer.Certificate
	l.refused = ""
	l.peer.Certificate, l.shared = certificate(conn), shared
	switch {
	case l.demand == nil:
		return nil
	case l.exchange == nil: // what satisfied the proxy before
		d := l.demand
		if err := l.try(ctx, d); err != nil {
			l.demand = nil
			if err != errOwnConnection {
				l.id.standing.forget(d)
			}
		}
		return nil
	case !l.gone && !l.exchange.Bound() && l.peer.Certificate.Equal(before):
		return nil
	case !l.gone && !l.exchange.Bound(): // it is bound to TLS that has another end
		return l.try(ctx, &demand{row: l.demand.row, auth: l.demand.auth, challenge: l.demand.challenge})
	case l.stuck():
		return ErrParted
	}
	l.parted = true
	return l.try(ctx, l.demand)
}

// stuck says whether no other connection is of use to what was begun: the proxy
// may have judged the password before it left, and it is not sent twice.
func (l *login) stuck() bool {
	if l.exchange == nil || !l.gone && !l.exchange.Bound() {
		return false
	}
	return l.parted || l.gone && l.exchange.Bound()
}

// elsewhere says whether what was begun needs a connection on which nothing of
// its scheme was refused: proxies keep one state of a scheme for a connection.
func (l *login) elsewhere() bool {
	return l.refused != "" && strings.EqualFold(l.refused, l.demand.auth.Scheme())
}

// admit waits until the credentials may be sent. As long as nobody knows
// whether they are right, one login tries them and the others wait: a wrong
// password that goes out twenty times locks the account.
func (l *login) admit(ctx context.Context) error {
	if l.credentials == "" || l.turn {
		return nil
	}
	turn, err := l.id.standing.admit(ctx, l.demand.auth)
	l.turn = turn
	return err
}

// take returns the credentials that the next request carries.
func (l *login) take() string {
	l.gone = l.credentials != ""
	return l.credentials
}

// missed notes that the last request has got no answer.
func (l *login) missed(m *missed) {
	switch {
	case m.unread:
		l.gone = false // nobody has judged what it carried
	case l.gone && l.exchange.Bound():
		l.id.standing.part()
	}
}

// accepted remembers what satisfied the proxy.
func (l *login) accepted() {
	if l.demand != nil {
		l.hop.log().Debug("proxy authenticated", "hop", l.hop.String(), "scheme", l.demand.auth.Scheme())
		l.hop.accepted(l.id, l.demand)
	}
	l.done()
}

// rejected remembers that the proxy refused the password.
func (l *login) rejected() {
	l.id.standing.refuse()
	l.done()
}

// done lets the next login have its turn.
func (l *login) done() {
	l.drop()
	if l.turn {
		l.turn = false
		l.id.standing.pass()
	}
}

// drop frees what the system keeps for an exchange.
func (l *login) drop() { end(l.exchange) }

func end(exchange Exchange) {
	if x, ok := exchange.(interface{ close() }); ok {
		x.close()
	}
}

// answer takes the lines of Proxy-Authenticate and prepares credentials.
func (l *login) answer(ctx context.Context, lines []string) error {
	challenges := parseChallenges(lines)
	l.schemes = l.named(challenges)
	if l.answers++; l.answers > maxAnswers {
		l.rejected()
		return fmt.Errorf("the proxy asked again after %d answers: %w", maxAnswers, ErrRejected)
	}
	var reasons []error
	switch err := l.goOn(ctx, challenges); {
	case err == nil:
		return nil
	case errors.Is(err, ErrRejected):
		return err
	case err != errUnasked:
		reasons = append(reasons, err)
	}
	if hasLogonSession { // it comes behind what is kept
		reasons = l.learn(ctx, challenges, reasons)
	}
	reasons, ok := l.choose(ctx, challenges, reasons)
	if before := l.id; !ok {
		if reasons = l.learn(ctx, challenges, reasons); l.id != before {
			reasons, ok = l.choose(ctx, challenges, reasons)
		}
	}
	switch {
	case ok:
		return nil
	case l.apart != nil:
		return l.alone(ctx, l.apart)
	}
	return l.explain(reasons)
}

// choose begins with the first authenticator that can answer, or adds to the
// reasons why none can.
func (l *login) choose(ctx context.Context, challenges []challenge, reasons []error) ([]error, bool) {
	l.apart = nil
	for i, auth := range l.id.auth {
		if slices.Contains(l.spent, i) {
			continue
		}
		for _, c := range challenges {
			if !strings.EqualFold(c.scheme, auth.Scheme()) {
				continue
			}
			d := &demand{row: i, auth: auth, challenge: c.text}
			err := l.try(ctx, d)
			if err == nil {
				return nil, true
			}
			if err == errOwnConnection {
				l.apart = cmp.Or(l.apart, d)
				continue
			}
			told := slices.ContainsFunc(reasons, func(r error) bool { return r.Error() == err.Error() })
			if !told && !errors.Is(err, errUnsuited) {
				reasons = append(reasons, err)
			}
		}
	}
	return reasons, false
}

// learn looks for what is kept for the proxy, once, if it wants a user and
// password and nobody knows them.
func (l *login) learn(ctx context.Context, challenges []challenge, reasons []error) []error {
	if l.id.user != nil || l.want != nil {
		return reasons
	}
	want, ok := l.hop.wants(ctx, challenges, l.peer)
	if !ok {
		return reasons
	}
	l.want = &want
	id, err := l.hop.become(ctx, &l.hop.kept, l.id, want, l.hop.Logins.Kept)
	switch {
	case err != nil:
		return append(reasons, err)
	case id != nil:
		l.done()
		l.id, l.spent = id, nil
	}
	return reasons
}

// alone goes over to HTTP/1.1, where a connection is one client's, and begins
// the exchange there.
func (l *login) alone(ctx context.Context, d *demand) error {
	l.hop.insistHTTP1()
	l.shared = false
	return l.try(ctx, d)
}

// named lists the schemes of challenges, each once, for people to read.
func (l *login) named(challenges []challenge) []string {
	var names []string
	for _, c := range challenges {
		name := quote(c.scheme, l.secrets())
		if name != "" && !hasScheme(names, name) && len(names) < maxSchemes {
			names = append(names, name)
		}
	}
	return names
}

// goOn gives the next challenge to the exchange that is under way.
func (l *login) goOn(ctx context.Context, challenges []challenge) error {
	if l.exchange == nil {
		return errUnasked
	}
	scheme := l.demand.auth.Scheme()
	var mine []challenge
	for _, c := range challenges {
		if strings.EqualFold(c.scheme, scheme) {
			mine = append(mine, c)
		}
	}
	refused := errUnasked // what goes out ahead of the first 407, which then offers others alone, is not judged
	if len(mine) == 0 && (l.answers > 1 || len(challenges) == 0) {
		mine = []challenge{{scheme: scheme, text: scheme}}
	}
	for _, c := range mine {
		credentials, err := answerTo(ctx, l.exchange, c.text)
		if err == nil && l.shared && l.exchange.Bound() {
			return l.alone(ctx, &demand{row: l.demand.row, auth: l.demand.auth, challenge: scheme})
		}
		if err == nil {
			if !l.exchange.Bound() { // the newer challenge is the one to remember
				l.demand = &demand{row: l.demand.row, auth: l.demand.auth, challenge: c.text}
				l.demand.count.Add(1)
			}
			l.send(credentials)
			return nil
		}
		if !errors.Is(refused, ErrRejected) {
			refused = err
		}
	}
	if errors.Is(refused, ErrRejected) {
		l.rejected()
	}
	l.id.standing.forget(l.demand)
	l.spent, l.refused = append(l.spent, l.demand.row), scheme
	l.demand, l.exchange, l.credentials = nil, nil, ""
	return refused
}

// try begins an exchange with its first challenge.
func (l *login) try(ctx context.Context, d *demand) error {
	peer := l.peer
	peer.Count = int(d.count.Add(1)) - 1
	exchange, err := d.auth.Begin(ctx, peer)
	if err != nil {
		return err
	}
	credentials, err := answerTo(ctx, exchange, d.challenge)
	if err == nil && l.shared && isNTLM(credentials) {
		err = errOwnConnection
	}
	if err != nil {
		end(exchange)
		return err
	}
	if strings.EqualFold(d.auth.Scheme(), "Basic") && l.hop.URL.Scheme == "http" {
		l.hop.warn.Do(func() {
			l.hop.log().Warn("the proxy password goes unencrypted over the network", "hop", l.hop.String())
		})
	}
	l.drop()
	l.demand, l.exchange = d, exchange
	l.send(credentials)
	return nil
}

func answerTo(ctx context.Context, exchange Exchange, challenge string) (string, error) {
	credentials, err := exchange.Answer(ctx, challenge)
	if err == nil && !httpguts.ValidHeaderFieldValue(credentials) {
		err = errors.New("the credentials do not fit in a header line")
	}
	return credentials, err
}

func (l *login) send(credentials string) {
	l.credentials, l.gone = credentials, false
	l.sent = append(l.sent, credentials)
	if _, token, ok := strings.Cut(credentials, " "); ok {
		l.sent = append(l.sent, token)
	}
}

// secrets lists what must not be quoted from what the proxy says.
func (l *login) secrets() []string {
	return slices.Concat(l.id.secrets(), l.hop.headerSecrets(), l.sent)
}
