//go:build linux

package e2e

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// TestThroughEveryProxy does what people do, through each kind of forward proxy, on HTTP/1.1 and HTTP/2.
func TestThroughEveryProxy(t *testing.T) {
	t.Parallel()
	for _, kind := range world.Kinds() {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(kind+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				oneWay(t)
				p := proxy(t, kind)
				tun := open(t, arguments(p, protocol, world.Echo, append(goodToken, world.Target, world.Web, world.Redis, world.Postgres)...))
				t.Run("echo", func(t *testing.T) { echo(t, tun.to(t, world.Echo)) })
				t.Run("halfclose", func(t *testing.T) { end(t, tun, protocol) })
				t.Run("curl", func(t *testing.T) { curl(t, tun.to(t, world.Web)) })
				t.Run("redis", func(t *testing.T) { redis(t, tun.to(t, world.Redis)) })
				t.Run("postgres", func(t *testing.T) { postgres(t, tun.to(t, world.Postgres)) })
				t.Run("ssh", func(t *testing.T) { ssh(t, p, protocol) })
				t.Run("sftp", func(t *testing.T) { sftp(t, p, protocol) })
			})
		}
	}
}

func echo(t *testing.T, addr string) {
	for range 3 {
		conn := dial(t, addr)
		for _, word := range []string{"ping", "and once more"} {
			got := make([]byte, len(word))
			io.WriteString(conn, word)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != word {
				t.Errorf("sent %q, got %q, %v", word, got, err)
			}
		}
	}
}

// end is a half-close of the local side, as far as the protocol can carry it.
func end(t *testing.T, tun *tunnel, protocol string) {
	if protocol == "h1" {
		answerAfterEnd(t, tun.to(t, world.Web))
	} else {
		halfClose(t, tun.to(t, world.Target))
	}
}

// halfClose ends the local side at once after the request, and the destination answers when it hears of it.
func halfClose(t *testing.T, addr string) {
	const size = 300_000
	for range 5 {
		up := io.MultiReader(strings.NewReader(world.Order{Take: -1, End: world.Digest}.String()), io.LimitReader(world.NewPattern(), size))
		if out := must(t, up, "nc", "-N", "127.0.0.1", port(t, addr)); out != world.Sum(size) {
			t.Errorf("the destination answered %q after our end, want the checksum %s", out, world.Sum(size))
		}
	}
}

// answerAfterEnd ends the local side at once after the request. On HTTP/1.1 the destination cannot hear of it, but its late
// answer must not be lost.
func answerAfterEnd(t *testing.T, addr string) {
	for range 2 { // each takes a second, which the edge waits before it closes
		out := must(t, strings.NewReader("GET /late HTTP/1.0\r\n\r\n"), "nc", "-N", "127.0.0.1", port(t, addr))
		if !strings.HasPrefix(out, "HTTP/1.0 200 OK\r\n") || !strings.HasSuffix(out, "GET /late\n") {
			t.Errorf("the answer: %q", out)
		}
	}
}

func curl(t *testing.T, addr string) {
	if out := must(t, nil, "curl", "-sS", "http://"+addr+"/one", "http://"+addr+"/two"); out != "GET /one\nGET /two\n" {
		t.Errorf("curl printed %q", out)
	}
}

func redis(t *testing.T, addr string) {
	if err := w.StartRedis(t.Context()); err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("0123456789", 200_000)
	if out := must(t, strings.NewReader(value), "redis-cli", "-p", port(t, addr), "-x", "set", t.Name()); out != "OK\n" {
		t.Errorf("set: %q", out)
	}
	if out := must(t, nil, "redis-cli", "-p", port(t, addr), "get", t.Name()); out != value+"\n" {
		t.Errorf("get: %d bytes, not the %d that were set", len(out), len(value))
	}
}

// postgres copies 100,000 rows in and out again.
func postgres(t *testing.T, addr string) {
	if err := w.StartPostgres(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&rows, "%d\t%x\n", i, md5.Sum([]byte(strconv.Itoa(i))))
	}
	psql := func(stdin io.Reader, statements ...string) string {
		args := []string{"-h", "127.0.0.1", "-p", port(t, addr), "-U", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1"}
		for _, s := range statements {
			args = append(args, "-c", s)
		}
		return must(t, stdin, "psql", args...)
	}
	table := strconv.Quote(t.Name())
	psql(strings.NewReader(rows.String()), "create table "+table+" (n int, sum text)", "copy "+table+" from stdin")
	if counts := psql(nil, "select count(*) filter (where sum = md5(n::text)), count(*) from "+table); counts != "100000|100000\n" {
		t.Errorf("rows as they were sent, and all: %s", counts)
	}
	if out := psql(nil, "copy (select * from "+table+" order by n) to stdout"); out != rows.String() {
		t.Errorf("%d bytes came back, not the %d that were sent", len(out), rows.Len())
	}
}

// sshArguments are those of ssh and sftp for the host ssh.test, by way of the program as a ProxyCommand.
func sshArguments(t *testing.T, p *world.Proxy, protocol string) []string {
	t.Helper()
	config, err := w.StartSSH(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	command := binary
	for _, arg := range arguments(p, protocol, "%h:%p", append(goodToken, "--listen", "-")...) {
		if arg != "%h:%p" {
			arg = "'" + strings.ReplaceAll(arg, "%", "%%") + "'" // first ssh reads it, then a shell
		}
		command += " " + arg
	}
	return []string{"-F", config, "-o", "ProxyCommand=" + command}
}

func ssh(t *testing.T, p *world.Proxy, protocol string) {
	args := sshArguments(t, p, protocol)
	if out := must(t, nil, "ssh", append(args, "ssh.test", "echo", "hello")...); out != "hello\n" {
		t.Errorf("ssh: %q", out)
	}
	// One connection, several sessions over it.
	control := append(args, "-o", "ControlPath="+filepath.Join(t.TempDir(), "c"))
	must(t, nil, "ssh", append(control, "-o", "ControlMaster=yes", "-o", "ControlPersist=60", "ssh.test", "true")...)
	defer must(t, nil, "ssh", append(control, "-O", "exit", "ssh.test")...)
	for i := range 3 {
		if out := must(t, nil, "ssh", append(control, "ssh.test", "echo", strconv.Itoa(i))...); out != fmt.Sprintln(i) {
			t.Errorf("session %d: %q", i, out)
		}
	}
}

// sftp takes a file there and back.
func sftp(t *testing.T, p *world.Proxy, protocol string) {
	size := int64(8 << 20)
	if p.URL.Port() == "3128" || p.URL.Port() == "1080" { // once for HTTP proxies, once for SOCKS
		size = 200 << 20
	}
	args := sshArguments(t, p, protocol)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "here"))
	if err != nil {
		t.Fatal(err)
	}
	io.CopyN(f, world.NewPattern(), size)
	f.Close()
	batch := fmt.Sprintf("put %[1]s/here %[1]s/there\nget %[1]s/there %[1]s/back\n", dir)
	must(t, strings.NewReader(batch), "sftp", append(args, "-q", "-b", "-", "ssh.test")...)
	for _, name := range []string{"there", "back"} {
		if got := fileSum(t, filepath.Join(dir, name)); got != world.Sum(size) {
			t.Errorf("file %s has checksum %s, want %s", name, got, world.Sum(size))
		}
	}
}

func fileSum(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
