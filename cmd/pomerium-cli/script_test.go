package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pomerium/pomerium-cli/internal/lab"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

// setup gives a script an environment in which only what it sets is set.
func setup(env *testscript.Env) error {
	for _, name := range []string{"HOME", "USERPROFILE"} { // the second of each is Windows'
		env.Setenv(name, env.WorkDir+"/home")
	}
	for _, name := range []string{"XDG_CACHE_HOME", "LocalAppData"} {
		env.Setenv(name, env.WorkDir+"/home/.cache")
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy",
		"NO_PROXY", "no_proxy", "LOG_LEVEL", "POMERIUM_SERVICE_ACCOUNT", "POMERIUM_SERVICE_ACCOUNT_FILE",
		"POMERIUM_FORWARD_PROXY", "POMERIUM_FORWARD_PROXY_USER", "POMERIUM_FORWARD_PROXY_PASSWORD", "POMERIUM_URL", "KUBERNETES_EXEC_INFO", "KUBECONFIG"} {
		env.Setenv(name, "")
	}
	env.Values[world] = &network{programs: make(map[string]*running), held: make(map[string]net.Conn)}
	return nil
}

type key int

const world key = 0 // of a script's *network

// network is what runs while a script does.
type network struct {
	lab      *lab.Lab
	programs map[string]*running
	held     map[string]net.Conn
}

// direct checks that nothing reached the edge beside the proxies.
func direct(ts *testscript.TestScript, neg bool, args []string) {
	if !neg || len(args) > 0 {
		ts.Fatalf("usage: ! direct")
	}
	if n := ts.Value(world).(*network).lab.DirectConnections(); n != 0 {
		ts.Fatalf("%d connections to the edge were direct", n)
	}
}

// startLab starts a lab: lab [0.32]. It sets EDGE, PROXY, PROXY_PASSWORD,
// PROXY_TLS, SOCKS, TOKEN and DENIED, and writes edge-ca.pem, proxy-ca.pem,
// client.pem and client-key.pem.
func startLab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: lab [version]")
	}
	config := lab.Config{}
	if len(args) == 1 {
		config.Version = args[0]
	}
	l, err := lab.Start(config)
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Value(world).(*network).lab = l
	for name, value := range map[string]string{
		"EDGE": l.EdgeURL().String(), "PROXY": l.ProxyURL("http"), "PROXY_PASSWORD": l.ProxyURL("http+password"),
		"EDGE_HOST": l.EdgeURL().Host, "PROXY_TLS": l.ProxyURL("https"), "SOCKS": l.ProxyURL("socks5"), "SOCKS_PASSWORD": l.ProxyURL("socks5+password"),
		"TOKEN": l.Token(), "STALE": l.StaleToken(), "DENIED": l.DeniedToken(),
	} {
		ts.Setenv(name, value)
	}
	guarded, err := url.Parse(l.ProxyURL("http+password")) // what its URL has, for a script to give otherwise
	ts.Check(err)
	password, _ := guarded.User.Password()
	ts.Setenv("PROXY_PASSWORD_HOST", guarded.Host)
	ts.Setenv("PROXY_PASSWORD_VALUE", password)
	ts.Check(os.WriteFile(ts.MkAbs("login"), []byte("lab user:"+password+"\n"), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("netrc"), fmt.Appendf(nil, "machine %s login %q password %q\n", guarded.Hostname(), "lab user", password), 0o600))
	cert, certKey, err := l.ClientCert()
	ts.Check(err)
	for name, data := range map[string][]byte{"edge-ca.pem": l.CAPEM(), "proxy-ca.pem": l.ProxyCAPEM(),
		"client.pem": cert, "client-key.pem": certKey, "token": []byte(l.Token() + "\n")} {
		ts.Check(os.WriteFile(ts.MkAbs(name), data, 0o600))
	}
}

// running is a program that was started.
type running struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // all of it, once done is closed
	stdout bytes.Buffer
	done   chan struct{}
	once   sync.Once
}

// start runs pomerium-cli in the background, until it listens on as many
// addresses as destinations are meant: start name n args... It sets ADDR1,
// ADDR2 and so on.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: start name listeners args...")
	}
	listeners, err := strconv.Atoi(args[1])
	ts.Check(err)
	path, err := exec.LookPath(findIn(ts.Getenv("PATH"), "pomerium-cli"))
	ts.Check(err)
	r := &running{cmd: exec.Command(path, args[2:]...), done: make(chan struct{})}
	r.cmd.Dir = ts.MkAbs(".")
	r.cmd.Env = environment(ts)
	r.cmd.Stdout = &r.stdout
	stderr, err := r.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(r.cmd.Start())
	ts.Value(world).(*network).programs[args[0]] = r
	ts.Defer(func() { r.signal(os.Kill); r.wait() })

	addrs := make(chan string, listeners)
	l := ts.Value(world).(*network).lab
	go func() { // joined by wait, through done
		defer close(r.done)
		defer close(addrs)
		for lines := bufio.NewScanner(io.TeeReader(stderr, &r.stderr)); lines.Scan(); {
			if a := address(lines.Text()); a != "" && len(addrs) < listeners {
				addrs <- a
			}
			if page := signInPage(lines.Text()); page != "" && l != nil {
				_ = l.Browse(context.Background(), page) // as a person does who reads the line
			}
		}
	}()
	for i := range listeners {
		addr, ok := <-addrs
		if !ok {
			r.wait()
			ts.Fatalf("it ended before it listened: %s", r.stderr.String())
		}
		ts.Setenv("ADDR"+strconv.Itoa(i+1), addr)
	}
}

// environment is the script's, as a list.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"HOME", "USERPROFILE", "XDG_CACHE_HOME", "LocalAppData", "PATH", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY",
		"LOG_LEVEL", "POMERIUM_SERVICE_ACCOUNT", "POMERIUM_SERVICE_ACCOUNT_FILE", "TMPDIR",
		"POMERIUM_FORWARD_PROXY", "POMERIUM_FORWARD_PROXY_USER", "POMERIUM_FORWARD_PROXY_PASSWORD", "POMERIUM_URL", "KUBERNETES_EXEC_INFO", "KUBECONFIG"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

// findIn looks a program up in the script's PATH, where testscript puts ours.
func findIn(path, name string) string {
	for _, dir := range strings.Split(path, string(os.PathListSeparator)) {
		for _, ending := range []string{"", ".exe"} {
			if full := dir + string(os.PathSeparator) + name + ending; exists(full) {
				return full
			}
		}
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// address finds the address in a line that says where the program listens.
func address(line string) string {
	if _, rest, ok := strings.Cut(line, `"msg":"listening","addr":"`); ok {
		addr, _, _ := strings.Cut(rest, `"`)
		return addr
	}
	rest, ok := strings.CutPrefix(line, "listening on ")
	if !ok {
		return ""
	}
	addr, _, _ := strings.Cut(rest, " ")
	return addr
}

// signInPage finds the URL in a line that says where to sign in.
func signInPage(line string) string {
	if _, rest, ok := strings.Cut(line, `"msg":"sign in","url":"`); ok {
		page, _, _ := strings.Cut(rest, `"`)
		return strings.ReplaceAll(page, `\u0026`, "&")
	}
	page, _ := strings.CutPrefix(line, "sign in at ")
	if page == line {
		return ""
	}
	return page
}

func (r *running) signal(s os.Signal) { _ = r.cmd.Process.Signal(s) }

// wait waits for the end of the program.
func (r *running) wait() {
	r.once.Do(func() {
		<-r.done
		_ = r.cmd.Wait()
	})
}

// hold opens a connection to an echo, and keeps it until the script ends or
// held looks at it: hold name addr.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hold name addr")
	}
	c, err := net.Dial("tcp", args[1])
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	ts.Check(c.SetDeadline(time.Now().Add(30 * time.Second)))
	_, err = exchange(c, "x", "x", true)
	ts.Check(err)
	ts.Value(world).(*network).held[args[0]] = c
}

// held checks that a connection which was kept is reset: held name.
func held(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: held name")
	}
	if _, err := io.ReadAll(ts.Value(world).(*network).held[args[0]]); !errors.Is(err, sock.ErrReset) {
		ts.Fatalf("read %v, want a reset", err)
	}
}

// quit ends a program and checks its exit code: quit name [INT|TERM|HUP|none] code.
// Several signals, INT+TERM, are sent one after the other.
// What it wrote is in the files name.out and name.err then.
func quit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: quit name signal code")
	}
	r := ts.Value(world).(*network).programs[args[0]]
	if r == nil {
		ts.Fatalf("%s was not started", args[0])
	}
	for name := range strings.SplitSeq(args[1], "+") {
		if name != "none" {
			ts.Check(r.cmd.Process.Signal(map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}[name]))
		}
	}
	r.wait()
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), r.stdout.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), r.stderr.Bytes(), 0o600))
	if code := r.cmd.ProcessState.ExitCode(); strconv.Itoa(code) != args[2] {
		ts.Fatalf("%s exited with %d, want %s:\n%s", args[0], code, args[2], r.stderr.String())
	}
}

// talk connects, sends, ends its side and compares the answer: talk addr sent
// received, in which \n is a line's end. With -h1 it does not end its side,
// which HTTP/1.1 cannot pass on. With !, the connection has to be reset.
func talk(ts *testscript.TestScript, neg bool, args []string) {
	h1 := len(args) > 0 && args[0] == "-h1"
	if h1 {
		args = args[1:]
	}
	if len(args) != 3 && !(neg && len(args) == 2) {
		ts.Fatalf("usage: talk [-h1] addr sent received, or ! talk addr sent")
	}
	network, addr := "tcp", args[0]
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", ts.MkAbs(path)
	}
	c, err := net.Dial(network, addr)
	var got, want string
	if err == nil {
		defer c.Close()
		ts.Check(c.SetDeadline(time.Now().Add(30 * time.Second)))
		if !neg {
			want = strings.ReplaceAll(args[2], `\n`, "\n")
		}
		got, err = exchange(c, args[1], want, h1)
	}
	switch {
	case neg && err == nil:
		ts.Fatalf("got %q, and no reset", got)
	case neg && !errors.Is(err, sock.ErrReset):
		ts.Fatalf("got %v, want a reset", err)
	case neg:
	case err != nil:
		ts.Fatalf("%v", err)
	case got != want:
		ts.Fatalf("got %q, want %q", got, want)
	}
}

func exchange(c net.Conn, sent, want string, h1 bool) (string, error) {
	if _, err := io.WriteString(c, sent); err != nil {
		return "", err
	}
	if h1 {
		got := make([]byte, len(want))
		n, err := io.ReadFull(c, got)
		return string(got[:n]), err
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	got, err := io.ReadAll(c)
	return string(got), err
}

// moving is what differs from run to run in what is printed.
var moving = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?m)^ *[0-9.]+ ms  `), "    0.0 ms  "},
	{regexp.MustCompile(`"ms": [0-9.]+`), `"ms": 0`},
	{regexp.MustCompile(`(127\.0\.0\.1|edge\.lab):[0-9]{5}\b`), "$1:12345"},
	{regexp.MustCompile(`request id [0-9a-f-]{36}`), "request id ID"},
	{regexp.MustCompile(`lookup (\S+)( on \S+)?: .*`), "lookup $1: ..."},
	{regexp.MustCompile(`[0-9.]+ ms \([0-9.]+ to [0-9.]+\)`), "0.00 ms (0.00 to 0.00)"},
	{regexp.MustCompile(`[0-9.]+ [MG]B/s down \(([0-9.]+ MB) in [0-9.]+ s\)`), "0 MB/s down ($1 in 0 s)"},
}

// still writes what the last command printed to a file, without what differs
// from run to run: still file.
func still(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: still file")
	}
	text := ts.ReadFile("stdout")
	for _, m := range moving {
		text = m.what.ReplaceAllString(text, m.with)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// exits runs pomerium-cli and checks its exit code: exits code args... The
// streams can be looked at with stdout and stderr, as after exec.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits code args...")
	}
	err := ts.Exec("pomerium-cli", args[1:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}
