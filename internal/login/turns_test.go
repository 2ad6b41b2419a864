package login_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/login"
)

// turns has another process sign in first.
type turns struct {
	owner  string
	before func() error // what the other process does
	ended  chan error   // gets how our turn ended
}

func (q *turns) Take(ctx context.Context, name string, waiting func(string) func()) (func(error), error) {
	if name != key {
		return nil, errors.New("the turn of another edge")
	}
	over := waiting(q.owner)
	defer over()
	if err := q.before(); err != nil {
		return nil, err
	}
	return func(err error) { q.ended <- err }, ctx.Err()
}

// behind has s wait for another process, and counts what it says meanwhile.
func behind(s *login.SignIn, before func() error) *turns {
	q := &turns{owner: "process 7", before: before, ended: make(chan error, 1)}
	s.Turns = q
	return q
}

// The token of another process's sign-in does, and is as fresh as our own would
// be: where the edge refuses it, there is no point in another one.
func TestEdgeCase43_OtherProcessSignsIn(t *testing.T) {
	p := newPerson()
	s := newSignIn(t, new(fakeEdge), p)
	must(t, s.Store.Save(t.Context(), key, "old"))
	q := behind(s, func() error { return s.Store.Save(t.Context(), key, canary) })
	var waited []string
	s.Waiting = func(what string) func() {
		waited = append(waited, what)
		return func() { waited = append(waited, "over") }
	}
	(<-renew(t.Context(), s, "old")).want(t, canary)
	must(t, <-q.ended)
	if len(waited) != 2 || waited[0] != "waiting for the sign-in of process 7" || waited[1] != "over" {
		t.Errorf("%q", waited)
	}
	if r := <-renew(t.Context(), s, canary); !errors.Is(r.err, login.ErrFreshRefused) {
		t.Errorf("%+v", r)
	}
	if kept, _ := s.Store.Load(t.Context(), key); kept != canary || len(p.opened) != 0 {
		t.Errorf("kept %q, %d browsers", kept, len(p.opened))
	}
}

// The other process fails, and so do we; no browser opens.
func TestEdgeCase43_OtherProcessFails(t *testing.T) {
	p := newPerson()
	s := newSignIn(t, new(fakeEdge), p)
	behind(s, func() error { return errors.New("the sign-in of process 7 was cancelled") })
	for range 3 {
		(<-renew(t.Context(), s, "")).wantError(t, "signing in to edge.test: the sign-in of process 7 was cancelled")
	}
	if len(p.opened) != 0 {
		t.Errorf("%d browsers", len(p.opened))
	}
}

// How our turn ended is told to those who wait for it, when the token is kept.
func TestTurnEnds(t *testing.T) {
	t.Run("signed in", func(t *testing.T) {
		p := newPerson()
		s := newSignIn(t, new(fakeEdge), p)
		q := behind(s, func() error { return nil })
		done := renew(t.Context(), s, "")
		visitor(net.Dial).get(t, callbackOf(<-p.told), canary)
		must(t, <-q.ended)
		if kept, _ := s.Store.Load(t.Context(), key); kept != canary {
			t.Errorf("kept %q", kept)
		}
		(<-done).want(t, canary)
	})
	t.Run("cancelled", func(t *testing.T) {
		p := newPerson()
		s := newSignIn(t, new(fakeEdge), p)
		q := behind(s, func() error { return nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := renew(ctx, s, "")
		<-p.told
		cancel()
		(<-done).wantError(t, "context canceled")
		if err := <-q.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("failed", func(t *testing.T) {
		s := newSignIn(t, new(fakeEdge), newPerson())
		s.Listen = func(context.Context) (net.Listener, error) { return nil, errWay }
		q := behind(s, func() error { return nil })
		(<-renew(t.Context(), s, "")).wantError(t)
		if err := <-q.ended; !errors.Is(err, errWay) {
			t.Errorf("got %v", err)
		}
	})
}
