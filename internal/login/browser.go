package login

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"

	"github.com/cli/browser"
)

// Opener returns a function for SignIn.Browser: it runs the command, words as
// [Words] makes them, with the URL as its last argument, or the system's browser
// if there is none. What it prints is thrown away: standard output belongs to
// data.
//
// The function returns when the command has ended or its context has. In the
// latter case the command runs on: it may be the browser itself.
func Opener(command []string) func(ctx context.Context, url string) error {
	if len(command) == 0 {
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
	}
	return func(ctx context.Context, url string) error {
		done := make(chan error, 1)
		// Ends with the browser, which is the person's to end; nobody joins it.
		go func() { done <- open(command, url) }()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func open(command []string, url string) error {
	if len(command) == 0 {
		return browser.OpenURL(url)
	}
	args := append(slices.Clone(command[1:]), url)
	if err := exec.Command(command[0], args...).Run(); err != nil {
		return fmt.Errorf("running %s: %w", command[0], err)
	}
	return nil
}
