package proxy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// How long a refused password is not tried again. Directories lock an account
// after a handful of wrong ones in 10 to 30 minutes. One that was right a moment
// ago may have been refused by mistake, once; so may one that got no answer.
const (
	refusalLasts  = 15 * time.Minute
	mistakeLasts  = time.Minute
	refusalRounds = time.Second
)

// A demand is what a proxy asked for.
type demand struct {
	row       int // of the identity's authenticators
	auth      Authenticator
	challenge string
	count     atomic.Int32 // requests that have answered it
}

// A standing is what is known of an identity's credentials. The zero value knows
// nothing.
type standing struct {
	once  sync.Once
	turns chan struct{} // full while somebody tries what nobody knows to be right

	mu      sync.Mutex
	asked   *demand   // what satisfied the proxy last
	refused time.Time // until when the password is not tried
	why     error     // ErrRejected, or ErrParted
}

func (s *standing) remembered() *demand {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *standing) accept(d *demand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.refused = d, time.Time{}
}

// forget drops what satisfied the proxy and does not any more.
func (s *standing) forget(d *demand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == d {
		s.asked = nil
	}
}

// refuse remembers that the proxy refused the password.
func (s *standing) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	lasts := refusalLasts
	if s.asked != nil {
		lasts = mistakeLasts
	}
	s.asked, s.refused, s.why = nil, time.Now().Add(lasts), ErrRejected
}

// part remembers that the proxy left when it had all it needs to judge the
// password. If nobody knows it to be right, that may have been the verdict.
func (s *standing) part() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.refused, s.why = time.Now().Add(mistakeLasts), ErrParted
	}
}

// isRefused says whether the password is not tried now.
func (s *standing) isRefused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.refused)
}

// admit lets the caller send credentials of auth. turn means that nobody knows
// whether they are right, so that the others wait until pass is called.
func (s *standing) admit(ctx context.Context, auth Authenticator) (turn bool, err error) {
	s.once.Do(func() { s.turns = make(chan struct{}, 1) })
	if known, err := s.known(auth); known {
		return false, err
	}
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return false, fmt.Errorf("waiting for another connection that is trying the same password: %w", context.Cause(ctx))
	}
	if known, err := s.known(auth); known { // from the one before
		s.pass()
		return false, err
	}
	return true, nil
}

// pass ends a turn.
func (s *standing) pass() { <-s.turns }

// known says whether there is a verdict, and which.
func (s *standing) known(auth Authenticator) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked != nil {
		return true, nil
	}
	left := time.Until(s.refused)
	if left <= 0 || !hasPassword(auth) {
		return false, nil
	}
	they := ", and they are"
	if s.why == ErrParted {
		they = "; user and password are"
	}
	return true, fmt.Errorf("%w%s not tried again for %v, so that no account is locked", s.why, they, left.Round(refusalRounds))
}

// hasPassword says whether auth sends what a directory counts when it is wrong:
// all but a ticket.
func hasPassword(auth Authenticator) bool {
	n, ok := auth.(*Negotiate)
	return !ok || n.password()
}
