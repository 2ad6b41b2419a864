// Package keyring keeps secrets in the keyring of the person who is logged on:
// the Secret Service of the session bus (GNOME Keyring, KWallet, KeePassXC), the
// Keychain of macOS, the Credential Manager of Windows.
//
// A Store's Load, Save and Delete are all there is. Nothing happens before the
// first of them. No error holds a secret.
package keyring

import (
	"context"
	"errors"
	"time"
)

// A Store is this program's part of the keyring. The zero value never asks
// anybody anything.
type Store struct {
	// Patient lets the system ask the person to unlock the keyring, and waits for
	// that as long as ctx allows. Otherwise a locked keyring is ErrLocked.
	Patient bool
}

var (
	// ErrNone says that there is no keyring to talk to.
	ErrNone = errors.New("this session has no keyring")
	// ErrLocked says that the keyring is locked and nobody was to be asked.
	ErrLocked = errors.New("the keyring is locked")
	// ErrDismissed says that the person was asked to unlock it, and did not.
	ErrDismissed = errors.New("the keyring was not unlocked")
	// ErrTooLong says that the secret is longer than this system's keyring takes:
	// about 2500 bytes on Windows and 3000 on macOS.
	ErrTooLong = errors.New("too long for this system's keyring")
)

// limit is how long a keyring may take that asks nobody: one that is started by
// its first use takes a second.
const limit = 3 * time.Second

// service names this program in the keyring.
const service = "pomerium-cli"

// Load returns the secret of a key, "" if there is none.
func (s Store) Load(ctx context.Context, key string) (string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	secret, err := s.load(ctx, key)
	return secret, explain(ctx, "reading the keyring", err)
}

// Save keeps the secret of a key, in place of what was there.
func (s Store) Save(ctx context.Context, key, secret string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return explain(ctx, "writing to the keyring", s.save(ctx, key, secret))
}

// Delete removes the secret of a key. It is no error if there is none.
func (s Store) Delete(ctx context.Context, key string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return explain(ctx, "deleting from the keyring", s.remove(ctx, key))
}

var errSilent = errors.New("it does not answer")

func (s Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.Patient {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, errSilent)
}

// An Error is a failure of the keyring.
type Error struct {
	Op  string // "reading the keyring", ...
	Err error
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func explain(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return &Error{op, err}
}
