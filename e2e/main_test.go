//go:build linux

// Package e2e runs the built program among real parts: forward proxies, an Envoy for an edge, and the clients and servers that
// people use it with. Package world makes them.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

var (
	w      *world.World
	binary string // the program, built once
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		ctx := context.Background()
		if err := world.Ensure(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: every case is left out, because parts are missing:\n%v\n", err)
			if os.Getenv("CI") != "" {
				return 1
			}
			return 0
		}
		var err error
		if w, err = world.Start(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		defer w.Close()
		if binary = os.Getenv("POMERIUM_CLI_BINARY"); binary != "" { // one that was built elsewhere
			return m.Run()
		}
		binary = filepath.Join(w.Dir, "pomerium-cli")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./cmd/pomerium-cli")
		build.Dir = ".."
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: building the program: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// oneWay checks, when a test has ended, that nothing left the user's host but through a forward proxy.
func oneWay(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if n, err := w.AllStrays(); n != 0 || err != nil {
			t.Errorf("%d packets or connections went past the forward proxy (%v)", n, err)
		}
		if t.Failed() {
			t.Logf("the edge's access log:\n%s", w.Envoy.AccessLog())
		}
	})
}

func proxy(t *testing.T, kind string) *world.Proxy {
	t.Helper()
	p, err := w.Proxy(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// limited is the test's context, with an end to what a test may wait for.
func limited(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}
