package edge_test

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// destinations are the forms that are accepted. The first block is what the
// existing client makes of them.
var destinations = []struct {
	destination, pomeriumURL string
	addr, edge               string
}{
	{"redis.example.com:6379", "", "redis.example.com:6379", "https://redis.example.com:443"},
	{"tcp+https://redis.example.com:6379", "", "redis.example.com:6379", "https://redis.example.com:443"},
	{"http://redis.example.com:6379", "", "redis.example.com:6379", "http://redis.example.com:80"},
	{"https://proxy.example.com/redis.example.com:6379", "", "redis.example.com:6379", "https://proxy.example.com:443"},
	{"https://proxy.example.com:8443/redis.example.com:6379", "", "redis.example.com:6379", "https://proxy.example.com:8443"},
	{"redis.example.com:6379", "https://proxy.example.com", "redis.example.com:6379", "https://proxy.example.com:443"},

	{"tcp://db.internal:5432", "", "db.internal:5432", "https://db.internal:443"},
	{"udp://dns.internal:53", "", "dns.internal:53", "https://dns.internal:443"},
	{"tcp+http://db.internal:5432", "", "db.internal:5432", "http://db.internal:80"},
	{"udp+https://edge.example.com:8443/dns.internal:53", "", "dns.internal:53", "https://edge.example.com:8443"},
	{"TCP+HTTPS://edge.example.com/db.internal:5432", "", "db.internal:5432", "https://edge.example.com:443"},
	{"tcp+https://a.example.com/x.internal:1/y.internal:2", "", "x.internal:1", "https://a.example.com:443"},
	{"tcp+https://a.example.com//x.internal:1/", "", "x.internal:1", "https://a.example.com:443"},
	{"tcp+https://ssh.example.com:22/", "", "ssh.example.com:22", "https://ssh.example.com:443"},

	// Without a port, as the portal prints them.
	{"ssh.example.com", "", "ssh.example.com:443", "https://ssh.example.com:443"},
	{"tcp+https://ssh.example.com", "", "ssh.example.com:443", "https://ssh.example.com:443"},
	{"tcp+https://edge.example.com/ssh", "", "ssh:443", "https://edge.example.com:443"},
	{"ssh:22", "", "ssh:22", "https://ssh:443"},

	// The edge given apart.
	{"tcp+https://edge.example.com:8443/db:1", "https://other.example.com:9443", "db:1", "https://other.example.com:9443"},
	{"db.internal:5432", "http://edge.example.com", "db.internal:5432", "http://edge.example.com:80"},
	{"db.internal:5432", "https://edge.example.com/", "db.internal:5432", "https://edge.example.com:443"},
	{"db.internal:5432", "HTTPS://Edge.example.com", "db.internal:5432", "https://Edge.example.com:443"},
	{"db.internal:5432", "https://[2001:db8::1]", "db.internal:5432", "https://[2001:db8::1]:443"},
	{"db.internal:5432", "http://[2001:db8::1]:8080/", "db.internal:5432", "http://[2001:db8::1]:8080"},
	{"db.internal:5432", "https://bücher.example", "db.internal:5432", "https://xn--bcher-kva.example:443"},

	// Hosts.
	{"[2001:db8::1]:22", "", "[2001:db8::1]:22", "https://[2001:db8::1]:443"},
	{"[2001:db8::1]", "", "[2001:db8::1]:443", "https://[2001:db8::1]:443"},
	{"tcp+https://[2001:db8::1]:22", "", "[2001:db8::1]:22", "https://[2001:db8::1]:443"},
	{"tcp+https://[2001:db8::1]:8443/[2001:db8::2]:22", "", "[2001:db8::2]:22", "https://[2001:db8::1]:8443"},
	{"10.0.0.1:22", "", "10.0.0.1:22", "https://10.0.0.1:443"},
	{"DB.Internal:5432", "", "DB.Internal:5432", "https://DB.Internal:443"},
	{"my_db.internal:5432", "", "my_db.internal:5432", "https://my_db.internal:443"},
	{"db.internal.:5432", "", "db.internal.:5432", "https://db.internal.:443"},
	{"bücher.example:80", "", "xn--bcher-kva.example:80", "https://xn--bcher-kva.example:443"},
	{"db:65535", "", "db:65535", "https://db:443"},
}

func TestParseDestination(t *testing.T) {
	for _, test := range destinations {
		t.Run(test.destination+" "+test.pomeriumURL, func(t *testing.T) {
			addr, u, err := edge.ParseDestination(test.destination, test.pomeriumURL)
			if err != nil {
				t.Fatal(err)
			}
			if addr != test.addr || u.String() != test.edge {
				t.Errorf("got %s at %s, want %s at %s", addr, u, test.addr, test.edge)
			}
		})
	}
}

func TestParseDestinationRefuses(t *testing.T) {
	const ok = "db.internal:5432"
	for _, test := range []struct{ destination, pomeriumURL, want string }{
		{"", "", `destination "": is empty: write host:port`},
		{"db", "", `destination "db": has no port: write host:port`},
		{"db:", "", "no port after it"},
		{":5432", "", "has no host"},
		{"db:0", "", `port "0" is not a number from 1 to 65535`},
		{"db:65536", "", "not a number from 1 to 65535"},
		{"db:-1", "", "not a number"},
		{"db:+22", "", "not a number"},
		{"db:00022", "", "not a number"},
		{"db:ssh", "", `port "ssh" is not a number`},
		{"a:b:c", "", "more than one colon"},
		{"::1", "", "in brackets"},
		{"[::1", "", "is not host:port"},
		{"[::1]22", "", "is not host:port"},
		{"[x::y::z]:22", "", "IPv6 address that is none"},
		{"[fe80::1%eth0]:22", "", "one with a zone"},
		{"db internal:22", "", "characters that none has"},
		{"db\r\nx:22", "", "characters that none has"},
		{"db/x:22", "", "characters that none has"},
		{"user@db:22", "", `"xxxxx@db:22"`},
		{"...:22", "", "characters that none has"},
		{strings.Repeat("a.", 130) + "b:1", "", "too long"},
		{"\u0378.example:22", "", "not a valid international one"},
		{"*.example.com:22", "", "has a wildcard"},
		{"tcp+https://*.example.com:22", "", "has a wildcard"},
		{"ssh://db:22", "", `scheme "ssh" is not one of a destination`},
		{"://db:22", "", "is not a URL"},
		{"tcp://edge/db:22", "", "tcp:// takes no path: write tcp+https://"},
		{"tcp+https://", "", "has no host"},
		{"tcp+https:///db:22", "", "its edge: has no host"},
		{"tcp+https://edge:0/db:22", "", "its edge: port"},
		{"tcp+https://edge:/db:22", "", "no port after it"},
		{"tcp+https://edge/db:99999", "", "not a number"},
		{"tcp+https://edge/db:22?x=secret", "", `db:22?..."`},
		{"tcp+https://u:secret@edge/db:22", "", "has a user or a password"},
		{"tcp+https://u:se/cret@edge/db:22", "", "is not a URL"},
		{"tcp+https://edge/a%2fb:22", "", "percent sign"},
		{"tcp+https://edge/db:22\n", "", "control character"},

		{ok, "example.com:1234", `edge URL "example.com:1234": has no scheme: write https://host`}, // the existing client's "invalid pomerium url"
		{ok, "example.com", "has no scheme"},
		{ok, "//example.com", "has no scheme"},
		{ok, "ftp://example.com", `scheme "ftp" is neither https nor http`},
		{ok, "tcp+https://example.com", "neither https nor http"},
		{ok, "https://", "has no host"},
		{ok, "https://:443", "has no host"},
		{ok, "https://example.com/app", "has a path"},
		{ok, "https://example.com//", "has a path"},
		{ok, "https://example.com?", "has a query or a fragment"},
		{ok, "https://example.com/#", "has a query or a fragment"},
		{ok, "https://example.com/?pomerium_session=secret", `"https://example.com/?..."`},
		{ok, "https://user@example.com", "has a user or a password"},
		{ok, "https://user:secret@example.com", `"https://xxxxx@example.com"`},
		{ok, "https://user:secret#@example.com", "has a user or a password"},
		{ok, "https://user:secr/et@example.com", "xxxxx@example.com"},
		{ok, "https://user:sec%ret@example.com", "has a user or a password"},
		{ok, "https://example.com:port", "port of digits"},
		{ok, "https://example.com:0", "not a number from 1"},
		{ok, "https://example.com:65536", "not a number from 1"},
		{ok, "https://example.com:", "no port after it"},
		{ok, "https://exa mple.com", "blank"},
		{ok, "https://example.com\x00", "control character"},
		{ok, "https://2001:db8::1", "port of digits"},
	} {
		t.Run(test.destination+" "+test.pomeriumURL, func(t *testing.T) {
			addr, u, err := edge.ParseDestination(test.destination, test.pomeriumURL)
			if err == nil {
				t.Fatalf("accepted as %s at %s", addr, u)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %q\nwant %q in it", err, test.want)
			}
			if strings.Contains(err.Error(), "secr") {
				t.Errorf("a secret in %q", err)
			}
		})
	}
}

func TestHost(t *testing.T) {
	for raw, want := range map[string]string{
		"https://e.example":      "e.example",
		"https://e.example:443":  "e.example",
		"https://e.example:8443": "e.example:8443",
		"https://e.example:80":   "e.example:80",
		"http://e.example:80":    "e.example",
		"http://e.example:443":   "e.example:443",
		"https://[::1]:443":      "[::1]",
		"https://[::1]":          "[::1]",
		"https://[::443]":        "[::443]",
		"https://[::1]:8443":     "[::1]:8443",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := edge.Host(u); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

func FuzzParseDestination(f *testing.F) {
	for _, test := range destinations {
		f.Add(test.destination, test.pomeriumURL)
	}
	f.Add("tcp+https://u:p@h:1/x:2?y#z", "https://u:p@h:1/x?y#z")
	f.Fuzz(func(t *testing.T, destination, pomeriumURL string) {
		addr, u, err := edge.ParseDestination(destination, pomeriumURL)
		if err != nil {
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("control character in %q", err)
			}
			return
		}
		for _, hostPort := range []string{addr, u.Host} {
			host, port, err := net.SplitHostPort(hostPort)
			if err != nil || host == "" {
				t.Errorf("%q is not host:port", hostPort)
			}
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				t.Errorf("port of %q", hostPort)
			}
			if strings.ContainsFunc(hostPort, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Errorf("%q could break a header", hostPort)
			}
		}
		if u.Scheme != "https" && u.Scheme != "http" || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) {
			t.Errorf("edge %q has more than a scheme and a host", u)
		}
		again, same, err := edge.ParseDestination(addr, u.String())
		if err != nil || again != addr || *same != *u {
			t.Errorf("%q at %q is read back as %q at %q: %v", addr, u, again, same, err)
		}
	})
}

func TestParseServer(t *testing.T) {
	for raw, want := range map[string]string{
		"https://edge.test":                "https://edge.test:443",
		"https://edge.test:8443/":          "https://edge.test:8443",
		"https://api.test/k8s/clusters/c1": "https://api.test:443",
		"http://edge.test/a":               "http://edge.test:80",
		"edge.test":                        "",
		"https://edge.test/?a=b":           "",
		"https://user:canary/x@edge.test":  "",
		"https://user:canary@edge.test/x":  "",
		"https://edge.test/canary%20a":     "",
		"ftp://edge.test/a":                "",
		"https:///a":                       "",
		"":                                 "",
	} {
		u, err := edge.ParseServer(raw)
		if (err != nil) != (want == "") || err == nil && u.String() != want {
			t.Errorf("%s: got %v, %v, want %s", raw, u, err, want)
		}
		if err != nil && strings.Contains(raw, "@") && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error shows a password: %v", raw, err)
		}
	}
}

func TestNamesEdge(t *testing.T) {
	for destination, want := range map[string]bool{
		"db.test:5432": false, "[2001:db8::1]:22": false, "tcp://db.test:5432": false, "udp://db.test:53": false,
		"tcp+https://db.test:5432": true, "TCP+HTTPS://edge.test/db.test:5432": true, "https://db.test": true, "ftp://x": false,
	} {
		if got := edge.NamesEdge(destination); got != want {
			t.Errorf("%s: %v", destination, got)
		}
	}
}
