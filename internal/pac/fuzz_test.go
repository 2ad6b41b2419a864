package pac_test

import (
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/pomerium/pomerium-cli/internal/pac"
)

// FuzzResult: whatever a script returns, the routes can be dialed, and an error
// or a line of the log is one line of plain text.
func FuzzResult(f *testing.F) {
	for _, seed := range []string{"DIRECT", "", ";", "PROXY a:1; SOCKS5 [::1]:9; DIRECT", "PROXY", "HTTPS a:", "proxy\ta",
		"SOCKS4 a; SOCKS b", "PROXY alice:hunter2@a:1", "PROXY [::1", "PROXY a:99999", "PROXY \x1b[2J:1", "\u2028;\u00a0DIRECT"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, result string) {
		text, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		script, err := pac.Parse(t.Context(), []byte("function FindProxyForURL() { return "+string(text)+" }"), "fuzz.pac")
		if err != nil {
			return // too many brackets
		}
		log := new(record)
		routes, err := script.Find(t.Context(), edge, pac.Env{Log: log.logger()})
		if (err == nil) != (len(routes) > 0) {
			t.Fatalf("%d routes, error %v", len(routes), err)
		}
		for _, route := range routes {
			dialable(t, route)
		}
		for _, line := range append(log.lines, errText(err)) {
			if strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("not plain: %q", line)
			}
		}
	})
}

func dialable(t *testing.T, route pac.Route) {
	if route.Scheme == "direct" && route.Addr == "" {
		return
	}
	host, port, err := net.SplitHostPort(route.Addr)
	n, err2 := strconv.Atoi(port)
	if err != nil || err2 != nil || host == "" || n < 1 || n > 65535 ||
		!slices.Contains([]string{"http", "https", "socks5"}, route.Scheme) {
		t.Errorf("route %q: %v, %v", route, err, err2)
	}
}

// FuzzParse: no text breaks the decoder or the compiler.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{umlaut, "\xef\xbb\xbf1", "\xff\xfe1\x00", "\xfe\xff\x001", "\xff\xfe\x00\xd8", "\xff", "\x00", "((((", "/(/", "`${`${1}`}`",
		"<html>", "<!--", "#!/bin/sh", "let a, a", "function FindProxyForURL(", "//# sourceMappingURL=/etc/hostname"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		script, err := pac.Parse(t.Context(), source, "fuzz.pac")
		if (script == nil) == (err == nil) {
			t.Errorf("script %v, error %v", script, err)
		}
		if strings.ContainsFunc(errText(err), unicode.IsControl) {
			t.Errorf("not plain: %q", err)
		}
	})
}

// FuzzShExpMatch: every pattern is one.
func FuzzShExpMatch(f *testing.F) {
	f.Add("www.corp", "*.corp")
	f.Add("", "(")
	f.Add("a", "[z-a]")
	f.Add("a", "a{1001}")
	f.Add("a", "\\")
	f.Fuzz(func(t *testing.T, text, pattern string) {
		args, err := json.Marshal([]string{text, pattern})
		if err != nil {
			t.Fatal(err)
		}
		script, err := pac.Parse(t.Context(), []byte("shExpMatch.apply(null, "+string(args)+"); var FindProxyForURL = () => ''"), "fuzz.pac")
		if err != nil {
			return // too many brackets
		}
		if _, err := script.Find(t.Context(), edge, pac.Env{}); err != nil {
			t.Error(err)
		}
	})
}
