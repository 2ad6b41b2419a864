package token_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pomerium/pomerium-cli/internal/token"
)

// ring is a keyring in memory, which may be absent.
type ring struct {
	mu      sync.Mutex
	err     error
	full    bool // it takes no more
	secrets map[string]string
}

func (r *ring) Load(_ context.Context, name string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.secrets[name], r.err
}

func (r *ring) Save(_ context.Context, name, secret string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secrets == nil {
		r.secrets = make(map[string]string)
	}
	if r.full {
		return errors.New("the keyring is full")
	}
	r.secrets[name] = secret
	return r.err
}

func sealed(t *testing.T) *token.Sealed {
	return &token.Sealed{Dir: t.TempDir(), Ring: new(ring)}
}

// sealedFile is the one token of s on the disk.
func sealedFile(t *testing.T, s *token.Sealed) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.Dir, "*.sealed"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	return paths[0]
}

// What is on the disk is not the token, however long that is, and what is in the
// keyring is short. A later run opens it.
func TestSealed(t *testing.T) {
	s := sealed(t)
	for _, secret := range []string{"canary.a.b", strings.Repeat("canary", 20<<10)} {
		must(t, s.Save(t.Context(), key, secret))
		content, err := os.ReadFile(sealedFile(t, s))
		must(t, err)
		if strings.Contains(string(content), "canary") {
			t.Errorf("on the disk: %s", content)
		}
		for name, text := range s.Ring.(*ring).secrets {
			if len(text) > 64 {
				t.Errorf("the keyring has %d bytes for %s", len(text), name)
			}
		}
		expect(t, &token.Sealed{Dir: s.Dir, Ring: s.Ring}, key, secret)
	}
	before, err := os.ReadFile(sealedFile(t, s))
	must(t, err)
	must(t, s.Save(t.Context(), key, strings.Repeat("canary", 20<<10)))
	if after, err := os.ReadFile(sealedFile(t, s)); err != nil || string(after) == string(before) {
		t.Errorf("sealed twice with the same nonce, %v", err)
	}
	if len(s.Ring.(*ring).secrets) != 1 {
		t.Errorf("%d secrets", len(s.Ring.(*ring).secrets))
	}
}

// keyless is a ring in which B keeps a token for the first time while A, which
// does the same, has looked for the key so many times.
type keyless struct {
	ring
	looks, at int
	b         func()
}

func (r *keyless) Load(ctx context.Context, name string) (string, error) {
	text, err := r.ring.Load(ctx, name)
	if r.looks++; r.looks == r.at {
		go r.b()
		synctest.Wait() // it is done, or waits for A
	}
	return text, err
}

// Two processes that both find no key in the keyring end up with the same one.
func TestSealedTwoBegin(t *testing.T) {
	for _, at := range []int{1, 2} {
		t.Run(fmt.Sprintf("B begins after look %d", at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &keyless{at: at}
				s := &token.Sealed{Dir: t.TempDir(), Ring: r}
				done := make(chan error, 1)
				r.b = func() {
					done <- (&token.Sealed{Dir: s.Dir, Ring: &r.ring}).Save(t.Context(), "b|true", "of-b")
				}
				must(t, s.Save(t.Context(), key, "of-a"))
				must(t, <-done)
				for _, s := range []*token.Sealed{s, {Dir: s.Dir, Ring: &r.ring}} {
					expect(t, s, key, "of-a")
					expect(t, s, "b|true", "of-b")
				}
			})
		})
	}
}

// A file for one edge is no token for another, and none with another key, or
// changed.
func TestSealedElsewhere(t *testing.T) {
	s := sealed(t)
	must(t, s.Save(t.Context(), key, "canary"))
	path := sealedFile(t, s)
	content, err := os.ReadFile(path)
	must(t, err)
	refused := func(s *token.Sealed, key string) {
		t.Helper()
		if got, err := s.Load(t.Context(), key); got != "" || err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %q, %v", got, err)
		}
	}
	must(t, s.Save(t.Context(), "other|true", "else"))
	others, err := filepath.Glob(filepath.Join(s.Dir, "*.sealed"))
	must(t, err)
	for _, path := range others {
		must(t, os.WriteFile(path, content, 0o600))
	}
	refused(s, "other|true")
	expect(t, s, key, "canary")
	refused(&token.Sealed{Dir: s.Dir, Ring: new(ring)}, key)
	content[len(content)-6] ^= 1
	must(t, os.WriteFile(path, content, 0o600))
	refused(s, key)
	must(t, s.Save(t.Context(), key, "canary")) // which repairs it
	expect(t, s, key, "canary")
}

// Without a keyring nothing is kept, and no file is made.
func TestNoRing(t *testing.T) {
	for name, r := range map[string]*ring{
		"none":        {err: errors.New("this session has no keyring")},
		"not our key": {secrets: map[string]string{"token key": "canary"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &token.Sealed{Dir: t.TempDir(), Ring: r}
			_, loading := s.Load(t.Context(), key)
			for _, err := range []error{s.Open(t.Context()), loading, s.Save(t.Context(), key, "canary"), s.Delete(t.Context(), key, "canary")} {
				if err == nil || !strings.Contains(err.Error(), "keyring") || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %v", err)
				}
			}
			must(t, s.Clear(t.Context()))
			if files := list(t, s.Dir); len(files) != 0 {
				t.Errorf("made %v", files)
			}
		})
	}
}

// A key that the keyring does not take seals nothing: it would be lost with this
// run, and all tokens with it.
func TestFullRing(t *testing.T) {
	s := &token.Sealed{Dir: t.TempDir(), Ring: &ring{full: true}}
	for range 2 {
		for _, err := range []error{s.Open(t.Context()), s.Save(t.Context(), key, "canary")} {
			if err == nil || !strings.Contains(err.Error(), "the keyring is full") {
				t.Errorf("got %v", err)
			}
		}
	}
}

func FuzzSealed(f *testing.F) {
	for _, seed := range []string{"", "pomerium-cli token 1\n", "pomerium-cli token 1\nAAAA\n", "pomerium-cli token 1\n" + strings.Repeat("A", 64), "abc"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s := sealed(t)
		must(t, s.Save(t.Context(), key, "abc"))
		must(t, os.WriteFile(sealedFile(t, s), content, 0o600))
		if got, err := s.Load(t.Context(), key); got != "" || err == nil {
			t.Errorf("token %q from nowhere, %v", got, err)
		}
	})
}
