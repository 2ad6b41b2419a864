//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// signInLine is how the program shows where to sign in.
var signInLine = regexp.MustCompile(`sign in at \S*?(https://[^\s\x1b]+)`)

// chromium is a browser on a host, with one tab.
func chromium(t *testing.T, h *world.Host, idp *world.IdentityProvider, flags ...string) context.Context {
	t.Helper()
	c, err := w.StartChromium(t.Context(), h, []world.Authority{w.CA, idp.CA}, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	ctx, cancel := remote.NewAllocator(limited(t, 2*patience), c.DevTools, remote.NoModifyURL)
	t.Cleanup(cancel)
	tab, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return tab
}

// identityProvider has the edge's sign-in page lead to a real one, for one test.
func identityProvider(t *testing.T) *world.IdentityProvider {
	t.Helper()
	idp, stop, err := w.IdentityProvider(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return idp
}

// fillIn opens a sign-in URL and fills in the provider's form.
func fillIn(signIn string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.Navigate(signIn),
		chromedp.WaitVisible(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), world.PersonName),
		chromedp.SendKeys(chromedp.CSS("#password"), world.PersonSecret),
		chromedp.Click(chromedp.CSS("button[type=submit]")),
	)
}

// TestBrowser is a whole sign-in: a real browser opens the URL, a person fills in the form of a real identity provider and ends on the
// program's page, in light and in dark; what that page is like, and that the token is nowhere in sight.
func TestBrowser(t *testing.T) {
	p := proxy(t, "squid")
	idp := identityProvider(t)
	tab := chromium(t, w.UserHost, idp, "--proxy-server=http://"+p.URL.Host)

	tun := open(t, arguments(p, "auto", world.Echo, "--no-browser"))
	conn := tun.dial(t)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	signIn := tun.log.await(t, signInLine)[1]
	back := redirectURI(t, signIn)

	// What the browser is shown when it comes without a token: nothing is lost by it.
	if err := chromedp.Do(tab, chromedp.Navigate(back), chromedp.WaitVisible(chromedp.CSS("main h1"))); err != nil {
		t.Fatal(err)
	}
	wantPage(t, tab, back, "failed", "The sign-in did not work", "edge.test:8443")

	if err := chromedp.Do(tab, fillIn(signIn), chromedp.WaitVisible(chromedp.CSS("main svg"))); err != nil {
		t.Fatal(err)
	}
	wantPage(t, tab, back, "done", "You are signed in", world.PersonEmail+" is signed in to edge.test:8443")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// redirectURI is where a sign-in URL leads in the end.
func redirectURI(t *testing.T, signIn string) string {
	t.Helper()
	u, err := url.Parse(signIn)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("back")
}

// wantPage looks at the page that the browser is on, in both colour schemes, and at where it has been. The pictures are kept where
// SCREENSHOTS says.
func wantPage(t *testing.T, tab context.Context, at, name, title, says string) {
	t.Helper()
	heading, text := ask(t, tab, chromedp.Text(chromedp.CSS("h1"))), ask(t, tab, chromedp.Text(chromedp.CSS("main")))
	lang, where := ask(t, tab, chromedp.Evaluate[string]("document.documentElement.lang")), ask(t, tab, chromedp.Location())
	if heading != title || !strings.Contains(text, says) || !strings.Contains(text, "close this window") || lang != "en" || where != at {
		t.Errorf("%s: at %s, language %q: %s", name, where, lang, text)
	}
	for _, e := range history(t, tab).Entries {
		if seen := e.URL + e.Title; strings.Contains(seen, "e2e.issued") || strings.Contains(seen, "pomerium_jwt") {
			t.Errorf("the browser's history has a token: %s", seen)
		}
	}
	wantRoles(t, tab, name)
	for _, scheme := range []string{"light", "dark"} {
		wantColours(t, tab, name, scheme)
	}
}

// wantRoles checks what the browser tells a screen reader.
func wantRoles(t *testing.T, tab context.Context, name string) {
	t.Helper()
	tree, err := chromedp.Call(tab, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		t.Fatal(err)
	}
	roles := make(map[string]int)
	for _, n := range tree.Nodes {
		if n.Role != nil && !n.Ignored {
			roles[strings.Trim(string(n.Role.Value), `"`)]++
		}
	}
	for _, role := range []string{"main", "heading", "contentinfo"} {
		if roles[role] != 1 {
			t.Errorf("%s: %d of role %s, want 1: %v", name, roles[role], role, roles)
		}
	}
	if roles["image"]+roles["SvgRoot"] != 0 {
		t.Errorf("%s: a picture without a text is told: %v", name, roles)
	}
}

// contrast is the smallest contrast (WCAG 2.2, 1.4.3) of any text with what is behind it.
const contrast = `(() => {
  const parse = s => s.match(/[\d.]+/g).map(Number);
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] == 1) return c } };
  return Math.min(...[...document.querySelectorAll("h1, p, b, footer")].map(e => {
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }));
})()`

// wantColours looks at a page in one colour scheme.
func wantColours(t *testing.T, tab context.Context, name, scheme string) {
	t.Helper()
	_, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	if err != nil {
		t.Fatal(err)
	}
	least := ask(t, tab, chromedp.Evaluate[float64](contrast))
	back := ask(t, tab, chromedp.Evaluate[string]("getComputedStyle(document.body).backgroundColor"))
	picture := ask(t, tab, chromedp.CaptureScreenshot())
	if want := map[string]string{"light": "rgb(245, 244, 248)", "dark": "rgb(22, 19, 31)"}[scheme]; back != want || least < 4.5 {
		t.Errorf("%s, %s: background %s, least contrast %.2f", name, scheme, back, least)
	}
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+"-"+scheme+".png"), picture, 0o644); err != nil {
			t.Error(err)
		}
	}
}

// TestFullDisk: a token that cannot be kept costs a line, and a sign-in in the next run; nothing half made stays.
func TestFullDisk(t *testing.T) {
	p := proxy(t, "squid")
	home := t.TempDir()
	for _, args := range [][]string{{"mount", "-t", "tmpfs", "-o", "size=4k", "none", home}, {"sh", "-c", "head -c 4096 /dev/zero > " + home + "/all"}} {
		if _, err := w.UserHost.Run(t.Context(), args[0], args[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		left, err := w.UserHost.Run(context.Background(), "find", home, "-type", "f", "-name", "*.jwt*")
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %s, %v", left, err)
		}
		if _, err := w.UserHost.Run(context.Background(), "umount", "--lazy", home); err != nil {
			t.Error(err)
		}
	})
	before := w.SignIn.Visits()
	for range 2 {
		tun := openAt(t, home, arguments(p, "auto", world.Web, "--no-browser"))
		reply := make(chan result, 1)
		go func() { reply <- run(t, nil, "curl", "-sS", "http://"+tun.Addr+"/") }()
		signIn := tun.log.await(t, signInLine)[1]
		run(t, nil, "curl", "-sSL", "--proxy", p.URL.String(), "--noproxy", "127.0.0.1", "--cacert", w.CA.CA, "-o", "/dev/null", signIn)
		if r := <-reply; r.stdout != "GET /\n" {
			t.Errorf("curl: %+v", r)
		}
		tun.log.await(t, regexp.MustCompile(`cannot keep the token: .* no space left on device`))
	}
	if n := w.SignIn.Visits() - before; n != 2 {
		t.Errorf("%d sign-ins, want 2", n)
	}
}

// TestBrowserElsewhere signs in with a browser in another network: it ends on an address that it cannot open, and that is pasted at the
// program's terminal.
func TestBrowserElsewhere(t *testing.T) {
	oneWay(t)
	p := proxy(t, "squid")
	idp := identityProvider(t)
	tab := chromium(t, w.ProxyHost, idp)

	var words []string
	for _, a := range append([]string{binary}, arguments(p, "auto", world.Web, "--no-browser", "--listen", "-")...) {
		words = append(words, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
	}
	reply := filepath.Join(t.TempDir(), "reply")
	// Its own standard input and output are the tunnel: the terminal is neither.
	line := fmt.Sprintf(`printf 'GET /x HTTP/1.0\r\n\r\n' | %s > '%s'`, strings.Join(words, " "), reply)
	cmd := exec.Command("script", "--quiet", "--flush", "--return", "--command", line, "/dev/null")
	cmd.Env = append(environment(t.TempDir()), "TERM=xterm", "SHELL=/bin/sh")
	screen := newLog()
	cmd.Stdout, cmd.Stderr = screen, screen
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.UserHost.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // joined below, or by the clean-up
		err := cmd.Wait()
		screen.end()
		ended <- err
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the terminal showed:\n%s", screen)
		}
	})
	signIn := screen.await(t, signInLine)[1]
	screen.await(t, regexp.MustCompile(`is not shown\)`))
	if err := chromedp.Do(tab, fillIn(signIn), chromedp.WaitVisible(chromedp.CSS("#main-frame-error"))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(keys, address(t, tab)+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	content, err := os.ReadFile(reply)
	if err != nil || !strings.HasSuffix(string(content), "GET /x\n") {
		t.Errorf("the reply is %q, %v", content, err)
	}
	if strings.Contains(screen.String(), "e2e.issued") {
		t.Error("the token is on the terminal")
	}
}

// address is what the browser's address bar shows.
func address(t *testing.T, tab context.Context) string {
	t.Helper()
	h := history(t, tab)
	addr := h.Entries[h.CurrentIndex].URL
	if !strings.Contains(addr, "pomerium_jwt=") {
		t.Fatalf("the browser is at %s", addr)
	}
	return addr
}

// history is where the browser has been.
func history(t *testing.T, tab context.Context) page.GetNavigationHistoryResult {
	t.Helper()
	h, err := chromedp.Call(tab, page.GetNavigationHistory, cdp.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// ask asks the browser.
func ask[T any](t *testing.T, tab context.Context, what chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(tab, what)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
