package login

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/cli/browser"
)

// Opener returns a function for SignIn.Browser: it runs command with the URL as
// its last argument, or the system's browser if command is empty. The command
// is split at blanks, and no shell sees it. What it prints is thrown away:
// standard output belongs to data.
//
// The function returns when the command has ended or its context has. In the
// latter case the command runs on: it may be the browser itself.
func Opener(command string) func(ctx context.Context, url string) error {
	fields := strings.Fields(command)
	if len(fields) == 0 {
		browser.Stdout, browser.Stderr = io.Discard, io.Discard
	}
	return func(ctx context.Context, url string) error {
		done := make(chan error, 1)
		// Ends with the browser, which is the person's to end; nobody joins it.
		go func() { done <- open(fields, url) }()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func open(fields []string, url string) error {
	if len(fields) == 0 {
		return browser.OpenURL(url)
	}
	args := append(fields[1:len(fields):len(fields)], url)
	if err := exec.Command(fields[0], args...).Run(); err != nil {
		return fmt.Errorf("running %s: %w", fields[0], err)
	}
	return nil
}
