//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// TestKeyring: a person types the password once; from then on the keyring has it, until it is wrong or gone.
func TestKeyring(t *testing.T) {
	for _, kind := range []string{"squid-basic", "squid-digest", "dante-password"} {
		t.Run(kind, func(t *testing.T) {
			oneWay(t)
			k, err := w.StartKeyring(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(k.Close)
			p := *proxy(t, kind)
			bare := *p.URL
			bare.User = nil
			p.URL = &bare
			args := arguments(&p, "auto", world.Echo, append(goodToken, "--listen", "-", "--log-level", "debug")...)

			said := onTerminal(t, append(args, "--save"), k.Env, func(s *screen) {
				s.sees("forward proxy " + bare.String() + " asks who you are")
				s.answers("user: ", world.User)
				s.answers("password for "+world.User+": ", world.Password)
				s.sees("the keyring has the password for " + bare.String() + " now")
			})
			if strings.Contains(said, world.Password) {
				t.Errorf("the password is on the screen: %s", said)
			}
			unattended(t, args, k.Env, 0, "")

			if err := k.Remove(t.Context(), w, bare.String()); err != nil {
				t.Fatal(err)
			}
			unattended(t, args, k.Env, 3, "POMERIUM_FORWARD_PROXY_PASSWORD")

			if err := k.Put(t.Context(), w, bare.String(), world.User+":wr0ng"); err != nil {
				t.Fatal(err)
			}
			unattended(t, args, k.Env, 3, "they are those that the keyring has")
			if bare.Scheme == "http" { // its answers are in the log
				wrongOnce(t, slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--listen" || a == "-" }), k.Env, 1)
			}
			onTerminal(t, append(args, "--save"), k.Env, func(s *screen) {
				s.sees("it refused what the keyring has for it")
				s.answers("user: ", world.User)
				s.answers("password for "+world.User+": ", world.Password)
				s.sees("the keyring has the password for " + bare.String() + " now")
			})
			unattended(t, args, k.Env, 0, "")
		})
	}
}

// TestPromptIsInterrupted: Ctrl-C at the prompt ends the program, and the terminal shows again what is typed.
func TestPromptIsInterrupted(t *testing.T) {
	oneWay(t)
	p := *proxy(t, "squid-basic")
	bare := *p.URL
	bare.User = url.User("somebody")
	p.URL = &bare
	onTerminal(t, arguments(&p, "auto", world.Echo, goodToken...), nil, func(s *screen) {
		s.sees("listening on ")
		addr := regexp.MustCompile(`127\.0\.0\.1:\d+`)
		s.sees("\n")
		conn := dial(t, addr.FindString(s.seen.String()))
		io.WriteString(conn, "x")
		s.sees("password for somebody: ")
		if s.echoes() {
			t.Error("the terminal shows what is typed")
		}
		s.eyes.WriteString("\x03")
		io.Copy(io.Discard, conn)
		s.interrupted = true
	})
}

// wrongOnce: eight connections at once, and the proxy sees the wrong password
// once, to which it answers so many times that it wants another.
func wrongOnce(t *testing.T, args, env []string, asks int) {
	t.Helper()
	tun := openAt(t, t.TempDir(), args, env...)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			conn, err := w.UserHost.Dial("tcp", tun.Addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.Copy(io.Discard, conn)
		})
	}
	all.Wait()
	tun.log.await(t, regexp.MustCompile(`(?s)(error: .*){8}`)) // each connection's line
	said := tun.log.String()
	// Each connection to the proxy is asked once; what is more are passwords that it refused.
	if n := strings.Count(said, "status=407") - strings.Count(said, "dialed hop="); n != asks {
		t.Errorf("the proxy refused %d times, want %d:\n%s", n, asks, said)
	}
	if strings.Contains(said, "wr0ng") {
		t.Errorf("the program said\n%s", said)
	}
}

// unattended runs the program for one tunnel, without a terminal.
func unattended(t *testing.T, args, env []string, code int, says string) {
	t.Helper()
	cmd := exec.CommandContext(limited(t, patience), binary, args...)
	cmd.Env = append(environment(t.TempDir()), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdin = strings.NewReader("ping")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := w.UserHost.Start(cmd); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != code || !strings.Contains(said.String(), says) || code == 0 && out.String() != "ping" {
		t.Errorf("exit code %d, want %d with %q; answer %q\n%s", cmd.ProcessState.ExitCode(), code, says, out.String(), said.String())
	}
	for _, secret := range []string{world.Password, "wr0ng"} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%s is in\n%s", secret, said.String())
		}
	}
}

// screen is a terminal, and who sits there.
type screen struct {
	t           *testing.T
	eyes, file  *os.File
	seen        strings.Builder
	interrupted bool
}

// onTerminal runs the program at a terminal of its own, with "ping" for standard input, and returns all that was on it.
func onTerminal(t *testing.T, args, env []string, person func(*screen)) string {
	t.Helper()
	s := newScreen(t)
	cmd := exec.CommandContext(limited(t, patience), binary, args...)
	cmd.Env = append(environment(t.TempDir()), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, s.file
	if err := w.UserHost.Start(cmd); err != nil {
		t.Fatal(err)
	}
	io.WriteString(stdin, "ping")
	for _, secret := range []string{world.Password, "wr0ng"} {
		if line, _ := os.ReadFile(filepath.Join("/proc", fmt.Sprint(cmd.Process.Pid), "cmdline")); bytes.Contains(line, []byte(secret)) {
			t.Errorf("%s is on the command line", secret)
		}
	}
	person(s)
	stdin.Close()
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 || !s.interrupted && out.String() != "ping" {
		t.Errorf("exit code %d, answer %q\n%s", code, out.String(), s.seen.String())
	}
	if !s.echoes() {
		t.Error("the terminal is left without echo")
	}
	return s.seen.String()
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	eyes, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(eyes.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(eyes.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close(); eyes.Close() })
	return &screen{t: t, eyes: eyes, file: file}
}

// sees reads until the terminal has shown what.
func (s *screen) sees(what string) {
	s.t.Helper()
	b := make([]byte, 1)
	for start := s.seen.Len(); !strings.Contains(s.seen.String()[start:], what); s.seen.Write(b) {
		if _, err := s.eyes.Read(b); err != nil {
			s.t.Fatalf("%v before %q, after %q", err, what, s.seen.String())
		}
	}
}

func (s *screen) answers(prompt, line string) {
	s.t.Helper()
	s.sees(prompt)
	s.eyes.WriteString(line + "\n")
}

func (s *screen) echoes() bool {
	now, err := unix.IoctlGetTermios(int(s.file.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return now.Lflag&unix.ECHO != 0
}
