//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// patience is how long anything that ought to happen may take.
const patience = 30 * time.Second

// arguments are those of the command tcp for a destination through a forward proxy.
func arguments(p *world.Proxy, protocol, dest string, more ...string) []string {
	args := []string{
		"tcp", dest, "--pomerium-url", world.EdgeURL, "--alternate-ca-path", w.CA.CA,
		"--forward-proxy", p.URL.String(), "--forward-proxy-ca-path", p.CA, "--protocol", protocol,
	}
	if p.Cert != "" {
		args = append(args, "--forward-proxy-client-cert", p.Cert, "--forward-proxy-client-key", p.Key)
	}
	return append(args, more...)
}

var goodToken = []string{"--service-account", world.GoodToken}

// environment is what a program on the user's host starts with: nothing of the tester's.
func environment(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}
}

// tunnel is the program, listening on the user's host.
type tunnel struct {
	Addr string // where it listens; for the first destination, if there are several
	cmd  *exec.Cmd
	log  *log
	done chan error // gets what Wait returned
}

// open starts the program with a listener and waits until it listens. When the test ends it is told to end, and has to.
func open(t *testing.T, args []string) *tunnel {
	t.Helper()
	return openAt(t, t.TempDir(), args)
}

// openAt is open for a user whose files are in home, with more in the environment.
func openAt(t *testing.T, home string, args []string, env ...string) *tunnel {
	t.Helper()
	tun := &tunnel{cmd: exec.Command(binary, args...), log: newLog(), done: make(chan error, 1)}
	tun.cmd.Stderr = tun.log
	tun.cmd.Env = append(environment(home), env...)
	if err := w.UserHost.Start(tun.cmd); err != nil {
		t.Fatal(err)
	}
	go func() { // joined by the clean-up
		err := tun.cmd.Wait()
		tun.log.end()
		tun.done <- err
	}()
	t.Cleanup(func() {
		tun.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-tun.done:
			if err != nil {
				t.Errorf("stopped by SIGTERM, the program ended with %v", err)
			}
		case <-time.After(patience):
			tun.cmd.Process.Kill()
			t.Error("the program does not end after SIGTERM")
		}
		if t.Failed() {
			t.Logf("%s wrote:\n%s", strings.Join(tun.cmd.Args, " "), tun.log)
		}
	})
	tun.Addr = tun.log.await(t, regexp.MustCompile(`listening on (\S+)`))[1]
	return tun
}

// to is the address for one of several destinations.
func (tun *tunnel) to(t *testing.T, dest string) string {
	t.Helper()
	return tun.log.await(t, regexp.MustCompile(`listening on (\S+) for `+regexp.QuoteMeta(dest)))[1]
}

// dial connects to the tunnel's listener.
func (tun *tunnel) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	return dial(t, tun.Addr)
}

// dial connects as a program on the user's host does.
func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := w.UserHost.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn.(*net.TCPConn)
}

// port is the port of an address.
func port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// result is what a program on the user's host came to.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a program on the user's host to its end.
func run(t *testing.T, stdin io.Reader, name string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(limited(t, 4*patience), name, args...)
	cmd.Env = environment(t.TempDir())
	cmd.Stdin = stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := w.UserHost.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", strings.Join(cmd.Args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must is run for a program that has to succeed; it returns what the program printed.
func must(t *testing.T, stdin io.Reader, name string, args ...string) string {
	t.Helper()
	r := run(t, stdin, name, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s", name, strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// log collects what a program writes to standard error, and can be waited on.
type log struct {
	mu    sync.Mutex
	text  bytes.Buffer
	ended bool
	grown chan struct{} // closed and renewed with every change
}

func newLog() *log { return &log{grown: make(chan struct{})} }

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	close(l.grown)
	l.grown = make(chan struct{})
	return len(p), nil
}

func (l *log) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until the log matches, and returns the match with its groups.
func (l *log) await(t *testing.T, pattern *regexp.Regexp) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		l.mu.Lock()
		found, ended, grown := pattern.FindStringSubmatch(l.text.String()), l.ended, l.grown
		l.mu.Unlock()
		if found != nil {
			return found
		}
		if ended {
			t.Fatalf("the program ended, and %q did not show up:\n%s", pattern, l)
		}
		select {
		case <-grown:
		case <-ctx.Done():
			t.Fatalf("%q did not show up:\n%s", pattern, l)
		}
	}
}

// lines counts the lines that match.
func (l *log) lines(pattern string) int {
	return len(regexp.MustCompile(`(?m)^.*`+pattern+`.*$`).FindAllString(l.String(), -1))
}
