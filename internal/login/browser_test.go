package login_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/login"
)

// actAsBrowser is what the test binary does when it is run as the browser:
// report its arguments to the address in the environment, and stay until that
// hangs up.
func actAsBrowser() {
	fmt.Println("noise on standard output")
	fmt.Fprintln(os.Stderr, "noise on standard error")
	conn, err := net.Dial("tcp", os.Getenv("LOGIN_TEST_BROWSER"))
	if err != nil {
		os.Exit(3)
	}
	fmt.Fprintln(conn, strings.Join(os.Args[1:], "\n"))
	status := 0
	ignore(fmt.Fscan(conn, &status))
	os.Exit(status)
}

func TestOpener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	t.Setenv("LOGIN_TEST_BROWSER", ln.Addr().String())
	exe, err := os.Executable()
	must(t, err)
	const url = "https://edge.test/sign_in?a=b&c=$(canary);d=%20'\""

	start := func(ctx context.Context) (conn net.Conn, done chan error) {
		done = make(chan error, 1)
		go func() { done <- login.Opener([]string{exe, "--new-window", "-x"})(ctx, url) }()
		conn, err := ln.Accept()
		must(t, err)
		return conn, done
	}
	t.Run("arguments", func(t *testing.T) {
		conn, done := start(t.Context())
		got := make([]byte, len("--new-window\n-x\n"+url+"\n"))
		_, err := io.ReadFull(conn, got)
		must(t, err)
		if string(got) != "--new-window\n-x\n"+url+"\n" {
			t.Errorf("got %q", got)
		}
		must(t, conn.Close())
		must(t, <-done)
	})
	t.Run("failure", func(t *testing.T) {
		conn, done := start(t.Context())
		fmt.Fprintln(conn, 7)
		err := <-done
		if err == nil || !strings.Contains(err.Error(), "exit status 7") || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v", err)
		}
		must(t, conn.Close())
	})
	t.Run("it stays open", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		conn, done := start(ctx)
		cancel() // the sign-in is over; the window is the person's
		must(t, <-done)
		fmt.Fprintln(conn, 0)
		ignore(io.Copy(io.Discard, conn)) // it was alive until now
		must(t, conn.Close())
	})
	t.Run("no such command", func(t *testing.T) {
		err := login.Opener([]string{"/no/such/browser", "--flag"})(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), "running /no/such/browser") || strings.Contains(err.Error(), "canary") {
			t.Errorf("got %v", err)
		}
	})
}
