package login

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// retryURL is how long to wait before asking again for a sign-in URL in place
// of one that has expired.
const retryURL = 15 * time.Second

// signIn has a person sign in with a browser, and returns the token that the
// browser brings back.
func (s *SignIn) signIn(ctx context.Context) (string, error) {
	ln, err := s.listen(ctx)
	if err != nil {
		return "", fmt.Errorf("listening for the browser: %w", err)
	}
	cb := newCallback(ln, edge.Host(s.Edge))
	defer cb.close()

	redirect, login, err := s.firstURL(ctx, cb)
	if err != nil {
		return "", err
	}
	s.notify(login)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	helping, done := context.WithCancel(ctx)
	defer done()
	helpers.Go(func() { s.browse(helping, login) })
	helpers.Go(func() { s.refresh(helping, redirect) })

	select {
	case token := <-cb.token:
		return token, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (s *SignIn) listen(ctx context.Context) (net.Listener, error) {
	if s.Listen != nil {
		return s.Listen(ctx)
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp4", "127.0.0.1:0")
}

func (s *SignIn) notify(login string) {
	if s.Notify != nil {
		s.Notify(login)
	}
}

// browse opens the browser. That it cannot is no more than a line in the log:
// the URL was told.
func (s *SignIn) browse(ctx context.Context, login string) {
	if s.Browser == nil {
		return
	}
	if err := s.Browser(ctx, login); err != nil && ctx.Err() == nil {
		s.log().Warn("cannot open a browser", "err", err)
	}
}

// refresh tells a fresh sign-in URL whenever the last one has expired, until
// ctx ends. It opens no window: nobody has looked at the one that is open, and
// a new one every five minutes would not change that.
func (s *SignIn) refresh(ctx context.Context, redirect string) {
	wait := time.NewTimer(urlLife)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-ctx.Done():
			return
		}
		login, err := s.loginURL(ctx, redirect)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log().Warn("cannot get a fresh sign-in URL", "edge", edge.Host(s.Edge), "err", err)
			wait.Reset(retryURL)
		default:
			s.notify(login)
			wait.Reset(urlLife)
		}
	}
}
