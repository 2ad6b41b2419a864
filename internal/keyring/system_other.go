//go:build windows || darwin

package keyring

import (
	"context"
	"errors"

	"github.com/zalando/go-keyring"
)

// The systems ask the person themselves if they want to, and cannot be told not
// to: who is not patient gives up.

func (s Store) load(ctx context.Context, key string) (string, error) {
	return within(ctx, func() (string, error) { return keyring.Get(service, key) })
}

func (s Store) save(ctx context.Context, key, secret string) error {
	_, err := within(ctx, func() (string, error) { return "", keyring.Set(service, key, secret) })
	return err
}

func (s Store) remove(ctx context.Context, key string) error {
	_, err := within(ctx, func() (string, error) { return "", keyring.Delete(service, key) })
	return err
}

func within(ctx context.Context, do func() (string, error)) (string, error) {
	type result struct {
		secret string
		err    error
	}
	done := make(chan result, 1)
	go func() { // ends by itself: the system's call cannot be broken off
		secret, err := do()
		done <- result{secret, err}
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case r := <-done:
		switch {
		case errors.Is(r.err, keyring.ErrNotFound):
			return "", nil
		case errors.Is(r.err, keyring.ErrSetDataTooBig):
			return "", ErrTooLong
		}
		return r.secret, r.err
	}
}
