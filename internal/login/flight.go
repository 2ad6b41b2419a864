package login

import (
	"context"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// flight is one sign-in, and those who wait for it.
type flight struct {
	cancel  context.CancelFunc
	waiters int           // guarded by SignIn.mu
	done    chan struct{} // closed when token and err are set
	token   string
	err     error
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

// fly gets a token and tells all who wait.
func (s *SignIn) fly(ctx context.Context, f *flight) {
	defer f.cancel()
	token, err := s.inTurn(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.token, s.failure = token, nil
		s.fresh, s.signed = token, time.Now()
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

// inTurn signs in when no other process does, unless one of them has left a
// token in the store by then.
func (s *SignIn) inTurn(ctx context.Context) (token string, err error) {
	if s.Turns != nil {
		done, failed := s.Turns.Take(ctx, s.Key, s.behind)
		if failed != nil {
			return "", failed
		}
		defer func() { done(err) }()
		if token := s.lookAgain(ctx); token != "" {
			return token, nil
		}
	}
	start := time.Now()
	if token, err = s.signIn(ctx); err != nil {
		return "", err
	}
	s.log().Info("signed in", "edge", edge.Host(s.Edge), "took", time.Since(start).Round(time.Millisecond))
	s.save(context.WithoutCancel(ctx), token) // before it is another's turn
	return token, nil
}

// behind tells that another process signs in.
func (s *SignIn) behind(owner string) (over func()) {
	what := "waiting for the sign-in of " + owner
	s.log().Info(what, "edge", edge.Host(s.Edge))
	return s.waiting(what)
}

// lookAgain returns a token that another process has left meanwhile.
func (s *SignIn) lookAgain(ctx context.Context) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current(ctx)
}
