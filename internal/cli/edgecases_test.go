package cli_test

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/cli"
	"github.com/pomerium/pomerium-cli/internal/token"
)

func TestEdgeCase37_OwnListener(t *testing.T) {
	for _, c := range []struct{ listen, proxy string }{
		{"127.0.0.1:61234", "http://127.0.0.1:61234"},
		{"127.0.0.1:61234", "socks5h://localhost:61234"},
		{"localhost:61234", "127.0.0.1:61234"},
		{":61234", "http://user:secret@127.0.0.1:61234"},
		{"0.0.0.0:61234", "http://127.0.0.9:61234"},
		{"[::1]:61234", "http://[::1]:61234"},
	} {
		t.Run(c.listen+" "+c.proxy, func(t *testing.T) {
			flag, env := &run{}, &run{env: map[string]string{"HTTPS_PROXY": c.proxy}}
			flag.main(t, "tcp", "db.example.com:5432", "--listen", c.listen, "--forward-proxy", c.proxy)
			env.main(t, "tcp", "db.example.com:5432", "--listen", c.listen)
			for _, r := range []*run{flag, env} {
				if r.code != 2 || !strings.Contains(r.stderr, "would be this listener itself") {
					t.Errorf("exit code %d, %q", r.code, r.stderr)
				}
			}
		})
	}
}

// TestEdgeCase37_Resolved: what no spelling shows is caught when it is dialed.
func TestEdgeCase37_Resolved(t *testing.T) {
	ours, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	everywhere, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer everywhere.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	port := strconv.Itoa(everywhere.Addr().(*net.TCPAddr).Port)
	for addr, refused := range map[string]bool{
		ours.Addr().String():                true,
		net.JoinHostPort("127.0.0.1", port): true,
		net.JoinHostPort("127.0.0.2", port): true,
		net.JoinHostPort("::1", port):       true,
		other.Addr().String():               false,
	} {
		c, err := cli.DialGuarded(addr, ours, everywhere)
		if err == nil {
			c.Close()
		}
		if (err == cli.ErrLoop) != refused {
			t.Errorf("dialing %s: %v", addr, err)
		}
	}
}

// TestEdgeCase37_Circle: two runs, each of which is the other's proxy. No spelling
// shows it, and one alone would be no mistake; what they ask of each other comes to
// an end with --connect-timeout, and they do not flood each other meanwhile.
func TestEdgeCase37_Circle(t *testing.T) {
	later, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second := later.Addr().String()
	later.Close()
	through := func(proxy, listen string) *listener {
		return listens(t, map[string]string{"POMERIUM_SERVICE_ACCOUNT": "a.b.c"}, "tcp", "db.example.com:5432",
			"--forward-proxy", "http://"+proxy, "--listen", listen, "--connect-timeout", "200ms")
	}
	a := through(second, "127.0.0.1:0")
	b := through(a.addr, second)
	c, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	c.Close()
	a.end()
	b.end()
	if said := a.stderr + b.stderr; !strings.Contains(said, "no answer within 200ms") || strings.Count(said, "error:") > 20 {
		t.Errorf("they said\n%s", said)
	}
}

// TestEdgeCase42_TokenStays: no failure but the edge's word about the token
// itself drops it.
func TestEdgeCase42_TokenStays(t *testing.T) {
	w := newWorld(t)
	odd := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Port()) // the destination's port says what to answer
		if r.Method == http.MethodGet {
			_, port, _ := net.SplitHostPort(r.Host) // or the edge's
			if status, _ = strconv.Atoi(port); status == 0 {
				status = http.StatusForbidden
			}
		}
		rw.WriteHeader(status)
	}))
	odd.Config.ErrorLog = log.New(io.Discard, "", 0)
	odd.StartTLS()
	defer odd.Close()
	for _, port := range []string{"443", "200", "503"} {
		w.Resolve("odd.lab:"+port, odd.Listener.Addr().String())
	}
	w.Resolve("dead.lab:443", "127.0.0.1:1")
	bare, err := url.Parse(w.ProxyURL("http+password"))
	if err != nil {
		t.Fatal(err)
	}
	bare.User = nil

	oddEdge := []string{"--pomerium-url", "https://odd.lab", "--disable-tls-verification"}
	oddPage := []string{"--disable-tls-verification"}
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		{"edge unreachable", w.tcp("echo.lab:7", "--pomerium-url", "https://dead.lab"), 3},
		{"proxy unreachable", w.tcp("echo.lab:7", "--forward-proxy", "http://127.0.0.1:1"), 3},
		{"proxy 407", w.tcp("echo.lab:7", "--forward-proxy", bare.String()), 3},
		{"edge 403", w.tcp("forbidden.lab:1"), 5},
		{"edge 403 empty", w.tcp("udp.lab:53"), 5},
		{"edge 404", w.tcp("missing.lab:1"), 5},
		{"edge 408", w.tcp("timeout.lab:1"), 5},
		{"edge 421", w.tcp("x.lab:421", oddEdge...), 5},
		{"edge 429", w.tcp("x.lab:429", oddEdge...), 5},
		{"edge 450", w.tcp("device.lab:1"), 5},
		{"edge 495", w.tcp("mtls.lab:1"), 5},
		{"edge 500", w.tcp("x.lab:500", oddEdge...), 5},
		{"edge 502", w.tcp("x.lab:502", oddEdge...), 5},
		{"edge 503", w.tcp("refused.lab:1"), 5},
		{"edge 503 empty", w.tcp("no-auth.lab:1"), 5},
		{"auth, edge unreachable", w.ask("auth", "https://dead.lab"), 3},
		{"auth, proxy 407", w.ask("auth", w.EdgeURL().String(), "--forward-proxy", bare.String()), 3},
		{"auth, edge 403", w.ask("auth", "https://odd.lab", oddPage...), 5},
		{"login, edge 403", w.ask("login", "https://odd.lab", oddPage...), 5},
		{"whoami, edge 403", w.ask("whoami", "https://odd.lab", oddPage...), 5},
		{"auth, edge 503", w.ask("auth", "https://odd.lab:503", oddPage...), 5},
		{"whoami, edge 503", w.ask("whoami", "https://odd.lab:503", oddPage...), 5},
		{"auth, not JSON", w.ask("auth", "https://odd.lab:200", oddPage...), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept := w.keepToken(t)
			r := &run{}
			if c.args[0] == "tcp" {
				c.args = append(c.args, "--listen", "-")
			}
			r.main(t, c.args...)
			if r.code != c.code || r.stdout != "" {
				t.Errorf("exit code %d, want %d: %s", r.code, c.code, r.stderr)
			}
			kept(t)
		})
	}
	t.Run("local reset, then Ctrl-C", func(t *testing.T) {
		kept := w.keepToken(t)
		l := listens(t, nil, w.tcp("echo.lab:7")...)
		c, err := net.Dial("tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
		l.end()
		if l.code != 0 || strings.Contains(l.stderr, "error") {
			t.Errorf("exit code %d: %s", l.code, l.stderr)
		}
		kept(t)
	})
}

// keepToken puts a good token where the program looks for it, for each edge of
// the tests. The result checks that it is still there.
func (w *world) keepToken(t *testing.T) (check func(*testing.T)) {
	t.Helper()
	store := token.File{Dir: filepath.Join(w.dir, "pomerium-cli", "jwts")}
	good := w.Token()
	edges := []string{w.EdgeURL().String(), "https://odd.lab", "https://odd.lab:200", "https://odd.lab:503", "https://dead.lab"}
	each := func(do func(key string)) {
		for _, raw := range edges {
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			do(token.Key(u))
		}
	}
	each(func(key string) {
		if err := store.Save(t.Context(), key, good); err != nil {
			t.Fatal(err)
		}
	})
	return func(t *testing.T) {
		t.Helper()
		each(func(key string) {
			if got, err := store.Load(t.Context(), key); got != good || err != nil {
				t.Errorf("the token of %s is gone: %v", key, err)
			}
		})
	}
}

// TestEdgeCase44_AnotherSignIn: a token that the edge refuses is dropped, and the
// commands that sign in ask for another, until they are stopped; whoami does not.
func TestEdgeCase44_AnotherSignIn(t *testing.T) {
	w := newWorld(t)
	store := token.File{Dir: filepath.Join(w.dir, "pomerium-cli", "jwts")}
	for _, c := range []struct {
		command, want string
		code          int
	}{
		{"auth", "running false", 4}, {"login", "running false", 4}, {"whoami", "nobody is signed in", 4},
	} {
		t.Run(c.command, func(t *testing.T) {
			if err := store.Save(t.Context(), token.Key(w.EdgeURL()), w.StaleToken()); err != nil {
				t.Fatal(err)
			}
			r := &run{}
			ctx, stop := context.WithCancel(t.Context())
			said := &lookout{want: c.want, seen: stop} // gives up where a person would
			r.start(t, ctx, said, w.ask(c.command, w.EdgeURL().String())...)()
			if r.code != c.code || r.stdout != "" || strings.Contains(said.text.String(), "canceled") || !strings.Contains(said.text.String(), c.want) {
				t.Errorf("exit code %d, %q, %s", r.code, r.stdout, said.text.String())
			}
			if got, err := store.Load(t.Context(), token.Key(w.EdgeURL())); got != "" || err != nil {
				t.Errorf("the refused token is still kept: %v", err)
			}
		})
	}
}

// lookout calls seen when what it is to find has been written.
type lookout struct {
	want string
	seen func()
	text bytes.Buffer
}

func (l *lookout) Write(p []byte) (int, error) {
	n, err := l.text.Write(p)
	if strings.Contains(l.text.String(), l.want) {
		l.seen()
	}
	return n, err
}

// TestEdgeCase49_Commands: every command that asks the server names it, whose
// certificate it showed, who issued that, and how to add the authority.
func TestEdgeCase49_Commands(t *testing.T) {
	w := newWorld(t)
	for _, command := range []string{"tcp", "auth", "login", "whoami", "routes list", "routes connect", "k8s exec-credential"} {
		args := append(strings.Fields(command), "--forward-proxy", w.ProxyURL("http"), "--no-browser")
		if command == "tcp" {
			args = append(args, "echo.lab:7", "--listen", "-", "--pomerium-url", w.EdgeURL().String())
		} else {
			args = append(args, w.EdgeURL().String())
		}
		for name, env := range map[string]map[string]string{
			"with a token": {"POMERIUM_SERVICE_ACCOUNT": w.Token()},
			"without":      nil,
		} {
			if command == "whoami" && env == nil {
				continue // asks nobody
			}
			t.Run(command+" "+name, func(t *testing.T) {
				r := &run{env: env}
				r.main(t, args...)
				for _, want := range []string{w.EdgeURL().Host, "(certificate of CN=edge.lab,O=pomerium-cli lab, issued by CN=lab edge CA,O=pomerium-cli lab)", "hint: if that authority is your organisation's, give its certificate with --alternate-ca-path"} {
					if !strings.Contains(r.stderr, want) {
						t.Errorf("%q is not in: %s", want, r.stderr)
					}
				}
				if r.code == 0 || r.stdout != "" {
					t.Errorf("exit code %d, %q", r.code, r.stdout)
				}
			})
		}
	}
}

// TestEdgeCase50_ExitCodes: each kind of failure has its code, and standard
// output stays clean.
func TestEdgeCase50_ExitCodes(t *testing.T) {
	w := newWorld(t)
	good := map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.Token()}
	stale := map[string]string{"POMERIUM_SERVICE_ACCOUNT": w.StaleToken()}
	for _, c := range []struct {
		name string
		env  map[string]string
		args []string
		code int
		out  string
	}{
		{"works", good, w.tcp("echo.lab:7"), 0, "hello"},
		{"works over HTTPS proxy", good, w.tcp("echo.lab:7", "--forward-proxy", w.ProxyURL("https+password"), "--forward-proxy-ca-path", filepath.Join(w.dir, "proxy-ca.pem")), 0, "hello"},
		{"works over SOCKS5", good, w.tcp("echo.lab:7", "--forward-proxy", w.ProxyURL("socks5+password")), 0, "hello"},
		{"untrusted edge", good, w.tcp("echo.lab:7", "--alternate-ca-path", filepath.Join(w.dir, "proxy-ca.pem")), 1, ""},
		{"bad flag", good, w.tcp("echo.lab:7", "--frob"), 2, ""},
		{"bad destination", good, w.tcp("echo"), 2, ""},
		{"proxy refuses", good, w.tcp("echo.lab:7", "--pomerium-url", "https://nowhere.example"), 3, ""},
		{"failed sign-in", stale, w.tcp("echo.lab:7"), 4, ""},
		{"failed tunnel", good, w.tcp("missing.lab:1"), 5, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &run{stdin: "hello", env: c.env}
			r.main(t, append(c.args, "--listen", "-")...)
			if r.code != c.code || r.stdout != c.out {
				t.Errorf("exit code %d, want %d; standard output %q, want %q; %s", r.code, c.code, r.stdout, c.out, r.stderr)
			}
			if (c.code == 0) != (r.stderr == "") {
				t.Errorf("standard error: %q", r.stderr)
			}
		})
	}
	if n := w.DirectConnections(); n != 0 {
		t.Errorf("%d connections to the edge were direct", n)
	}
}

// TestEdgeCase50_EachCommand: what cannot be meant is refused by each command that
// takes it, before anything opens.
func TestEdgeCase50_EachCommand(t *testing.T) {
	const server = "https://edge.example.com"
	for _, command := range []string{"tcp db:1", "check db:1", "auth " + server, "login " + server, "whoami " + server,
		"routes list " + server, "routes connect " + server, "k8s exec-credential " + server, "k8s configure --dry-run " + server, "ssh-config db"} {
		for flags, says := range map[string]string{
			"--forward-proxy socks4://a":                      "--forward-proxy: socks4:// is not spoken here",
			"--forward-proxy http://a --pre-proxy direct":     "--pre-proxy: a proxy is needed here",
			"--forward-proxy http://a --forward-proxy-spn x":  `--forward-proxy-spn "x": not of the form`,
			"--forward-proxy http://a --forward-proxy-auth x": "--forward-proxy-auth: ",
			"--token-store x":                                 `--token-store "x": not file, keyring or memory`,
			"--browser-cmd '":                                 "--browser-cmd: a quote is not closed",
			"--alternate-ca-path missing":                     "--alternate-ca-path missing: ",
		} {
			r := new(run)
			r.main(t, strings.Fields(command+" "+flags)...)
			if r.code != 2 || r.stdout != "" || !strings.HasPrefix(r.stderr, "error: "+says) {
				t.Errorf("%s %s: exit code %d, %q, %s", command, flags, r.code, r.stdout, r.stderr)
			}
		}
	}
}
