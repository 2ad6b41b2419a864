package login_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pomerium/pomerium-cli/internal/login"
)

// A paste ends the sign-in and the callback with it, without a page, in any form
// in which a terminal or a person may bring the address or the token.
func TestPasteWins(t *testing.T) {
	const pasted = "cGFz.dGVk.aXQ"
	for _, form := range []string{"ADDRESS", "TOKEN", " ADDRESS\t", "\"ADDRESS\"", "'ADDRESS'", "<ADDRESS>", "'TOKEN'", "\x1b[200~ADDRESS\x1b[201~",
		"127.0.0.1:1PATH?pomerium_jwt=TOKEN", "http://localhost:1PATH?x=y&pomerium_jwt=TOKEN#z"} {
		t.Run(form, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, ln := newPerson(), newPipes()
				s := newSignIn(t, new(fakeEdge), p)
				s.Listen, s.Browser = ln.listen, nil
				s.Paste = func(_ context.Context, complaint string) (string, error) {
					if complaint != "" {
						return canary, nil
					}
					back := callbackOf(<-p.told)
					return strings.NewReplacer("ADDRESS", back.String()+"?pomerium_jwt="+pasted, "PATH", back.Path, "TOKEN", pasted).Replace(form), nil
				}
				(<-renew(t.Context(), s, "")).want(t, pasted)
				s.Close()
				if _, err := ln.dial("", ""); err == nil {
					t.Error("the callback still listens")
				}
			})
		})
	}
}

// Nobody is asked while a browser is open; without one, until the browser of
// elsewhere comes back or there is nobody to ask.
func TestPasteIsForThoseWithoutABrowser(t *testing.T) {
	for name, c := range map[string]struct {
		browser func(context.Context, string) error
		asked   int
	}{
		"opens":    {func(context.Context, string) error { return nil }, 0},
		"does not": {func(context.Context, string) error { return errors.New("no display") }, 1},
		"none":     {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			for _, answer := range []error{nil, errors.New("no terminal")} {
				synctest.Test(t, func(t *testing.T) {
					p, ln := newPerson(), newPipes()
					s := newSignIn(t, new(fakeEdge), p)
					asked := 0
					s.Listen, s.Browser = ln.listen, c.browser
					s.Paste = func(ctx context.Context, _ string) (string, error) {
						asked++
						if answer == nil {
							<-ctx.Done()
							answer = ctx.Err()
						}
						return "", answer
					}
					done := renew(t.Context(), s, "")
					back := callbackOf(<-p.told)
					synctest.Wait()
					visitor(ln.dial).get(t, back, canary)
					(<-done).want(t, canary)
					if asked != c.asked {
						t.Errorf("asked %d times, want %d", asked, c.asked)
					}
				})
			}
		})
	}
}

// What is not the end of this very sign-in is told, and asked for again.
func TestPasteRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "nothing was pasted",
		"a.b":                                  "neither the address",
		"a.b.!":                                "neither the address",
		"http://127.0.0.1:1PATH":               "no token in that address",
		"http://127.0.0.1:1PATH?pomerium_jwt=": "no token in that address",
		"http://127.0.0.1:1/x?pomerium_jwt=" + canary: "belongs to another sign-in",
		"http://%zz?pomerium_jwt=" + canary:           "neither the address",
	} {
		p, ln := newPerson(), newPipes()
		s := newSignIn(t, new(fakeEdge), p)
		s.Listen, s.Browser = ln.listen, nil
		path, asked := "", 0
		s.Paste = func(_ context.Context, complaint string) (string, error) {
			if asked++; asked == 1 {
				path = callbackOf(<-p.told).Path
				return strings.ReplaceAll(text, "PATH", path), nil
			}
			if !strings.Contains(complaint, want) {
				t.Errorf("%q: told %q, want %q", text, complaint, want)
			}
			return canary, nil
		}
		(<-renew(t.Context(), s, "")).want(t, canary)
		if asked != 2 {
			t.Errorf("%q: asked %d times", text, asked)
		}
	}
}

// FuzzPaste pastes arbitrary text; PATH in it stands for the path of this
// sign-in. Only a sound token gets in, with an address only if that is ours, and
// no complaint repeats what was pasted.
func FuzzPaste(f *testing.F) {
	for _, seed := range []string{"", canary, "http://127.0.0.1:1PATH?pomerium_jwt=" + canary, "127.0.0.1:1PATH?pomerium_jwt=" + canary,
		"\x1b[200~" + canary + "\x1b[201~", "http://127.0.0.1:1/other?pomerium_jwt=" + canary, "https://edge.test/.pomerium/sign_in?sig=" + canary,
		"http://127.0.0.1:1PATH?pomerium_jwt=a&pomerium_jwt=b", "PATH?pomerium_jwt=%0d%0a", "<http://localhost:1PATH?x=y&pomerium_jwt=abc>", "a.b.c", "a..c", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ln := newPerson(), newPipes()
		path, complaint := "", ""
		s := &login.SignIn{Edge: &url.URL{Scheme: "https", Host: "edge.test:443"}, HTTP: new(fakeEdge), Notify: p.tell, Listen: ln.listen}
		defer s.Close()
		s.Paste = func(ctx context.Context, said string) (string, error) {
			if path == "" {
				path = callbackOf(<-p.told).Path
				return strings.ReplaceAll(text, "PATH", path), nil
			}
			complaint = said
			return canary, nil
		}
		token, err := s.Renew(t.Context(), "")
		if err != nil || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("%q: %q, %v", text, token, err)
		}
		if complaint != "" { // it was refused
			if token != canary || len(text) > 40 && strings.Contains(complaint, text) {
				t.Errorf("%q: %q", text, complaint)
			}
			return
		}
		parts := strings.Split(token, ".")
		_, bad := base64.RawURLEncoding.DecodeString(parts[0])
		if alone := len(parts) == 3 && bad == nil; !alone && !strings.Contains(text, "PATH") {
			t.Errorf("%q: let in %q", text, token)
		}
	})
}
