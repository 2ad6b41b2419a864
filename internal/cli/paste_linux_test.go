package cli_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/lab"
)

// elsewhere signs in with a browser of another machine, and returns the address
// that it ends on and cannot open.
func elsewhere(t *testing.T, page string) (addr string) {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.Path, "/.pomerium/") {
			return nil
		}
		addr = req.URL.String()
		return http.ErrUseLastResponse
	}}
	defer browser.CloseIdleConnections()
	res, err := browser.Post(page, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if addr == "" {
		t.Fatalf("the browser ended with %s", res.Status)
	}
	return addr
}

// signInAt is how a terminal shows where to sign in.
var signInAt = regexp.MustCompile(`sign in at \S*?(http://\S+?)(\x1b|\s)`)

// TestUnlockedByAPerson: who sits at a terminal is asked to unlock the keyring, and
// then tokens are kept with it.
func TestUnlockedByAPerson(t *testing.T) {
	w := worldOf(t, lab.Config{LocalCallback: true})
	ring := newKeyring(nil)
	ring.locked = true
	p, page, wait := signingIn(t, t.Context(), w, &run{keyring: ring}, "--token-store", "keyring", "--no-browser")
	p.types(elsewhere(t, page))
	wait()
	if got := strings.Join(w.files(t), " "); got != ".lock .lock .sealed" {
		t.Errorf("files: %s", got)
	}
}

// signingIn runs a tunnel for standard input whose sign-in a person sees, who
// has no browser there.
func signingIn(t *testing.T, ctx context.Context, w *world, r *run, more ...string) (p *person, page string, wait func()) {
	t.Helper()
	screen, eyes := terminal(t)
	r.terminal, r.stdin = again(screen), "hello"
	p = sit(t, eyes)
	wait = r.start(t, ctx, screen, w.tcp("echo.lab:7", append(more, "--listen", "-")...)...)
	t.Cleanup(func() {
		if !showsTyping(t, screen) {
			t.Error("the terminal is left without echo")
		}
		if strings.Contains(p.seen.String(), "pomerium_jwt") {
			t.Errorf("an address with a token is on the screen: %s", p.seen.String())
		}
	})
	p.sees("is not shown)")
	if showsTyping(t, screen) {
		t.Error("the terminal shows what is typed")
	}
	found := signInAt.FindStringSubmatch(p.seen.String())
	if found == nil {
		t.Fatalf("no URL in %q", p.seen.String())
	}
	return p, found[1], wait
}

// noBrowser are the ways to have none here.
var noBrowser = map[string][]string{
	"not wanted":    {"--no-browser"},
	"does not open": {"--browser-cmd", "false"},
}

// TestPaste: the browser is on another machine; what it ends on is pasted, in
// any of its forms, and is longer than the line that a terminal keeps.
func TestPaste(t *testing.T) {
	w := worldOf(t, lab.Config{LocalCallback: true})
	for name, change := range map[string]func(addr string) string{
		"address":                   func(addr string) string { return addr },
		"address of 9 KB":           func(addr string) string { return strings.Replace(addr, "?", "?x="+strings.Repeat("x", 9000)+"&", 1) },
		"address without a scheme":  func(addr string) string { return strings.TrimPrefix(addr, "http://") },
		"address in quotes":         func(addr string) string { return `  "` + addr + `" ` },
		"as terminals mark a paste": func(addr string) string { return "\x1b[200~" + addr + "\x1b[201~" },
		"token":                     func(addr string) string { return addr[strings.Index(addr, "=")+1:] },
		"corrected":                 func(addr string) string { return "wrong\x15" + addr + "xx\x7f\b" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			if w.browserFlags(t, change) != 0 {
				t.Fail()
			}
		})
	}
}

// browserFlags signs in for each way to have no browser here.
func (w *world) browserFlags(t *testing.T, change func(string) string) (failed int) {
	for name, flags := range noBrowser {
		r := new(run)
		p, page, wait := signingIn(t, t.Context(), w, r, append(flags, "--token-store", "memory")...)
		p.types(change(elsewhere(t, page)))
		wait()
		if r.code != 0 || r.stdout != "hello" {
			t.Errorf("%s: exit code %d, answer %q: %s", name, r.code, r.stdout, p.seen.String())
			failed++
		}
	}
	return failed
}

// TestLoginRemote: two lines say what to do, and the rest is done with a browser
// elsewhere; without a terminal there is nobody to do it.
func TestLoginRemote(t *testing.T) {
	w := worldOf(t, lab.Config{LocalCallback: true})
	args := []string{"login", w.EdgeURL().String(), "--alternate-ca-path", w.dir + "/edge-ca.pem", "--forward-proxy", w.ProxyURL("http"), "--remote"}
	nobody := new(run)
	nobody.main(t, args...)
	if nobody.code != 2 || !strings.Contains(nobody.stderr, "--remote: nobody sits at a terminal here") || w.Stats().SignIns != 0 {
		t.Errorf("exit code %d: %s", nobody.code, nobody.stderr)
	}
	screen, eyes := terminal(t)
	r := &run{terminal: again(screen)}
	p := sit(t, eyes)
	wait := r.start(t, t.Context(), screen, args...)
	p.sees("is not shown)")
	if n := strings.Count(strings.TrimSpace(p.seen.String()), "\n"); n != 1 {
		t.Errorf("%d lines: %s", n+1, p.seen.String())
	}
	found := signInAt.FindStringSubmatch(p.seen.String())
	if found == nil {
		t.Fatalf("no URL in %q", p.seen.String())
	}
	p.types(elsewhere(t, found[1]))
	p.sees("knows you as ")
	wait()
	if r.code != 0 || r.stdout != "" || strings.Contains(p.seen.String(), "pomerium_jwt") {
		t.Errorf("exit code %d, %q: %s", r.code, r.stdout, p.seen.String())
	}
}

// TestPasteMistakes: what cannot be meant is told, and asked for again.
func TestPasteMistakes(t *testing.T) {
	w := worldOf(t, lab.Config{LocalCallback: true})
	r := new(run)
	p, page, wait := signingIn(t, t.Context(), w, r, "--no-browser")
	addr := elsewhere(t, page)
	for text, complaint := range map[string]string{
		"":                                  "nothing was pasted",
		"yes":                               "neither the address",
		"a.b":                               "neither the address",
		page:                                "no token in that address",
		"http://%zz/":                       "neither the address",
		strings.Replace(addr, "?", "x?", 1): "belongs to another sign-in",
		"http://127.0.0.1:1/x":              "no token in that address",
	} {
		p.types(text)
		p.sees(complaint)
		p.sees("is not shown)")
	}
	p.types(addr)
	wait()
	if r.code != 0 || r.stdout != "hello" || w.Stats().SignIns != 1 {
		t.Errorf("exit code %d, answer %q, %d sign-ins", r.code, r.stdout, w.Stats().SignIns)
	}
}

// TestPasteOrCallback: the browser comes back by itself while a person is asked,
// or Ctrl-C ends it all; the terminal is as it was.
func TestPasteOrCallback(t *testing.T) {
	w := worldOf(t, lab.Config{LocalCallback: true})
	r := new(run)
	_, page, wait := signingIn(t, t.Context(), w, r, "--no-browser")
	if err := w.Browse(t.Context(), page); err != nil {
		t.Fatal(err)
	}
	wait()
	if r.code != 0 || r.stdout != "hello" {
		t.Errorf("exit code %d, answer %q", r.code, r.stdout)
	}

	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	r = new(run)
	_, _, wait = signingIn(t, ctx, w, r, "--no-browser")
	stop()
	wait()
	if r.code != 0 || w.Stats().SignIns != 1 {
		t.Errorf("exit code %d, %d sign-ins", r.code, w.Stats().SignIns)
	}
}
