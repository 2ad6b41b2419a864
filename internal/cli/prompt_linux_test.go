package cli_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A person sits at a terminal, reads, and types.
type person struct {
	t    *testing.T
	eyes *os.File
	read *bufio.Reader
	seen strings.Builder
}

func sit(t *testing.T, eyes *os.File) *person {
	return &person{t: t, eyes: eyes, read: bufio.NewReader(eyes)}
}

// sees reads until the screen has shown what, behind all that was seen before.
func (p *person) sees(what string) {
	p.t.Helper()
	for start := p.seen.Len(); !strings.Contains(p.seen.String()[start:], what); {
		b, err := p.read.ReadByte()
		if err != nil {
			p.t.Fatalf("%v before %q, after %q", err, what, p.seen.String())
		}
		p.seen.WriteByte(b)
	}
}

func (p *person) types(line string) {
	p.t.Helper()
	if _, err := p.eyes.WriteString(line + "\n"); err != nil {
		p.t.Fatal(err)
	}
}

// showsTyping says whether the terminal echoes.
func showsTyping(t *testing.T, screen *os.File) bool {
	t.Helper()
	now, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return now.Lflag&unix.ECHO != 0
}

// again opens the terminal as the program does, which closes it in the end.
func again(screen *os.File) func() (in, out *os.File, err error) {
	return func() (in, out *os.File, err error) {
		f, err := os.OpenFile(screen.Name(), os.O_RDWR|unix.O_NOCTTY, 0)
		return f, f, err
	}
}

// atTerminal runs a tunnel for standard input, with a person at the terminal.
func (w *world) atTerminal(t *testing.T, r *run, hop string, more ...string) (p *person, screen *os.File, wait func()) {
	t.Helper()
	screen, eyes := terminal(t)
	r.terminal, r.stdin = again(screen), "hello"
	args := append(w.tcp("echo.lab:7", "--forward-proxy", hop, "--forward-proxy-ca-path", w.dir+"/proxy-ca.pem",
		"--listen", "-", "--service-account", w.Token()), more...)
	return sit(t, eyes), screen, r.start(t, t.Context(), screen, args...)
}

// TestPrompt: a person types user and password, the proxy accepts them, and only
// then are they kept.
func TestPrompt(t *testing.T) {
	w := newWorld(t)
	for kind, inClear := range map[string]bool{"http+password": true, "https+password": false, "socks5+password": true} {
		t.Run(kind, func(t *testing.T) {
			hop, user, password := bare(t, w.ProxyURL(kind))
			r := &run{keyring: newKeyring(nil)}
			p, screen, wait := w.atTerminal(t, r, hop, "--save")
			p.sees("forward proxy " + hop + " asks who you are")
			p.sees("user: ")
			p.types(user)
			p.sees("password for " + user + ": ")
			if showsTyping(t, screen) {
				t.Error("the terminal shows what is typed")
			}
			p.types("wr0ng")
			p.sees("it refused that; this is the last try")
			if kept := r.keyring.get(hop); kept != "" {
				t.Errorf("kept before the proxy accepted it: %q", kept)
			}
			p.sees("user: ")
			p.types(user)
			p.sees("password for " + user + ": ")
			p.types(password)
			p.sees("the keyring has the password for " + hop + " now")
			wait()
			if r.code != 0 || r.stdout != "hello" {
				t.Errorf("exit code %d, answer %q", r.code, r.stdout)
			}
			if kept := r.keyring.get(hop); kept != user+":"+password {
				t.Errorf("kept: %q", kept)
			}
			if !showsTyping(t, screen) {
				t.Error("the terminal is left without echo")
			}
			seen := p.seen.String()
			if strings.Contains(seen, "travel in clear") != inClear {
				t.Errorf("a password that travels in clear: %v, told: %s", inClear, seen)
			}
			if strings.Contains(seen, password) || strings.Contains(seen, "wr0ng") {
				t.Errorf("a password on the screen: %s", seen)
			}
		})
	}
}

// TestPromptKeepsNothing that it was not asked to keep.
func TestPromptKeepsNothing(t *testing.T) {
	w := newWorld(t)
	hop, user, password := bare(t, w.ProxyURL("http+password"))
	r := &run{keyring: newKeyring(nil), env: map[string]string{"POMERIUM_FORWARD_PROXY_USER": user}}
	p, _, wait := w.atTerminal(t, r, hop)
	p.sees("password for " + user + ": ")
	p.types(password)
	wait()
	if kept := r.keyring.get(hop); kept != "" || r.code != 0 || r.stdout != "hello" {
		t.Errorf("kept without --save: %q; exit code %d, answer %q", kept, r.code, r.stdout)
	}
}

// TestEdgeCase52_PromptEnds: each way in which a person does not tell, or tells
// what is wrong: it is on no line.
func TestEdgeCase52_PromptEnds(t *testing.T) {
	w := newWorld(t)
	hop, user, _ := bare(t, w.ProxyURL("http+password"))
	for name, tc := range map[string]struct {
		keyring keyrings
		env     map[string]string
		acts    func(p *person)
		says    string
	}{
		"no user": {acts: func(p *person) { p.sees("user: "); p.types("") }, says: "nothing was entered"},
		"no password": {env: map[string]string{"POMERIUM_FORWARD_PROXY_USER": user},
			acts: func(p *person) { p.sees("password for " + user + ": "); p.types("") }, says: "nothing was entered"},
		"the end of the input": {acts: func(p *person) { p.sees("user: "); p.eyes.WriteString("\x04") }, says: "nothing was entered"},
		"two wrong ones": {env: map[string]string{"POMERIUM_FORWARD_PROXY_USER": user}, acts: func(p *person) {
			p.sees("password for " + user + ": ")
			p.types(canary)
			p.sees("password for " + user + ": ")
			p.types(canary)
		}, says: "refused the user name or the password"},
		"a wrong one is kept, and another typed": {keyring: newKeyring(map[string]string{hop: user + ":" + canary}), acts: func(p *person) {
			p.sees("it refused what the keyring has for it")
			p.sees("user: ")
			p.types(user)
			p.sees("password for " + user + ": ")
			p.types(canary)
		}, says: "refused the user name or the password"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &run{keyring: tc.keyring, env: tc.env}
			p, screen, wait := w.atTerminal(t, r, hop, "--log-level", "debug")
			tc.acts(p)
			p.sees(tc.says)
			p.sees("hint: ")
			wait()
			if r.code != 3 || sings(p.seen.String()) || !showsTyping(t, screen) {
				t.Errorf("exit code %d, echo %v: %s", r.code, showsTyping(t, screen), p.seen.String())
			}
		})
	}
}

// TestPromptUnlocks: a locked keyring is worth waiting for where a person is.
func TestPromptUnlocks(t *testing.T) {
	w := newWorld(t)
	hop, user, password := bare(t, w.ProxyURL("http+password"))
	for _, dismissed := range []bool{false, true} {
		r := &run{keyring: newKeyring(map[string]string{hop: user + ":" + password})}
		r.keyring.locked, r.keyring.dismissed = true, dismissed
		p, _, wait := w.atTerminal(t, r, hop)
		p.sees("the keyring is locked")
		if dismissed {
			p.sees("user: ")
			p.types(user)
			p.sees("password for " + user + ": ")
			p.types(password)
		}
		wait()
		if r.code != 0 || r.stdout != "hello" {
			t.Errorf("dismissed %v: exit code %d, answer %q", dismissed, r.code, r.stdout)
		}
	}
}

// TestPromptOnce: many tunnels wait for one person, and Ctrl-C at the prompt
// leaves the terminal as it was.
func TestPromptOnce(t *testing.T) {
	w := newWorld(t)
	hop, user, password := bare(t, w.ProxyURL("http+password"))
	for _, cancelled := range []bool{false, true} {
		screen, eyes := terminal(t)
		r := &run{terminal: again(screen), env: map[string]string{"POMERIUM_FORWARD_PROXY_USER": user}}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		wait := r.start(t, ctx, screen, w.tcp("echo.lab:7", "--forward-proxy", hop, "--service-account", w.Token())...)
		p := sit(t, eyes)
		p.sees("listening on ")
		p.sees("\n")
		lines := strings.Split(strings.TrimSpace(p.seen.String()), "\n")
		addr := strings.TrimPrefix(strings.TrimSpace(lines[len(lines)-1]), "listening on ")
		var tunnels sync.WaitGroup
		for range 8 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			tunnels.Go(func() {
				c.Write([]byte("x"))
				if _, err := c.Read(make([]byte, 1)); (err != nil) != cancelled {
					t.Errorf("cancelled %v: %v", cancelled, err)
				}
			})
		}
		p.sees("password for " + user + ": ")
		if cancelled {
			stop() // what the signal does
		} else {
			p.types(password)
		}
		tunnels.Wait()
		stop()
		wait()
		if n := strings.Count(p.seen.String(), "password for "); n != 1 || r.code != 0 || !showsTyping(t, screen) {
			t.Errorf("cancelled %v: %d prompts, exit code %d, echo %v", cancelled, n, r.code, showsTyping(t, screen))
		}
	}
}
