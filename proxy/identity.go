package proxy

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
)

// Logins finds the user and password for proxies that ask for them and are not
// given any by their URL or by Config. It is asked when the proxy has asked and
// never before. Its methods may be called by many goroutines; for one hop, Kept
// and Ask have one call under way each, however many connections wait for it.
type Logins interface {
	// Kept returns what is kept for the proxy, nil without. It asks no person,
	// and it counts in the time of the hop. An error is told beside what the
	// proxy said.
	Kept(ctx context.Context, w Want) (*url.Userinfo, error)
	// Ask asks a person, nil if there is nobody to ask. The time of the hop does
	// not count meanwhile.
	Ask(ctx context.Context, w Want) (*url.Userinfo, error)
	// Accepted tells that the proxy has accepted what Kept or Ask returned, once
	// for each. The connection waits for it.
	Accepted(w Want, user *url.Userinfo)
}

// A Want is what a proxy wants to have a user and password for.
type Want struct {
	Hop     string        // scheme://host:port of the proxy
	User    string        // the user name, if the settings have one without a password
	Realm   string        // as the proxy says, one line; may be empty
	Scheme  string        // how they will be sent: "Basic", "Digest", "NTLM", "Negotiate", or "SOCKS5"
	Clear   bool          // whoever is on the way to the proxy can read the password
	Refused *url.Userinfo // what the proxy has just refused; nil: it has been told nothing
}

// String keeps the password out of what is printed.
func (w Want) String() string { return w.Hop }

// GoString keeps it out of %#v too.
func (w Want) GoString() string { return "proxy.Want{}" }

// maxAsks bounds how often one connection asks a person, whatever Logins does.
const maxAsks = 4

// An identity is whom a hop says that it is, and what the proxy made of that.
// Each has a standing of its own: a refusal of one says nothing of the next.
type identity struct {
	user     *url.Userinfo // nil: not known
	auth     []Authenticator
	want     *Want // what Logins gave user for; nil: it was in the settings
	told     sync.Once
	standing standing
}

// me is the identity of now.
func (h *Hop) me() *identity {
	h.first.Do(func() {
		id := &identity{user: h.settled(), auth: h.Auth}
		if id.auth == nil {
			id.auth = h.authFor(id.user)
		}
		h.identity.Store(id)
	})
	return h.identity.Load()
}

// settled is the user that the settings name; a name without a password is only
// a beginning where Logins may have the rest.
func (h *Hop) settled() *url.Userinfo {
	if h.URL.User == nil || h.Logins == nil {
		return h.URL.User
	}
	if _, whole := h.URL.User.Password(); !whole {
		return nil
	}
	return h.URL.User
}

func (h *Hop) authFor(user *url.Userinfo) []Authenticator {
	if h.makeAuth != nil {
		return h.makeAuth(user)
	}
	return newWho(user, nil, "").authenticators()
}

// accepted remembers what satisfied the proxy, and tells Logins if that was
// theirs: a ticket may have done instead.
func (h *Hop) accepted(id *identity, d *demand) {
	id.standing.accept(d)
	if id.want != nil && hasPassword(d.auth) {
		id.told.Do(func() { h.Logins.Accepted(*id.want, id.user) })
	}
}

// denied is wrapped where a proxy lets nobody in whom it does not know, and there
// is somebody to ask.
type denied struct {
	error
	hop *Hop
}

func (e *denied) Unwrap() error { return e.error }

// wanted is wrapped where a user and password would have done.
type wanted struct {
	error
	want   Want
	looked bool // Kept has been asked
}

func (e *wanted) Unwrap() error { return e.error }

// wants says what a password would be used for: the strongest of the challenges
// that can be answered with one.
func (h *Hop) wants(ctx context.Context, challenges []challenge, peer Peer) (Want, bool) {
	if h.Logins == nil || h.Auth != nil && h.makeAuth == nil {
		return Want{}, false
	}
	for _, auth := range h.authFor(url.UserPassword("user", "password")) {
		for _, c := range challenges {
			if strings.EqualFold(c.scheme, auth.Scheme()) && takesPassword(ctx, auth, c, peer) {
				w := h.want(auth.Scheme(), realm(c))
				w.Clear = h.URL.Scheme == "http" && auth.Scheme() == "Basic"
				return w, true
			}
		}
	}
	return Want{}, false
}

func (h *Hop) want(scheme, realm string) Want {
	w := Want{Hop: h.String(), Scheme: scheme, Realm: realm}
	if h.URL.User != nil {
		w.User = h.URL.User.Username()
	}
	return w
}

// takesPassword tries it out. Negotiate would ask the system, and is believed;
// nobody is asked for a password where a ticket is what is missing, most likely.
func takesPassword(ctx context.Context, auth Authenticator, c challenge, peer Peer) bool {
	switch auth := auth.(type) {
	case *Negotiate:
		return auth.password()
	case NTLM:
		if auth.Inside {
			return false
		}
	}
	x, err := auth.Begin(ctx, peer)
	if err != nil {
		return false
	}
	_, err = x.Answer(ctx, c.text)
	return err == nil
}

// realm is the parameter of that name (RFC 9110 11.5), for people to read.
func realm(c challenge) string {
	all, _ := parameters(c.text)
	return quote(printable(all["realm"]), nil)
}

// An inquiry is one to Logins. Whoever comes while it is under way shares its
// answer. The zero value is ready.
type inquiry struct {
	once     sync.Once
	turns    chan struct{} // full while it is under way
	mu       sync.Mutex
	answers  int
	lastFail error
}

// become makes the hop somebody else than old, whom find names; nil without.
// Whom others have found meanwhile counts.
func (h *Hop) become(ctx context.Context, q *inquiry, old *identity, w Want,
	find func(context.Context, Want) (*url.Userinfo, error),
) (*identity, error) {
	q.once.Do(func() { q.turns = make(chan struct{}, 1) })
	before, _ := q.state()
	select {
	case q.turns <- struct{}{}:
		defer func() { <-q.turns }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if now := h.me(); now != old {
		return now, nil
	}
	if answers, failed := q.state(); answers != before {
		return nil, failed
	}
	user, err := find(ctx, w)
	if err == nil && user != nil {
		err = table()[h.URL.Scheme].credentials(user)
	}
	if err != nil || user == nil {
		if ctx.Err() == nil { // else it is ours alone
			q.failed(err)
		}
		return nil, err
	}
	w.Refused = nil
	id := &identity{user: user, auth: h.authFor(user), want: &w}
	h.identity.Store(id)
	return id, nil
}

func (q *inquiry) state() (answers int, failed error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.answers, q.lastFail
}

func (q *inquiry) failed(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.answers, q.lastFail = q.answers+1, err
}

// findOut asks for what a proxy wanted, where err says that it wanted a user and
// password, and reports whether it is worth another try. It returns err, or what
// is to be told instead.
func findOut(ctx context.Context, err error) (again bool, _ error) {
	var failed *Error
	var no *denied
	if !errors.As(err, &failed) || !errors.As(failed.Err, &no) || ctx.Err() != nil {
		return false, err
	}
	h, now := no.hop, no.hop.me()
	var open *wanted
	var w Want
	switch {
	case errors.As(err, &open) && now.user == nil:
		w = open.want
	case errors.As(err, &open), errors.Is(err, ErrRejected) && now.want != nil && !now.standing.isRefused():
		return true, nil // another connection has found out meanwhile
	case errors.Is(err, ErrRejected) && now.want != nil:
		w = *now.want
		w.Refused = now.user
	default:
		return false, err
	}
	var id *identity
	var why, more error
	if open != nil && !open.looked {
		id, why = h.become(ctx, &h.kept, now, w, h.Logins.Kept)
	}
	if id == nil {
		if id, more = h.become(ctx, &h.asked, now, w, h.Logins.Ask); more != nil {
			why = more
		}
	}
	if id == nil && why != nil {
		told := *failed
		told.Err = &unasked{failed.Err, why}
		return false, &told
	}
	return id != nil, err
}

// unasked says why nobody told us user and password, after what the proxy said.
type unasked struct{ said, why error }

func (e *unasked) Error() string   { return e.said.Error() + "; " + e.why.Error() }
func (e *unasked) Unwrap() []error { return []error{e.said, e.why} }
