package cli_test

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/check"
)

// check makes a command line of check from one of tcp.
func (w *world) check(destination string, more ...string) []string {
	args := w.tcp(destination, more...)
	args[0] = "check"
	return args
}

// says starts a server that reads a line and says something.
func says(t *testing.T, words string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-done })
	go func() { // joined by the clean-up
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadByte()
			_, _ = io.WriteString(c, words)
			_ = c.Close()
		}
	}()
	return ln.Addr().String()
}

// TestCheckTellsWhere: each way in which a network is broken, by the step that
// it breaks at, what helps, and what to ask for.
func TestCheckTellsWhere(t *testing.T) {
	w := newWorld(t)
	inspecting := httptest.NewUnstartedServer(http.NotFoundHandler())
	inspecting.Config.ErrorLog = log.New(io.Discard, "", 0)
	inspecting.StartTLS()
	defer inspecting.Close()
	w.Resolve("example.com:443", inspecting.Listener.Addr().String())
	w.Resolve("blocked.lab:443", inspecting.Listener.Addr().String())
	w.Resolve("portal.lab:443", says(t, "HTTP/1.1 200 OK\r\n\r\n<html>sign in to the network</html>"))
	w.Resolve("filtered.lab:443", says(t, ""))
	proxied := func(url string) []string { return []string{"--pomerium-url", url} }
	for _, c := range []struct {
		name       string
		args       []string
		exit       int
		step, line string // the failed step; a line of standard output
		hint, ask  string
	}{
		{"TLS inspection", w.check("echo.lab:7", proxied("https://example.com")...), 1, check.StepTLS,
			"issued by O=Acme Co", "--alternate-ca-path", "exclude example.com from TLS inspection: its certificate comes from O=Acme Co"},
		{"block page", w.check("echo.lab:7", proxied("https://blocked.lab")...), 1, check.StepTLS,
			"not blocked.lab", "--pomerium-url", "come to a server with the certificate of O=Acme Co, from O=Acme Co"},
		{"captive portal behind the proxy", w.check("echo.lab:7", proxied("https://portal.lab")...), 1, check.StepTLS,
			"plain text, not TLS", "to sign in to the network", ""},
		{"filter of names", w.check("echo.lab:7", proxied("https://filtered.lab")...), 1, check.StepTLS,
			"closed during the handshake", "--pomerium-url", "(SNI)"},
		{"captive portal", w.check("echo.lab:7", "--forward-proxy", says(t, "HTTP/1.1 302 Found\r\nLocation: https://portal.example.com/?token=canary\r\n\r\n")), 3,
			check.StepConnect, "302 Found to portal.example.com: a captive portal?", "it points to portal.example.com", ""},
		{"not allowed", w.check("echo.lab:7", "--forward-proxy",
			says(t, "HTTP/1.1 403 Forbidden\r\nServer: squid/6.9\r\nVia: 1.1 gate (squid/6.9)\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\n\r\n")), 3, check.StepConnect,
			"calls itself                     Server: squid/6.9; Via: 1.1 gate (squid/6.9); X-Squid-Error: ERR_ACCESS_DENIED 0",
			"to allow CONNECT to " + w.EdgeURL().Host, "allow CONNECT to " + w.EdgeURL().Host},
		{"HTTP on the SOCKS port", w.check("echo.lab:7", "--forward-proxy", says(t, "\x05\xff")), 3, check.StepConnect,
			"this port does not speak HTTP proxy, it speaks SOCKS", "try socks5://", ""},
		{"SOCKS on the HTTP port", w.check("echo.lab:7", "--forward-proxy", "socks5://"+says(t, "HTTP/1.1 400 Bad Request\r\n\r\n")), 3, check.StepConnect,
			"this port does not speak SOCKS5, it speaks HTTP", "try http://", ""},
		{"SSH on the port", w.check("echo.lab:7", "--forward-proxy", says(t, "SSH-2.0-x\r\n")), 3, check.StepConnect,
			"this port does not speak HTTP proxy, it speaks SSH", "check the port", ""},
		{"no such route", w.check("missing.lab:1"), 5, check.StepDestination, "404 Not Found for missing.lab:1: route_not_found", "/.pomerium/routes", ""},
		{"another kind of route", w.check("udp.lab:53"), 5, check.StepDestination, "403 Forbidden for udp.lab:53", "route of another kind", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, machine := &run{}, &run{}
			text.main(t, append(c.args, "--service-account", w.Token(), "--connect-timeout", "5s")...)
			machine.main(t, append(c.args, "--service-account", w.Token(), "--json", "--connect-timeout", "5s")...)
			if text.code != c.exit || machine.code != c.exit || text.stderr+machine.stderr != "" {
				t.Errorf("exit codes %d and %d, want %d; standard error %q", text.code, machine.code, c.exit, text.stderr+machine.stderr)
			}
			for _, want := range []string{c.line, c.hint, c.ask} {
				if !strings.Contains(text.stdout, want) {
					t.Errorf("%q is not in\n%s", want, text.stdout)
				}
			}
			if strings.Contains(text.stdout+machine.stdout, "canary") {
				t.Errorf("where a captive portal leads is in\n%s", text.stdout)
			}
			var r check.Report
			if err := json.Unmarshal([]byte(machine.stdout), &r); err != nil {
				t.Fatalf("%v: %s", err, machine.stdout)
			}
			s, ok := failure(r)
			if !ok || s.Name != c.step || !strings.Contains(s.Hint, c.hint) || !strings.Contains(s.Ask, c.ask) || r.OK || r.Exit != c.exit {
				t.Errorf("the document has %+v", r)
			}
		})
	}
	if n := w.DirectConnections(); n != 0 {
		t.Errorf("%d connections to the edge were direct", n)
	}
}

// TestCheckSpeedNotes: a server with nothing to time, and one that is cut off
// while bytes come.
func TestCheckSpeedNotes(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name   string
		script func(n int, w http.ResponseWriter) // the n-th answer
		line   string
	}{
		{"no script", func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
			"      note  speed                            the server has no page that is large enough to time: GET /.pomerium/index.js brings 404 Not Found\n"},
		{"cut off", func(n int, w http.ResponseWriter) {
			w.Header().Set("Content-Length", "65536")
			io.WriteString(w, strings.Repeat("x", 49152))
			if n == 1 { // the second one is shorter than it says
				io.WriteString(w, strings.Repeat("x", 65536-49152))
			}
		}, "B/s down (49.2 kB in "},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0 // of requests on one connection, one after the other
			edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/.pomerium/index.js":
					n++
					c.script(n, w)
				case "/.pomerium/user":
					io.WriteString(w, "{}")
				}
			}))
			defer edge.Close()
			w.Resolve("plain.lab:80", edge.Listener.Addr().String())
			r := &run{}
			args := []string{"check", "--pomerium-url", "http://plain.lab", "--forward-proxy", w.ProxyURL("socks5"), "--service-account", w.Token(), "--speed"}
			r.main(t, args...)
			if r.code != 0 || !strings.Contains(r.stdout, c.line) || !strings.Contains(r.stdout, "All of it works.") {
				t.Errorf("exit code %d, and %q is not in\n%s%s", r.code, c.line, r.stdout, r.stderr)
			}
			if c.name == "cut off" && !strings.Contains(r.stdout, "), and then: unexpected EOF\n") {
				t.Errorf("the cut is not in\n%s", r.stdout)
			}
		})
	}
}

// failure is the first step that failed.
func failure(r check.Report) (check.Step, bool) {
	var all []check.Step
	for _, w := range r.Ways {
		all = append(all, w.Steps...)
	}
	for _, s := range append(all, r.Steps...) {
		if s.State == check.Failed {
			return s, true
		}
	}
	return check.Step{}, false
}

// TestEdgeCase42_CheckKeepsTheToken: it asks nobody to sign in and drops
// nothing, not even a token that the edge refuses.
func TestEdgeCase42_CheckKeepsTheToken(t *testing.T) {
	w := newWorld(t)
	kept := w.keepToken(t)
	r := &run{}
	r.main(t, w.check("echo.lab:7")...)
	if r.code != 0 || !strings.Contains(r.stdout, "the one that is kept on this machine is good") {
		t.Errorf("exit code %d: %s", r.code, r.stdout)
	}
	kept(t)
	w.singingToken(t)
	for range 2 {
		r.main(t, w.check("echo.lab:7")...)
		if r.code != 4 || !strings.Contains(r.stdout, "   sign in  token                            the one that is kept is not taken any more") {
			t.Errorf("exit code %d: %s", r.code, r.stdout)
		}
	}
	if n := w.Stats().SignIns; n != 0 {
		t.Errorf("%d sign-ins", n)
	}
}

// TestCheckWithoutAStore: a token that cannot be read is none, and is told without
// its path; where the keyring is missing, check says what helps, as tcp does.
func TestCheckWithoutAStore(t *testing.T) {
	w := newWorld(t)
	w.spoil(t)
	for _, c := range []struct {
		flags []string
		code  int
		says  string
	}{
		{nil, 4, "   sign in  token                            none is kept on this machine that can be read\n"},
		{[]string{"--token-store", "keyring"}, 1, "  - --token-store file keeps them "},
		{[]string{"--token-store", "keyring", "--sign-in"}, 1, "  - --token-store file keeps them "},
	} {
		r := new(run)
		r.main(t, w.check("echo.lab:7", c.flags...)...)
		if r.code != c.code || !strings.Contains(r.stdout, c.says) || strings.Contains(r.stdout+r.stderr, w.dir) {
			t.Errorf("%q: exit code %d, want %d, with %q:\n%s%s", c.flags, r.code, c.code, c.says, r.stdout, r.stderr)
		}
	}
	if n := w.Stats().SignIns; n != 0 {
		t.Errorf("%d sign-ins", n)
	}
}

// TestCheckSignsIn does so when it is asked to.
func TestCheckSignsIn(t *testing.T) {
	w := newWorld(t)
	r := &run{}
	browser := w.file(t, "browser.sh", []byte("#!/bin/sh\nexit 1\n"))
	reader, writer := io.Pipe()
	done := make(chan struct{})
	go func() { // joined below
		defer close(done)
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			if page, ok := strings.CutPrefix(lines.Text(), "sign in at "); ok {
				if err := w.Browse(t.Context(), page); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	wait := r.start(t, t.Context(), writer, w.check("echo.lab:7", "--sign-in", "--browser-cmd", filepath.Base(browser))...)
	wait()
	writer.Close()
	<-done
	if r.code != 0 || w.Stats().SignIns != 1 || !strings.Contains(r.stdout, "All of it works.") {
		t.Errorf("exit code %d, %d sign-ins: %s", r.code, w.Stats().SignIns, r.stdout)
	}
}
