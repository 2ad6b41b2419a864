package login

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// urlLife is how long the edge honours a sign-in URL. The whole sign-in has to
// be over by then, the identity provider's pages included.
const urlLife = 5 * time.Minute

// failureHold is how long a failed sign-in answers for those who come late: of
// fifty connections that were refused together, some ask for a sign-in only
// after the others' has failed, and must not start another.
const failureHold = 3 * time.Second

// freshHold is how long a token from a sign-in is too fresh to be replaced by
// another one.
const freshHold = time.Minute

// Store keeps a token under a name for the next run. Load returns "" without an
// error where there is none; Delete drops the token only if it still is the
// given one.
type Store interface {
	Load(ctx context.Context, key string) (string, error)
	Save(ctx context.Context, key, token string) error
	Delete(ctx context.Context, key, token string) error
}

// Turns has the sign-ins of several processes to one edge come one after the
// other. Take waits for the turn, telling waiting whom it waits for, and fails
// where the sign-in that it waited for has failed. What it returns is to be
// called in the end, with the reason if there is no token.
type Turns interface {
	Take(ctx context.Context, key string, waiting func(owner string) (over func())) (done func(error), err error)
}

// SignIn gets tokens by having a person sign in with a browser. It is safe for
// concurrent use, and must not be copied after first use.
type SignIn struct {
	Edge *url.URL          // required; http or https, host and port
	HTTP http.RoundTripper // required: the way to the edge
	// Store and Key say where the token is kept between runs, and under which
	// name: token.Key(Edge). A nil Store keeps it in memory only.
	Store Store
	Key   string
	// Turns makes the sign-ins of several processes one: who waited finds the
	// token in the Store. Nil: this process signs in for itself.
	Turns Turns
	// Notify is told each sign-in URL before the browser is: the first, and
	// every five minutes a fresh one, because that is how long one lives. The
	// URL is for the person's eyes, not for a log. Nil tells nobody.
	Notify func(url string)
	// Browser shows a URL to the person; see Opener. It is called once for
	// each sign-in. That it fails is not fatal, because the URL was told to
	// Notify. It must return when its context ends. Nil opens none.
	Browser func(ctx context.Context, url string) error
	// Paste asks the person, where no browser can be opened, for the address at
	// which one elsewhere has ended, or for the token alone, and returns what
	// they say. It is called again, with a complaint, until that can be used.
	// The browser may come back meanwhile: it must return when its context ends.
	// Nil asks nobody.
	Paste func(ctx context.Context, complaint string) (string, error)
	// Waiting is told what is being waited for; what it returns is called when
	// that is over. Nil tells nobody.
	Waiting func(what string) (over func())
	// Never, if not nil, is why nobody can be asked: no sign-in is begun, and
	// Renew fails with it where no token is left.
	Never error
	// Listen opens the listener to which the browser comes back. Nil listens on
	// a free port of 127.0.0.1.
	Listen func(ctx context.Context) (net.Listener, error)
	// Timeout bounds one request for a sign-in URL. 0: 30 seconds.
	Timeout time.Duration
	Log     *slog.Logger // nil: no logs

	mu      sync.Mutex
	token   string              // the newest that we know; "" if not looked for yet
	refused map[string]struct{} // tokens that the edge refused in this run
	fresh   string              // the token of the last sign-in
	signed  time.Time           // when that was completed
	flight  *flight             // the sign-in under way
	failure error               // how the last one failed
	failed  time.Time           // and when
	warned  string              // what was last said about a store that cannot be read

	pages sync.WaitGroup // the pages that browsers are still to be shown
}

// Current returns the token to send, or "" if there is none yet. That the store
// cannot be read is logged and means that there is none.
func (s *SignIn) Current(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current(ctx), nil
}

// Renew returns a token to use in place of the one that the edge refused ("" if
// none was sent). That is a newer one if somebody has got one meanwhile, in
// this process or another: it may be refused in its turn, and is then to be
// passed to Renew again. Otherwise a person has to sign in.
//
// All callers wait for the same sign-in; it ends when the last of them gives
// up, and where it fails, all of them fail with the same *Error. A token that
// is refused right after the sign-in it came from is kept, because it may do
// for other routes, and the error is one around ErrFreshRefused.
func (s *SignIn) Renew(ctx context.Context, rejected string) (string, error) {
	if ctx.Err() != nil {
		return "", s.error(context.Cause(ctx))
	}
	s.mu.Lock()
	if rejected != "" && rejected == s.fresh && time.Since(s.signed) < freshHold {
		defer s.mu.Unlock()
		return "", s.error(ErrFreshRefused)
	}
	s.refuse(ctx, rejected)
	if token := s.current(ctx); token != "" {
		s.mu.Unlock()
		return token, nil
	}
	if s.Never != nil {
		defer s.mu.Unlock()
		return "", s.error(s.Never)
	}
	if s.flight == nil && s.failure != nil && time.Since(s.failed) < failureHold {
		defer s.mu.Unlock()
		return "", s.failure
	}
	f := s.board(ctx)
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
	}
	s.leave(f)
	return "", s.error(context.Cause(ctx))
}

// current returns the newest token that the edge has not refused. s.mu is held.
func (s *SignIn) current(ctx context.Context) string {
	if s.token != "" || s.Store == nil {
		return s.token
	}
	token, err := s.Store.Load(ctx, s.Key)
	if err != nil && err.Error() != s.warned { // not once for each connection
		s.warned = err.Error()
		s.log().Warn("cannot read the kept token", "edge", edge.Host(s.Edge), "err", err)
	}
	if _, bad := s.refused[token]; bad {
		token = ""
	}
	s.token = token
	return token
}

// refuse forgets a token that the edge refused, here and in the store. s.mu is
// held.
func (s *SignIn) refuse(ctx context.Context, token string) {
	if token == "" {
		return
	}
	if s.refused == nil {
		s.refused = make(map[string]struct{})
	}
	s.refused[token] = struct{}{}
	if s.token == token {
		s.token = ""
	}
	if s.Store == nil {
		return
	}
	if err := s.Store.Delete(ctx, s.Key, token); err != nil {
		s.log().Warn("cannot drop the refused token", "edge", edge.Host(s.Edge), "err", err)
	}
}

// save keeps a token for the next run. Where that cannot be done, this run goes
// on with it all the same.
func (s *SignIn) save(ctx context.Context, token string) {
	if s.Store == nil {
		return
	}
	if err := s.Store.Save(ctx, s.Key, token); err != nil {
		s.log().Warn("cannot keep the token: the next run will ask to sign in again", "edge", edge.Host(s.Edge), "err", err)
	}
}

// Close waits until the browser that brought a token has been shown the page
// that says so: five seconds at most. A SignIn that is closed may be used again.
func (s *SignIn) Close() { s.pages.Wait() }

func (s *SignIn) error(err error) error {
	return &Error{Op: "signing in to " + edge.Host(s.Edge), Err: err}
}

func (s *SignIn) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}
