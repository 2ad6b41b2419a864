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
	Load(key string) (string, error)
	Save(key, token string) error
	Delete(key, token string) error
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
	// Notify is told each sign-in URL before the browser is: the first, and
	// every five minutes a fresh one, because that is how long one lives. The
	// URL is for the person's eyes, not for a log. Nil tells nobody.
	Notify func(url string)
	// Browser shows a URL to the person; see Opener. It is called once for
	// each sign-in. That it fails is not fatal, because the URL was told to
	// Notify. It must return when its context ends. Nil opens none.
	Browser func(ctx context.Context, url string) error
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
}

// flight is one sign-in, and those who wait for it.
type flight struct {
	cancel  context.CancelFunc
	waiters int           // guarded by SignIn.mu
	done    chan struct{} // closed when token and err are set
	token   string
	err     error
}

// Current returns the token to send, or "" if there is none yet. That the store
// cannot be read is logged and means that there is none.
func (s *SignIn) Current(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current(), nil
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
	s.refuse(rejected)
	if token := s.current(); token != "" {
		s.mu.Unlock()
		return token, nil
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
func (s *SignIn) current() string {
	if s.token != "" || s.Store == nil {
		return s.token
	}
	token, err := s.Store.Load(s.Key)
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
func (s *SignIn) refuse(token string) {
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
	if err := s.Store.Delete(s.Key, token); err != nil {
		s.log().Warn("cannot drop the refused token", "edge", edge.Host(s.Edge), "err", err)
	}
}

// board joins the sign-in under way, or starts one. s.mu is held.
func (s *SignIn) board(ctx context.Context) *flight {
	if s.flight == nil {
		// The first to ask may give up while others still wait.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		s.flight = &flight{cancel: cancel, done: make(chan struct{})}
		go s.fly(ctx, s.flight) // joined by whoever waits for done
	}
	s.flight.waiters++
	return s.flight
}

// leave is the end of one caller's patience. The last one stops the sign-in,
// and sees that its listener is gone.
func (s *SignIn) leave(f *flight) {
	s.mu.Lock()
	f.waiters--
	last := f.waiters == 0
	if last && s.flight == f {
		s.flight = nil
	}
	s.mu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
}

// fly signs in and tells all who wait.
func (s *SignIn) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	start := time.Now()
	// Where sign-ins of several processes become one, the lock is taken here and
	// the store asked once more.
	token, err := s.signIn(ctx)
	if err == nil {
		s.log().Info("signed in", "edge", edge.Host(s.Edge), "took", time.Since(start))
		s.save(token)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.token, s.failure = token, nil
		s.fresh, s.signed = token, time.Now()
		delete(s.refused, token)
	case ctx.Err() == nil: // it was not given up by all who waited
		err = s.error(err)
		s.failure, s.failed = err, time.Now()
	}
	if s.flight == f {
		s.flight = nil
	}
	f.token, f.err = token, err
	close(f.done)
}

// save keeps a token for the next run. Where that cannot be done, this run goes
// on with it all the same.
func (s *SignIn) save(token string) {
	if s.Store == nil {
		return
	}
	if err := s.Store.Save(s.Key, token); err != nil {
		s.log().Warn("cannot keep the token: the next run will ask to sign in again", "edge", edge.Host(s.Edge), "err", err)
	}
}

func (s *SignIn) error(err error) error {
	return &Error{Op: "signing in to " + edge.Host(s.Edge), Err: err}
}

func (s *SignIn) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}
