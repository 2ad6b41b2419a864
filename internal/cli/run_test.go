package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/cli"
	"github.com/pomerium/pomerium-cli/internal/lab"
)

// run is one run of the program in this process.
type run struct {
	stdin    string
	env      map[string]string
	keyring  keyrings                             // zero: there is none
	terminal func() (in, out *os.File, err error) // the person's; nil: there is none
	stdout   string
	stderr   string
	code     int
}

// main runs the program to its end.
func (r *run) main(t *testing.T, args ...string) {
	t.Helper()
	var stderr bytes.Buffer
	r.start(t, t.Context(), &stderr, args...)()
	r.stderr = stderr.String()
}

// start runs the program; the result waits for its end.
func (r *run) start(t *testing.T, ctx context.Context, stderr io.Writer, args ...string) (wait func()) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // joined by wait
		defer close(done)
		r.code = cli.Main(ctx, cli.Process{
			Args:    args,
			Stdin:   strings.NewReader(r.stdin),
			Stdout:  out,
			Stderr:  stderr,
			Getenv:  func(name string) string { return r.env[name] },
			Keyring: func(patient bool) cli.Keyring { return r.keyring.open(patient) },
			Terminal: func() (in, out *os.File, err error) {
				if r.terminal == nil {
					return nil, nil, os.ErrNotExist
				}
				return r.terminal()
			},
		})
	}()
	return func() {
		<-done
		out.Close() // --listen - has closed it already
		b, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		r.stdout = string(b)
	}
}

// listener is a program that listens.
type listener struct {
	run
	addr string
	stop context.CancelFunc
	wait func()
	said chan string // all of standard error, once it has ended
}

// listens starts the program and waits until it listens.
func listens(t *testing.T, env map[string]string, args ...string) *listener {
	t.Helper()
	return watched(t, env, func(string) {}, args...)
}

// watched is listens, and onLine sees each line after the one that says where.
func watched(t *testing.T, env map[string]string, onLine func(string), args ...string) *listener {
	t.Helper()
	return watchedWith(t, run{env: env}, onLine, args...)
}

// watchedWith is watched for a run that has more than an environment.
func watchedWith(t *testing.T, r run, onLine func(string), args ...string) *listener {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	l := &listener{run: r, stop: stop, said: make(chan string, 1)}
	wait := l.start(t, ctx, writer, args...)
	l.wait = func() { wait(); writer.Close() }
	lines := bufio.NewReader(reader)
	var said strings.Builder
	for l.addr == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("it ended before it listened: %s", said.String())
		}
		said.WriteString(line)
		l.addr = listenAddr(line)
	}
	go func() { // joined by end, through said
		for {
			line, err := lines.ReadString('\n')
			said.WriteString(line)
			if err != nil {
				l.said <- said.String()
				return
			}
			onLine(line)
		}
	}()
	return l
}

// echoes sends a byte through a listener's tunnel to the echo, and back.
func echoes(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// listenAddr finds the address in the line that says where the program listens.
func listenAddr(line string) string {
	var said struct{ Msg, Addr string }
	if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "listening" {
		return said.Addr
	}
	if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on "); ok {
		return rest
	}
	return ""
}

// end stops the program, as the first Ctrl-C does, and waits for it.
func (l *listener) end() {
	l.stop()
	l.wait()
	l.stderr = <-l.said
}

// world is a lab, and the flags with which a tunnel through it works.
type world struct {
	*lab.Lab
	dir string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOf(t, lab.Config{})
}

func worldOf(t *testing.T, config lab.Config) *world {
	t.Helper()
	l, err := lab.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &world{Lab: l, dir: t.TempDir()}
	livesIn(t, w.dir)
	w.file(t, "edge-ca.pem", l.CAPEM())
	w.file(t, "proxy-ca.pem", l.ProxyCAPEM())
	return w
}

// livesIn makes dir the home, and where tokens and the rest are kept, on each system.
func livesIn(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "USERPROFILE", "LocalAppData"} {
		t.Setenv(name, dir)
	}
}

func (w *world) file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tcp makes a command line for a destination of the lab; later flags win, and
// a forward proxy in more is in place of the lab's.
func (w *world) tcp(destination string, more ...string) []string {
	args := []string{"tcp", destination, "--pomerium-url", w.EdgeURL().String(),
		"--alternate-ca-path", filepath.Join(w.dir, "edge-ca.pem"), "--browser-cmd", "false"}
	if !slices.Contains(more, "--forward-proxy") {
		args = append(args, "--forward-proxy", w.ProxyURL("http"))
	}
	return append(args, more...)
}

// ask makes a command line of a command that asks a server something.
func (w *world) ask(command, server string, more ...string) []string {
	args := append(strings.Fields(command), server, "--alternate-ca-path", filepath.Join(w.dir, "edge-ca.pem"), "--browser-cmd", "false")
	if !slices.Contains(more, "--forward-proxy") {
		args = append(args, "--forward-proxy", w.ProxyURL("http"))
	}
	return append(args, more...)
}
