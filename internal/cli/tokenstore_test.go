package cli_test

import (
	"bufio"
	"context"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/cli"
	"github.com/pomerium/pomerium-cli/internal/kubecred"
	"github.com/pomerium/pomerium-cli/internal/token"
)

// files lists what is kept about tokens.
func (w *world) files(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.dir, "pomerium-cli", "jwts", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range paths {
		paths[i] = filepath.Ext(path)
	}
	slices.Sort(paths) // the names before are hashes of addresses
	return paths
}

// browsing is for a listener's lines: a person opens what it says.
func (w *world) browsing(t *testing.T) func(line string) {
	return func(line string) {
		if page, ok := strings.CutPrefix(strings.TrimSpace(line), "sign in at "); ok {
			if err := w.Browse(t.Context(), page); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestTokenStore: where a token is kept, the next run finds it; memory is for
// one run.
func TestTokenStore(t *testing.T) {
	for name, c := range map[string]struct {
		flags   []string
		files   string
		signIns int
	}{
		"default": {nil, ".jwt .lock", 1},
		"file":    {[]string{"--token-store", "file"}, ".jwt .lock", 1},
		"keyring": {[]string{"--token-store", "keyring"}, ".lock .lock .sealed", 1},
		"memory":  {[]string{"--token-store", "memory"}, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ring := newKeyring(nil)
			for range 2 {
				l := watchedWith(t, run{keyring: ring}, w.browsing(t), w.tcp("echo.lab:7", c.flags...)...)
				echoes(t, l.addr)
				l.end()
				if l.code != 0 || strings.Contains(l.stderr, "error") {
					t.Errorf("exit code %d: %s", l.code, l.stderr)
				}
			}
			if n := w.Stats().SignIns; n != c.signIns {
				t.Errorf("%d sign-ins, want %d", n, c.signIns)
			}
			if got := strings.Join(w.files(t), " "); got != c.files {
				t.Errorf("files: %s, want %s", got, c.files)
			}
		})
	}
}

// TestForgotten: logout and k8s flush-credentials drop a server's token wherever
// it is kept. They need neither the keyring nor a file that can be read, and leave
// what other servers have.
func TestForgotten(t *testing.T) {
	const server, other = "https://edge.test", "https://other.test"
	const key = "edge.test:443|true"
	for name, keep := range map[string]func(t *testing.T, dir string){
		"file": func(t *testing.T, dir string) {
			noError(t, token.File{Dir: filepath.Join(dir, "jwts")}.Save(t.Context(), key, "a.b.c"))
		},
		"keyring": func(t *testing.T, dir string) {
			ring := newKeyring(nil).open(true)
			noError(t, (&token.Sealed{Dir: filepath.Join(dir, "jwts"), Ring: ring}).Save(t.Context(), key, "a.b.c"))
		},
		"for kubectl": func(t *testing.T, dir string) {
			noError(t, token.File{Dir: filepath.Join(dir, "jwts")}.Save(t.Context(), key, "a.b.c"))
			for _, url := range []string{server, server + "/a/cluster"} {
				noError(t, kubecred.Cache{Dir: filepath.Join(dir, "exec-credential")}.Save(url, "a.b.c"))
			}
		},
		"broken file": func(t *testing.T, dir string) {
			noError(t, token.File{Dir: filepath.Join(dir, "jwts")}.Save(t.Context(), key, "a.b.c"))
			paths, err := filepath.Glob(filepath.Join(dir, "jwts", "*.jwt"))
			noError(t, err)
			noError(t, os.WriteFile(paths[0], []byte("a.b.c a.b.c"), 0o600))
		},
	} {
		for command, says := range map[string]string{"logout": "the token of edge.test is forgotten\n", "k8s flush-credentials": ""} {
			t.Run(name+" by "+command, func(t *testing.T) {
				w := newWorld(t)
				dir := filepath.Join(w.dir, "pomerium-cli")
				keep(t, dir)
				noError(t, token.File{Dir: filepath.Join(dir, "jwts")}.Save(t.Context(), "other.test:443|true", "d.e.f"))
				noError(t, kubecred.Cache{Dir: filepath.Join(dir, "exec-credential")}.Save(other, "d.e.f"))
				r := new(run)
				r.main(t, append(strings.Fields(command), server)...)
				if r.code != 0 || r.stdout != "" || r.stderr != says {
					t.Errorf("exit code %d, %q", r.code, r.stderr)
				}
				if left := tokensIn(t, dir); left != "Pomerium-d.e.f d.e.f" {
					t.Errorf("left behind: %s", left)
				}
			})
		}
	}
}

// TestRefusedCredential: a credential that the edge refuses is no longer there
// for the existing client, which would believe it for an hour.
func TestRefusedCredential(t *testing.T) {
	w := newWorld(t)
	server := w.EdgeURL().String()
	cache := kubecred.Cache{Dir: filepath.Join(w.dir, "pomerium-cli", "exec-credential")}
	noError(t, cache.Save(server, w.StaleToken()))
	r := &run{env: map[string]string{"KUBERNETES_EXEC_INFO": `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`}}
	r.main(t, w.ask("k8s exec-credential", server)...)
	if left, err := cache.Load(server); r.code != 4 || r.stdout != "" || left != "" || err != nil {
		t.Errorf("exit code %d, %s, left behind: %q, %v", r.code, r.stderr, left, err)
	}
}

// TestAllForgotten: logout --all drops the tokens of all servers, wherever they are
// kept, and does not say so where it cannot.
func TestAllForgotten(t *testing.T) {
	dir := filepath.Join(newWorld(t).dir, "pomerium-cli")
	jwts := filepath.Join(dir, "jwts")
	noError(t, token.File{Dir: jwts}.Save(t.Context(), "edge.test:443|true", "a.b.c"))
	noError(t, (&token.Sealed{Dir: jwts, Ring: newKeyring(nil).open(true)}).Save(t.Context(), "other.test:443|true", "d.e.f"))
	noError(t, kubecred.Cache{Dir: filepath.Join(dir, "exec-credential")}.Save("https://edge.test", "a.b.c"))
	r := new(run)
	r.main(t, "logout", "--all")
	if left := tokensIn(t, dir); r.code != 0 || r.stderr != "all tokens are forgotten\n" || left != "" {
		t.Errorf("exit code %d, %q, left behind: %s", r.code, r.stderr, left)
	}
	noError(t, os.MkdirAll(filepath.Join(jwts, "x.jwt", "in the way"), 0o700)) // which not even root removes so
	r.main(t, "logout", "--all")
	if r.code != 1 || !strings.Contains(r.stderr, "error: forgetting tokens: ") || strings.Contains(r.stderr, "are forgotten") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}

// TestEdgeCase43_CancelledBeforeTheFirstTunnel: a listener that was there when the
// sign-in of another process was cancelled begins none of its own at once, though
// nobody had connected to it by then.
func TestEdgeCase43_CancelledBeforeTheFirstTunnel(t *testing.T) {
	w := newWorld(t)
	lines := make(chan string, 100)
	l := watched(t, nil, func(line string) { lines <- line }, w.tcp("echo.lab:7")...)
	other := &token.Turns{Dir: filepath.Join(w.dir, "pomerium-cli", "jwts"), Command: "pomerium-cli login"}
	done, err := other.Take(t.Context(), token.Key(w.EdgeURL()), nil)
	noError(t, err)
	done(context.Canceled)
	if c, err := net.Dial("tcp", l.addr); err == nil { // else it is reset already
		defer c.Close()
	}
	if line := <-lines; !strings.Contains(line, "(pomerium-cli login) was cancelled") {
		t.Errorf("it said %s", line)
	}
	l.end()
	if strings.Contains(l.stderr, "sign in at") {
		t.Errorf("it said %s", l.stderr)
	}
}

// tokensIn is every token in the files below a directory, and every seal.
func tokensIn(t *testing.T, dir string) string {
	t.Helper()
	var tokens []string
	noError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		tokens = append(tokens, regexp.MustCompile(`(Pomerium-)?[a-f]\.[a-f](\.[a-f])?|^pomerium-cli token.*`).FindAllString(string(data), -1)...)
		return err
	}))
	slices.Sort(tokens)
	return strings.Join(tokens, " ")
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestTokenStoreWithoutKeyring: it is an error that says what else there is, and
// no browser opens.
func TestTokenStoreWithoutKeyring(t *testing.T) {
	w := newWorld(t)
	locked := newKeyring(nil)
	locked.locked = true // and nobody is there who could unlock it
	for hint, ring := range map[string]keyrings{"hint: --token-store file": {}, "hint: unlock the keyring; or --token-store file": locked} {
		r := &run{keyring: ring}
		r.main(t, w.tcp("echo.lab:7", "--token-store", "keyring", "--listen", "-")...)
		if r.code != 1 || !strings.Contains(r.stderr, "keeping tokens in the keyring: ") || !strings.Contains(r.stderr, hint) {
			t.Errorf("exit code %d, without %q: %s", r.code, hint, r.stderr)
		}
		if strings.Contains(r.stderr, "sign in at") {
			t.Errorf("a sign-in was begun: %s", r.stderr)
		}
	}
	// Who has a service account keeps nothing, and needs no keyring.
	r := &run{stdin: "x", env: map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.Token()}}
	r.main(t, w.tcp("echo.lab:7", "--token-store", "keyring", "--listen", "-")...)
	if r.code != 0 {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}

// TestStopWhileTheKeyringIsLocked: whoever is asked to unlock it may stop the
// program instead.
func TestStopWhileTheKeyringIsLocked(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	ring := &lockedRing{asked: stop}
	out, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	code := cli.Main(ctx, cli.Process{
		Args:    w.tcp("echo.lab:7", "--token-store", "keyring", "--listen", "-"),
		Stdin:   strings.NewReader(""),
		Stdout:  out,
		Stderr:  io.Discard,
		Getenv:  func(string) string { return "" },
		Keyring: func(bool) cli.Keyring { return ring },
	})
	if code != 0 || ring.ended != context.Canceled {
		t.Errorf("exit code %d, and the wait for the keyring ended with %v", code, ring.ended)
	}
}

// lockedRing waits for a person as long as it may.
type lockedRing struct {
	asked func()
	ended error
}

func (r *lockedRing) Load(ctx context.Context, _ string) (string, error) {
	r.asked()
	<-ctx.Done()
	r.ended = ctx.Err()
	return "", r.ended
}

func (r *lockedRing) Save(context.Context, string, string) error { return nil }

// TestTokenCannotBeKept: a home that cannot be written to, and a file that holds
// something else, cost a line each, and a sign-in in each run.
func TestTokenCannotBeKept(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, w *world)
		says    string
	}{
		"no directory": {func(t *testing.T, w *world) {
			w.file(t, "pomerium-cli", nil) // in the directory's place: not even root writes below it
		}, "cannot keep the token"},
		"no lock": {func(t *testing.T, w *world) {
			w.file(t, "pomerium-cli", nil)
		}, "sign-ins of several processes cannot be made one"},
		"no home": {func(t *testing.T, w *world) {
			livesIn(t, "")
		}, "tokens are kept in memory only"},
		"broken file": {func(t *testing.T, w *world) {
			w.spoil(t)
		}, "cannot read the kept token"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(t, w)
			l := watchedWith(t, run{}, w.browsing(t), w.tcp("echo.lab:7")...)
			echoes(t, l.addr)
			echoes(t, l.addr)
			l.end()
			if l.code != 0 || !strings.Contains(l.stderr, c.says) || sings(l.stderr) || strings.Count(l.stderr, c.says) != 1 {
				t.Errorf("exit code %d: %s", l.code, l.stderr)
			}
			if n := w.Stats().SignIns; n != 1 {
				t.Errorf("%d sign-ins", n)
			}
		})
	}
}

// spoil puts something else where the token would be.
func (w *world) spoil(t *testing.T) {
	t.Helper()
	f := token.File{Dir: filepath.Join(w.dir, "pomerium-cli", "jwts")}
	if err := f.Save(t.Context(), token.Key(w.EdgeURL()), canary); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(f.Dir, "*.jwt"))
	if err != nil || len(paths) != 1 {
		t.Fatal(paths, err)
	}
	if err := os.WriteFile(paths[0], []byte(canary+" "+canary), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSpoiltTokenFile: who asks without signing in is told of it, and logout
// takes it away; neither fails for it.
func TestSpoiltTokenFile(t *testing.T) {
	w := newWorld(t)
	w.spoil(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{w.ask("whoami", w.EdgeURL().String()), 4, "cannot read the kept token"},
		{[]string{"logout", w.EdgeURL().String()}, 0, "the token of " + w.EdgeURL().Host + " is forgotten"},
		{[]string{"logout", w.EdgeURL().String()}, 0, "there was no token of " + w.EdgeURL().Host},
	} {
		r := new(run)
		r.main(t, c.args...)
		if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.says) || sings(r.stderr) {
			t.Errorf("%s: exit code %d, want %d: %s", c.args[0], r.code, c.code, r.stderr)
		}
	}
	if got := w.files(t); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// TestTwoEdges: one process, two servers, a sign-in at each; neither is shown
// the other's token, now or in the next run.
func TestTwoEdges(t *testing.T) {
	w := newWorld(t)
	port := portOf(t, w.EdgeURL().String())
	args := []string{"tcp", "--alternate-ca-path", filepath.Join(w.dir, "edge-ca.pem"), "--browser-cmd", "false", "--forward-proxy", w.ProxyURL("http")}
	edges := []string{"edge.lab:" + port, "second.lab:" + port}
	for _, e := range edges {
		args = append(args, "tcp+https://"+e+"/echo.lab:7")
	}
	for range 2 {
		addrs := make(chan string, 2)
		ctx, stop := context.WithCancel(t.Context())
		reader, writer := io.Pipe()
		r := new(run)
		wait := r.start(t, ctx, writer, args...)
		browse := w.browsing(t)
		said := make(chan struct{})
		go func() { // joined through said
			defer close(said)
			for lines := bufio.NewScanner(reader); lines.Scan(); {
				if rest, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
					addr, _, _ := strings.Cut(rest, " ")
					addrs <- addr
				}
				browse(lines.Text())
			}
		}()
		for range edges {
			echoes(t, <-addrs)
		}
		stop()
		wait()
		writer.Close()
		<-said
	}
	store := token.File{Dir: filepath.Join(w.dir, "pomerium-cli", "jwts")}
	kept := make(map[string]bool)
	for _, e := range edges {
		text, err := store.Load(t.Context(), e+"|true")
		if err != nil || text == "" {
			t.Errorf("%s: no token, %v", e, err)
		}
		kept[text] = true
	}
	if n := w.Stats().SignIns; n != 2 || len(kept) != 2 {
		t.Errorf("%d sign-ins, %d tokens", n, len(kept))
	}
}
