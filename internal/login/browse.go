package login

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

const (
	// retryURL is how long to wait before asking again for a sign-in URL in
	// place of one that has expired.
	retryURL = 15 * time.Second
	// whoLimit bounds how long the page waits for the edge to say who signed in.
	whoLimit = 1500 * time.Millisecond
	// pageLimit bounds how long the callback stays for a browser that does not
	// come for the page.
	pageLimit = 5 * time.Second
)

// signIn has a person sign in with a browser, and returns the token that the
// browser brings back, or the person.
func (s *SignIn) signIn(ctx context.Context) (string, error) {
	ln, err := s.listen(ctx)
	if err != nil {
		return "", fmt.Errorf("listening for the browser: %w", err)
	}
	cb := newCallback(ln, edge.Host(s.Edge))
	token, err := s.await(ctx, cb)
	if err != nil {
		cb.close()
	}
	return token, err
}

// await shows the sign-in page's URL and waits for a token. With a token, the
// callback is left to a farewell.
func (s *SignIn) await(ctx context.Context, cb *callback) (string, error) {
	redirect, login, err := s.firstURL(ctx, cb)
	if err != nil {
		return "", err
	}
	s.notify(login)
	defer s.waiting("signing in to " + edge.Host(s.Edge))()
	var helpers sync.WaitGroup
	defer helpers.Wait()
	helping, done := context.WithCancel(ctx)
	defer done()
	helpers.Go(func() { s.help(helping, cb, login) })
	helpers.Go(func() { s.refresh(helping, redirect) })

	select {
	case b := <-cb.token:
		s.pages.Go(func() { s.farewell(cb, b) }) // joined by Close
		return b.token, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// farewell shows the page that the browser lands on: who signed in, if the edge
// says so soon. Nobody who wants the token waits for that.
func (s *SignIn) farewell(cb *callback, b brought) {
	defer cb.close()
	if b.pasted {
		return
	}
	limited, cancel := context.WithTimeout(context.Background(), pageLimit)
	defer cancel()
	asking, done := context.WithTimeout(limited, whoLimit)
	user, err := Whose(asking, s.Edge, s.HTTP, b.token)
	done()
	if err != nil {
		s.log().Debug("who signed in is not known", "edge", edge.Host(s.Edge), "err", err)
	}
	cb.greet(nameOf(user))
	select {
	case <-cb.shown:
	case <-limited.Done():
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

// waiting tells what is being waited for, until over is called.
func (s *SignIn) waiting(what string) (over func()) {
	if s.Waiting == nil {
		return func() {}
	}
	return s.Waiting(what)
}

// help opens the browser, and has the address pasted where there is none. That
// it cannot is no more than a line in the log: the URL was told.
func (s *SignIn) help(ctx context.Context, cb *callback, login string) {
	if s.Browser != nil {
		err := s.Browser(ctx, login)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.log().Warn("cannot open a browser", "err", err)
	}
	if s.Paste != nil {
		s.paste(ctx, cb)
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
