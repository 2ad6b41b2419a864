package login_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/token"
)

func TestSignIn(t *testing.T) {
	e, p := new(fakeEdge), newPerson()
	e.answer = func(req *http.Request, redirect string) (*http.Response, error) {
		if req.Method != http.MethodGet || req.URL.Host != "edge.test:443" || req.URL.Path != "/.pomerium/api/v1/login" ||
			req.Host != "edge.test" || req.Header.Get("Accept") != "application/json" || req.Header.Get("Authorization") != "" {
			t.Errorf("asked %s %s of %s, %v", req.Method, req.URL, req.Host, req.Header)
		}
		return answer(http.StatusOK, " "+signInURL(redirect)+"\n"), nil
	}
	s := newSignIn(t, e, p)
	if got, err := s.Current(t.Context()); got != "" || err != nil {
		t.Fatalf("before: %q, %v", got, err)
	}
	done := renew(t.Context(), s, "")
	signIn := <-p.told
	if opened := <-p.opened; opened != signIn {
		t.Errorf("opened %s, told %s", opened, signIn)
	}
	back := callbackOf(signIn)
	if back.Scheme != "http" || back.Hostname() != "127.0.0.1" || len(back.Path) < 20 {
		t.Errorf("callback at %s", back)
	}
	if c, err := net.Dial("tcp", "127.0.0.2:"+back.Port()); err == nil {
		c.Close()
		t.Error("the callback listens on more than its address")
	}
	status, page := visitor(net.Dial).get(t, back, canary)
	if status != http.StatusOK || !strings.Contains(page, "signed in") || !strings.Contains(page, "edge.test") || strings.Contains(page, canary) {
		t.Errorf("%d %s", status, page)
	}
	(<-done).want(t, canary)
	if got, err := s.Current(t.Context()); got != canary || err != nil {
		t.Errorf("after: %q, %v", got, err)
	}
	if got, _ := s.Store.Load(t.Context(), key); got != canary {
		t.Errorf("kept: %q", got)
	}
	s.Close()
	if _, err := net.Dial("tcp", back.Host); err == nil {
		t.Error("the callback still listens")
	}
}

// Every caller of a burst gets the token of the one sign-in.
func TestEdgeCase43_OneSignInForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p, ln := new(fakeEdge), newPerson(), newPipes()
		s := newSignIn(t, e, p)
		s.Listen = ln.listen
		var all []<-chan result
		for range 50 {
			all = append(all, renew(t.Context(), s, ""))
		}
		synctest.Wait()
		visitor(ln.dial).get(t, callbackOf(<-p.told), canary)
		for _, done := range all {
			(<-done).want(t, canary)
		}
		// One that asks late has the new token at once.
		(<-renew(t.Context(), s, "")).want(t, canary)
		if n := len(p.opened); n != 1 || len(e.asked()) != 1 {
			t.Errorf("%d browsers, %d requests for a URL", n, len(e.asked()))
		}
	})
}

// All give up: all fail, once each, and nothing listens. Who asks afterwards
// gets a sign-in of their own.
func TestEdgeCase43_CancelledForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p, ln := new(fakeEdge), newPerson(), newPipes()
		s := newSignIn(t, e, p)
		s.Listen = ln.listen
		ctx, cancel := context.WithCancel(t.Context())
		var all []<-chan result
		for range 50 {
			all = append(all, renew(ctx, s, ""))
		}
		synctest.Wait()
		cancel()
		for _, done := range all {
			r := <-done
			r.wantError(t, "signing in to edge.test: context canceled")
			if !errors.Is(r.err, context.Canceled) {
				t.Error(r.err)
			}
		}
		if _, err := ln.dial("", ""); err == nil {
			t.Error("the callback still listens")
		}
		(<-renew(ctx, s, "")).wantError(t)
		if n := len(p.opened); n != 1 {
			t.Errorf("%d browsers", n)
		}
		again := newPipes()
		s.Listen = again.listen
		done := renew(t.Context(), s, "")
		<-p.told
		visitor(again.dial).get(t, callbackOf(<-p.told), canary)
		(<-done).want(t, canary)
	})
}

// Who asks while a sign-in that all have given up is still being ended gets
// another one, and not its failure.
func TestEdgeCase43_AskedWhileItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPerson()
		s := newSignIn(t, new(fakeEdge), p)
		s.Listen = newPipes().listen
		s.Browser = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			time.Sleep(time.Second) // takes its time to end
			return ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		first := renew(ctx, s, "")
		<-p.told
		cancel()
		synctest.Wait()
		again := newPipes()
		s.Listen = again.listen
		second := renew(t.Context(), s, "")
		visitor(again.dial).get(t, callbackOf(<-p.told), canary)
		(<-first).wantError(t, "context canceled")
		(<-second).want(t, canary)
		s.Close()
	})
}

// slowStore is a store that takes its time: it has everybody give up meanwhile.
type slowStore struct {
	token.Memory
	giveUp func()
}

func (s *slowStore) Save(ctx context.Context, key, text string) error {
	s.giveUp()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.Memory.Save(ctx, key, text)
}

// A person who has signed in is not asked again, though all gave up while the
// token was being kept.
func TestEdgeCase43_GivenUpWhileItIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ln := newPerson(), newPipes()
		s := newSignIn(t, new(fakeEdge), p)
		s.Listen = ln.listen
		ctx, cancel := context.WithCancel(t.Context())
		s.Store = &slowStore{giveUp: func() {
			cancel()
			time.Sleep(time.Second) // which reaches the sign-in
		}}
		done := renew(ctx, s, "")
		visitor(ln.dial).get(t, callbackOf(<-p.told), canary)
		(<-done).wantError(t, "context canceled")
		if kept, _ := s.Store.Load(t.Context(), key); kept != canary {
			t.Errorf("kept %q", kept)
		}
	})
}

// One of two gives up: the other's sign-in goes on.
func TestEdgeCase43_OneGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ln := newPerson(), newPipes()
		s := newSignIn(t, new(fakeEdge), p)
		s.Listen = ln.listen
		ctx, cancel := context.WithCancel(t.Context())
		first := renew(ctx, s, "") // its context must not be the sign-in's
		synctest.Wait()
		second := renew(t.Context(), s, "")
		synctest.Wait()
		cancel()
		(<-first).wantError(t)
		visitor(ln.dial).get(t, callbackOf(<-p.told), canary)
		(<-second).want(t, canary)
		if n := len(p.opened); n != 1 {
			t.Errorf("%d browsers", n)
		}
	})
}

// A sign-in that fails, fails for those as well whose refusal arrives a moment
// later; a while after, there is another try.
func TestEdgeCase43_NoRelaunchStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p, ln := new(fakeEdge), newPerson(), newPipes()
		e.answer = func(*http.Request, string) (*http.Response, error) {
			time.Sleep(time.Second) // the bubble's time
			return answer(http.StatusInternalServerError, `{"Status":500}`), nil
		}
		s := newSignIn(t, e, p)
		s.Listen = ln.listen
		var all []<-chan result
		for range 25 {
			all = append(all, renew(t.Context(), s, ""))
		}
		time.Sleep(1500 * time.Millisecond)
		for range 25 {
			all = append(all, renew(t.Context(), s, ""))
		}
		for _, done := range all {
			(<-done).wantError(t, "signing in to edge.test: asking for a sign-in URL: edge edge.test: 500 Internal Server Error (request id 77aa)")
		}
		if n := len(e.asked()); n != 1 || len(p.opened) != 0 {
			t.Errorf("%d requests, %d browsers", n, len(p.opened))
		}
		time.Sleep(3 * time.Second)
		(<-renew(t.Context(), s, "")).wantError(t)
		if n := len(e.asked()); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// A sign-in URL lives for five minutes. Fresh ones are told for as long as
// somebody waits; the browser is opened once.
func TestFreshURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p, ln := new(fakeEdge), newPerson(), newPipes()
		e.answer = func(_ *http.Request, redirect string) (*http.Response, error) {
			if len(e.asked()) == 2 {
				return nil, errWay
			}
			return answer(http.StatusOK, signInURL(redirect)), nil
		}
		s := newSignIn(t, e, p)
		s.Listen = ln.listen
		done := renew(t.Context(), s, "")
		told := func(want int) {
			t.Helper()
			synctest.Wait()
			if got := len(p.told); got != want {
				t.Errorf("after %v: told %d URLs, want %d", time.Now().Format("15:04:05"), got, want)
			}
		}
		told(1)
		time.Sleep(5*time.Minute - time.Second)
		told(1)
		time.Sleep(time.Second) // this one the way refuses
		told(1)
		time.Sleep(15 * time.Second)
		told(2)
		time.Sleep(5 * time.Minute)
		told(3)
		visitor(ln.dial).get(t, callbackOf(<-p.told), canary) // any of them will do
		(<-done).want(t, canary)
		time.Sleep(time.Hour)
		told(2)
		if n := len(p.opened); n != 1 {
			t.Errorf("%d browsers", n)
		}
	})
}

// An edge or a filter that refuses the address gets the name, once.
func TestEdgeCase48_LocalhostByName(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusForbidden} {
		e, p := new(fakeEdge), newPerson()
		e.answer = func(_ *http.Request, redirect string) (*http.Response, error) {
			if strings.Contains(redirect, "127.0.0.1") {
				return answer(status, "blocked"), nil
			}
			return answer(http.StatusOK, signInURL(redirect)), nil
		}
		s := newSignIn(t, e, p)
		done := renew(t.Context(), s, "")
		back := callbackOf(<-p.told)
		if back.Hostname() != "localhost" || len(e.asked()) != 2 {
			t.Errorf("%d: asked for %v", status, e.asked())
		}
		if status, page := visitor(net.Dial).get(t, back, canary); status != http.StatusOK {
			t.Errorf("%d %s", status, page)
		}
		(<-done).want(t, canary)
	}
}

// Both refused: the edge's words are the error. Other refusals are not
// about the address, and are not repeated.
func TestEdgeCase48_Refused(t *testing.T) {
	for status, requests := range map[int]int{400: 2, 403: 2, 302: 1, 401: 1, 404: 1, 500: 1, 503: 1} {
		e := &fakeEdge{answer: func(*http.Request, string) (*http.Response, error) { return answer(status, ""), nil }}
		s := newSignIn(t, e, newPerson())
		r := <-renew(t.Context(), s, "")
		r.wantError(t, "asking for a sign-in URL: edge edge.test: ", "(request id 77aa)")
		var a *edge.AnswerError
		if !errors.As(r.err, &a) || a.Status != status {
			t.Errorf("%d: %v", status, r.err)
		}
		if n := len(e.asked()); n != requests {
			t.Errorf("%d: asked %d times, want %d", status, n, requests)
		}
	}
}

func TestRenewTakesANewerToken(t *testing.T) {
	s := newSignIn(t, new(fakeEdge), newPerson())
	must(t, s.Store.Save(t.Context(), key, "old"))
	if got, _ := s.Current(t.Context()); got != "old" {
		t.Fatalf("got %q", got)
	}
	must(t, s.Store.Save(t.Context(), key, "newer")) // by another process
	(<-renew(t.Context(), s, "old")).want(t, "newer")
	(<-renew(t.Context(), s, "old")).want(t, "newer") // a tunnel that was slow to be refused
	if got, _ := s.Store.Load(t.Context(), key); got != "newer" {
		t.Errorf("kept: %q", got)
	}
}

// Where nobody can be asked, a newer token does, and else the error says why: no
// sign-in is begun.
func TestNever(t *testing.T) {
	edge := new(fakeEdge)
	s := newSignIn(t, edge, newPerson())
	s.Never = errors.New("nobody is here")
	must(t, s.Store.Save(t.Context(), key, "newer"))
	(<-renew(t.Context(), s, "old")).want(t, "newer")
	(<-renew(t.Context(), s, "newer")).wantError(t, "nobody is here")
	if got, err := s.Store.Load(t.Context(), key); got != "" || err != nil || len(edge.asked()) != 0 {
		t.Errorf("kept %q, %v; the edge was asked %v", got, err, edge.asked())
	}
}

// signsIn has the person sign in because a token was refused, and bring another.
func (p *person) signsIn(t *testing.T, s *login.SignIn, rejected, token string) {
	t.Helper()
	ln := newPipes()
	s.Listen = ln.listen
	done := renew(t.Context(), s, rejected)
	visitor(ln.dial).get(t, callbackOf(<-p.told), token)
	(<-done).want(t, token)
}

// The edge's refusal drops the token and a sign-in replaces it, even where the
// store goes on offering it.
func TestRenewReplacesARefusedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPerson()
		s := newSignIn(t, new(fakeEdge), p)
		stuck := &stuckStore{token: "stale"}
		s.Store = stuck
		if got, _ := s.Current(t.Context()); got != "stale" {
			t.Fatalf("got %q", got)
		}
		p.signsIn(t, s, "stale", canary)
		time.Sleep(time.Hour)
		p.signsIn(t, s, canary, "third") // must not lead back to the stale one
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		(<-renew(ctx, s, canary)).want(t, "third") // a tunnel that was slow to be refused, and a store that keeps nothing
		if stuck.deletes != 3 {
			t.Errorf("%d deletes", stuck.deletes)
		}
	})
}

// A token that is refused as soon as it is there is not the sign-in's fault:
// no window opens again, and the token stays for the routes it is good for.
func TestFreshTokenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPerson()
		s := newSignIn(t, new(fakeEdge), p)
		p.signsIn(t, s, "", canary)
		for range 10 {
			r := <-renew(t.Context(), s, canary)
			r.wantError(t, "signing in to edge.test: the edge refuses the token of the sign-in just completed")
			if !errors.Is(r.err, login.ErrFreshRefused) {
				t.Error(r.err)
			}
			(<-renew(t.Context(), s, "older")).want(t, canary) // a tunnel that was slow to be refused
		}
		if kept, _ := s.Store.Load(t.Context(), key); kept != canary || len(p.opened) != 1 {
			t.Errorf("kept %q, %d browsers", kept, len(p.opened))
		}
		time.Sleep(time.Minute)
		p.signsIn(t, s, canary, "next")
	})
}

// stuckStore is a read-only home with an old token in it.
type stuckStore struct {
	token   string
	deletes int
}

func (s *stuckStore) Load(context.Context, string) (string, error) { return s.token, nil }
func (s *stuckStore) Save(context.Context, string, string) error {
	return errors.New("read-only file system")
}
func (s *stuckStore) Delete(context.Context, string, string) error {
	s.deletes++
	return errors.New("read-only file system")
}

// A store that fails costs a warning, not the sign-in.
func TestStoreFails(t *testing.T) {
	for name, store := range map[string]login.Store{
		"broken":    badStore{load: errors.New("holds no token")},
		"full disk": badStore{save: errors.New("no space left on device")},
		"no store":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			p := newPerson()
			s := newSignIn(t, new(fakeEdge), p)
			s.Store = store
			if got, err := s.Current(t.Context()); got != "" || err != nil {
				t.Errorf("before: %q, %v", got, err)
			}
			done := renew(t.Context(), s, "")
			visitor(net.Dial).get(t, callbackOf(<-p.told), canary)
			(<-done).want(t, canary)
			if got, err := s.Current(t.Context()); got != canary || err != nil {
				t.Errorf("after: %q, %v", got, err)
			}
		})
	}
}

// Whatever goes wrong on the way, a token in the store stays there.
func TestEdgeCase42_FailureKeepsTheToken(t *testing.T) {
	store := token.File{Dir: t.TempDir()}
	must(t, store.Save(t.Context(), "other|true", "else"))
	e := &fakeEdge{answer: func(*http.Request, string) (*http.Response, error) { return nil, errWay }}
	s := newSignIn(t, e, newPerson())
	s.Store = store
	r := <-renew(t.Context(), s, "")
	r.wantError(t, errWay.Error())
	if !errors.Is(r.err, errWay) {
		t.Errorf("the way's error is not in the chain of %v", r.err)
	}
	if got, err := store.Load(t.Context(), "other|true"); got != "else" || err != nil {
		t.Errorf("another edge's token: %q, %v", got, err)
	}
	must(t, store.Save(t.Context(), key, "kept"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	(<-renew(ctx, s, "kept")).wantError(t, "context canceled")
	if got, err := store.Load(t.Context(), key); got != "kept" || err != nil {
		t.Errorf("the token: %q, %v", got, err)
	}
}

func TestSilentEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEdge{answer: func(req *http.Request, _ string) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}}
		s := newSignIn(t, e, newPerson())
		s.Listen = newPipes().listen
		r := <-renew(t.Context(), s, "")
		r.wantError(t, "asking for a sign-in URL: no answer in 30s: ")
	})
}

func TestNotASignInURL(t *testing.T) {
	for _, body := range []string{
		"", "OK", "<!doctype html><p>" + canary, "/relative?" + canary, "ftp://h/" + canary, "javascript:alert(1)//" + canary,
		"https:///" + canary, "https://h/\x1b[2J" + canary, "https://h/ " + canary, "https://ü/" + canary, "https://h/" + strings.Repeat(canary, 1000),
	} {
		e := &fakeEdge{answer: func(*http.Request, string) (*http.Response, error) { return answer(http.StatusOK, body), nil }}
		p := newPerson()
		(<-renew(t.Context(), newSignIn(t, e, p), "")).wantError(t, "edge edge.test: answered with something else than a URL")
		if len(p.told) != 0 || len(p.opened) != 0 {
			t.Errorf("%q was shown", body)
		}
	}
}

// Without anything optional, and with a browser that does not start.
func TestBareSignIn(t *testing.T) {
	p := newPerson()
	s := &login.SignIn{
		Edge:    &url.URL{Scheme: "https", Host: "edge.test:8443"},
		HTTP:    new(fakeEdge),
		Browser: func(_ context.Context, url string) error { p.opened <- url; return errors.New("no display") },
	}
	done := renew(t.Context(), s, "")
	visitor(net.Dial).get(t, callbackOf(<-p.opened), canary)
	(<-done).want(t, canary)

	s = &login.SignIn{Edge: s.Edge, HTTP: s.HTTP, Notify: p.tell}
	done = renew(t.Context(), s, "")
	visitor(net.Dial).get(t, callbackOf(<-p.told), canary)
	(<-done).want(t, canary)
}

func TestCannotListen(t *testing.T) {
	s := newSignIn(t, new(fakeEdge), newPerson())
	s.Listen = func(context.Context) (net.Listener, error) { return nil, errors.New("no loopback") }
	(<-renew(t.Context(), s, "")).wantError(t, "signing in to edge.test: listening for the browser: no loopback")
}

func FuzzLoginURL(f *testing.F) {
	for _, seed := range []string{"", signInURL("http://127.0.0.1:1/x"), "http://h", "https://[::1]:1/%zz", "https://h/\n", "javascript:x"} {
		f.Add(200, []byte(seed))
	}
	f.Add(403, []byte(`{"error":"x"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := &fakeEdge{answer: func(*http.Request, string) (*http.Response, error) { return answer(status, string(body)), nil }}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &login.SignIn{Edge: &url.URL{Scheme: "https", Host: "edge.test:443"}, HTTP: e, Listen: newPipes().listen}
		s.Notify = func(shown string) {
			cancel()
			u, err := url.Parse(shown)
			if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
				t.Errorf("%q was shown", shown)
			}
			if strings.ContainsFunc(shown, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q could harm a terminal", shown)
			}
		}
		if token, err := s.Renew(ctx, ""); err == nil {
			t.Errorf("token %q from nowhere", token)
		}
	})
}
