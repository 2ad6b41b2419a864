//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// check makes a command line of check from one of tcp.
func check(p *world.Proxy, dest string, more ...string) []string {
	args := arguments(p, "auto", dest, more...)
	args[0] = "check"
	return args
}

// TestCheck walks the way through real proxies to a real Envoy, and breaks it.
func TestCheck(t *testing.T) {
	wrong := func(p world.Proxy) *world.Proxy {
		u := *p.URL
		u.User = url.UserPassword(world.User, "canary")
		p.URL = &u
		return &p
	}
	for _, c := range []struct {
		name, kind  string
		change      func(world.Proxy) *world.Proxy
		dest, token string
		code        int
		lines       []string // regular expressions for lines of standard output, in this order
	}{
		{"squid", "squid", nil, world.Echo, world.GoodToken, 0, []string{
			`^ +ok  --forward-proxy +http://proxy\.test:3128$`,
			`^ +[0-9.]+ ms  name +198\.18\.1\.1$`,
			`^ +[0-9.]+ ms  TCP connection +198\.18\.1\.1:3128$`,
			`^ +[0-9.]+ ms  CONNECT edge\.test:8443 +200, the proxy looks up the name$`,
			`^ +[0-9.]+ ms  TLS +TLS 1\.3, h2, certificate issued by `,
			`^ +[0-9.]+ ms  answer +a Pomerium server$`,
			`^ +ok  token +the service account's is good$`,
			`^ +[0-9.]+ ms  tunnel to ` + regexp.QuoteMeta(world.Echo) + ` +open over h2, `,
			`^ +-  HTTP/3 +no UDP goes through an HTTP proxy`,
			`^All of it works\.$`,
		}},
		{"squid with Digest", "squid-digest", nil, world.Echo, world.GoodToken, 0, []string{
			`calls itself +Server: squid/`, `asks who is there +Digest$`, `authentication +Digest, accepted$`, `^All of it works\.$`}},
		{"squid with a wrong password", "squid-digest", wrong, world.Echo, world.GoodToken, 3, []string{
			`asks who is there +Digest$`, `^ +FAILED  authentication +the proxy refused the user name or the password`,
			`^It breaks at the forward proxy http://proxy\.test:3132: authentication\.$`,
			`does my user at the forward proxy http://proxy\.test:3132 still exist`}},
		{"dante", "dante-password", nil, world.Echo, world.GoodToken, 0, []string{
			`authentication +user and password, accepted$`, `CONNECT edge\.test:8443 +open, the proxy looks up the name$`,
			`note  HTTP/3 +.*SOCKS5 reply 2`, `^All of it works\.$`}},
		{"dante that relays UDP", "dante", nil, world.Echo, world.GoodToken, 0, []string{
			`^ +[0-9.]+ ms  HTTP/3 +answers at edge\.test:8443/udp: QUIC 1; not advertised$`, `^All of it works\.$`}},
		{"no token", "squid", nil, world.Echo, "", 4, []string{
			`^ +sign in  token +none is kept on this machine$`, `note  tunnel to .* the server has this route`, `what is missing is a sign-in`}},
		{"no such route", "squid", nil, "nobody.test:1", world.GoodToken, 5, []string{
			`^ +FAILED  tunnel to nobody\.test:1 +404 Not Found for nobody\.test:1: route_not_found \(request id [0-9a-f-]{36}\)$`, `the server says no`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			oneWay(t)
			p := proxy(t, c.kind)
			if c.change != nil {
				p = c.change(*p)
			}
			args := check(p, c.dest)
			if c.token != "" {
				args = append(args, "--service-account", c.token)
			}
			r := run(t, nil, binary, args...)
			if r.code != c.code || r.stderr != "" {
				t.Errorf("exit code %d, want %d; standard error %q", r.code, c.code, r.stderr)
			}
			inOrder(t, r.stdout, c.lines)
			for _, secret := range []string{"canary", world.GoodToken, world.Password, url.UserPassword("", world.Password).String()[1:]} {
				if strings.Contains(r.stdout, secret) {
					t.Errorf("%q is in:\n%s", secret, r.stdout)
				}
			}
		})
	}
}

// TestCheckDirect walks from a machine that needs no proxy to reach the edge.
func TestCheckDirect(t *testing.T) {
	for _, c := range []struct {
		edge  string
		more  []string
		lines []string
	}{
		{world.EdgeURL, nil, []string{
			`^ +ok  no setting names a proxy +directly$`,
			`^Server https://edge\.test:8443$`,
			`^ +[0-9.]+ ms  name +198\.18\.2\.2$`,
			`^ +[0-9.]+ ms  TCP connection +198\.18\.2\.2:8443$`,
			`^ +[0-9.]+ ms  TLS +TLS 1\.3, h2, `,
			`^ +[0-9.]+ ms  tunnel to echo\.test:7 +open over h2, `,
			`^ +[0-9.]+ ms  HTTP/3 +answers at edge\.test:8443/udp: QUIC 1; not advertised$`,
			`^All of it works\.$`}},
		{world.EdgeURL, []string{"--protocol", "h1"}, []string{`TLS +TLS 1\.3, http/1\.1, `, `open over http/1\.1, `}},
		{world.EdgeH1, nil, []string{`TLS +TLS 1\.3, http/1\.1, `, `open over http/1\.1, `}},
		{world.EdgeText, nil, []string{`open over http/1\.1, `, `^ +note  HTTP/3 +nothing answers at edge\.test:8080/udp: connection refused$`}},
	} {
		args := append([]string{"check", world.Echo, "--pomerium-url", c.edge, "--alternate-ca-path", w.CA.CA}, append(c.more, goodToken...)...)
		cmd := exec.CommandContext(limited(t, patience), binary, args...)
		cmd.Env = environment(t.TempDir())
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		err := w.ProxyHost.Start(cmd)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			t.Errorf("%s %s: %v", c.edge, c.more, err)
		}
		inOrder(t, said.String(), c.lines)
	}
}

// inOrder looks for a line for each regular expression, in this order.
func inOrder(t *testing.T, text string, lines []string) {
	t.Helper()
	rest := strings.Split(text, "\n")
	for _, want := range lines {
		line := regexp.MustCompile(want)
		for len(rest) > 0 && !line.MatchString(rest[0]) {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			t.Errorf("no line, or none behind those before, matches %q:\n%s", want, text)
		}
	}
}

// measured is what check says, with --json, of what it measured.
type measured struct {
	Step, State string
	Survived    float64 `json:"survived_s"`
	Cut         float64 `json:"cut_s"`
	Closed      bool
	Hint, Ask   string
	Trips       struct{ Count int }
	Down        struct {
		Bytes   int64
		Seconds float64
		Rate    float64 `json:"bytes_per_second"`
	}
}

// measure runs check, and returns the last n of its steps.
func measure(t *testing.T, n int, args []string) []measured {
	t.Helper()
	r := run(t, nil, binary, append(args, "--json")...)
	var report struct{ Steps []measured }
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 || len(report.Steps) < n {
		t.Fatalf("exit code %d, %v: %s%s", r.code, err, r.stdout, r.stderr)
	}
	return report.Steps[len(report.Steps)-n:]
}

// TestCheckIdle finds the limit of a squid that cuts what is silent for five seconds.
func TestCheckIdle(t *testing.T) {
	oneWay(t)
	idle := measure(t, 1, check(proxy(t, "squid-idle"), world.Echo, append(goodToken, "--idle=16s")...))[0]
	if idle.Step != "idle" || idle.Survived != 4 || !idle.Closed || idle.Cut < 4 || idle.Cut >= 8 || // squid counts in seconds of its own
		!strings.Contains(idle.Hint, "--keep-alive") || !strings.Contains(idle.Ask, "without a byte") {
		t.Errorf("%+v", idle)
	}
}

// TestCheckSpeed: every byte that the edge sends is counted, but for the first answer, and none twice.
func TestCheckSpeed(t *testing.T) {
	oneWay(t)
	for _, kind := range []string{"squid", "dante"} {
		before := w.SignIn.Sent()
		steps := measure(t, 2, check(proxy(t, kind), world.Echo, append(goodToken, "--speed")...))
		sent := w.SignIn.Sent() - before
		if s := steps[0]; s.Step != "trips" || s.State != "ok" || s.Trips.Count != 20 {
			t.Errorf("%s: %+v", kind, s)
		}
		s := steps[1]
		if s.Step != "speed" || s.State != "ok" || s.Down.Bytes != 32*world.ScriptSize || s.Down.Bytes+world.ScriptSize != sent {
			t.Errorf("%s: %d bytes were sent: %+v", kind, sent, s)
		}
		if d := s.Down; d.Rate <= 0 || int64(d.Rate*d.Seconds+.5) != d.Bytes {
			t.Errorf("%s: %+v", kind, d)
		}
	}
}
