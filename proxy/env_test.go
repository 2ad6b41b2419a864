package proxy_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

// env is an environment written as "A=1 B=2".
func env(vars string) func(string) string {
	m := make(map[string]string)
	for pair := range strings.FieldsSeq(vars) {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	return func(name string) string { return m[name] }
}

// wayTo is the way to target as "way (source)", or the error.
func wayTo(t testing.TB, s proxy.Selector, target string) string {
	t.Helper()
	ways, err := s.Ways(t.Context(), mustParse(t, target))
	if err != nil {
		var setting *proxy.SettingError
		if !errors.As(err, &setting) {
			return "error: " + err.Error()
		}
		return "error of " + setting.Source + ": " + setting.Err.Error()
	}
	if len(ways) != 1 {
		t.Fatalf("%d ways", len(ways))
	}
	return ways[0].String() + " (" + ways[0].Source + ")"
}

func TestFixed(t *testing.T) {
	for raw, want := range map[string]string{
		"direct":              "direct (--forward-proxy)",
		"http://direct":       "http://direct:80 (--forward-proxy)",
		"http://u:p@p.test/":  "http://p.test:80 (--forward-proxy)",
		"socks5h://p.test":    "socks5h://p.test:1080 (--forward-proxy)",
		"[2001:db8::1]:3128":  "http://[2001:db8::1]:3128 (--forward-proxy)",
		"https://p.test:8443": "https://p.test:8443 (--forward-proxy)",
	} {
		s, err := proxy.Fixed(raw, "--forward-proxy", proxy.Config{})
		if err != nil {
			t.Errorf("Fixed(%q): %v", raw, err)
			continue
		}
		for _, target := range []string{"https://edge.test", "http://localhost", "https://127.0.0.1"} {
			if got := wayTo(t, s, target); got != want {
				t.Errorf("Fixed(%q): %s by %s, want %s", raw, target, got, want)
			}
		}
	}
}

func TestEdgeCase33_36_Environment(t *testing.T) {
	const https, http = "https://edge.test", "http://edge.test"
	cgi := "not used while REQUEST_METHOD is set, because a web server may have taken it from a request; " +
		"give the proxy by --forward-proxy, or unset REQUEST_METHOD"
	for _, tc := range []struct{ name, vars, target, want string }{
		{"nothing", "", https, "direct (direct)"},
		{"HTTPS_PROXY", "HTTPS_PROXY=http://a.test:1", https, "http://a.test:1 (HTTPS_PROXY)"},
		{"https_proxy", "https_proxy=http://a.test:1", https, "http://a.test:1 (https_proxy)"},
		{"HTTP_PROXY", "HTTP_PROXY=a.test:1", http, "http://a.test:1 (HTTP_PROXY)"},
		{"http_proxy", "http_proxy=a.test:1", http, "http://a.test:1 (http_proxy)"},
		{"by the target's scheme", "HTTPS_PROXY=a.test:1 HTTP_PROXY=b.test:2", http, "http://b.test:2 (HTTP_PROXY)"},
		{"HTTPS_PROXY is not for http", "HTTPS_PROXY=a.test:1", http, "direct (direct)"},
		{"HTTP_PROXY is not for https", "HTTP_PROXY=a.test:1", https, "direct (direct)"},
		{"ALL_PROXY for https", "ALL_PROXY=socks5://a.test", https, "socks5://a.test:1080 (ALL_PROXY)"},
		{"all_proxy for http", "all_proxy=socks5://a.test", http, "socks5://a.test:1080 (all_proxy)"},
		{"ALL_PROXY comes last", "ALL_PROXY=a.test HTTPS_PROXY=b.test", https, "http://b.test:80 (HTTPS_PROXY)"},
		{"33: both cases", "HTTPS_PROXY=a.test https_proxy=b.test", https, "http://b.test:80 (https_proxy)"},
		{"33: both cases of ALL_PROXY", "ALL_PROXY=a.test all_proxy=b.test", https, "http://b.test:80 (all_proxy)"},
		{"33: set but empty", "https_proxy= HTTPS_PROXY=a.test", https, "http://a.test:80 (HTTPS_PROXY)"},
		{"33: all empty", "https_proxy= HTTPS_PROXY= ALL_PROXY=", https, "direct (direct)"},
		{"33: quotes", `HTTPS_PROXY="a.test"`, https, "error of HTTPS_PROXY: the proxy address is in quotes: remove them"},
		{"a bad one hides no other", "https_proxy=http://a.test/x HTTPS_PROXY=b.test", https, "error of https_proxy: a proxy address has no path"},
		{"a bad one that is not used", "HTTPS_PROXY=http://a.test/x HTTP_PROXY=b.test", http, "http://b.test:80 (HTTP_PROXY)"},
		{"a bad one behind a good one", "HTTPS_PROXY=a.test ALL_PROXY=:::", https, "http://a.test:80 (HTTPS_PROXY)"},
		{"a bad one, the target is excepted", "HTTPS_PROXY=:::: NO_PROXY=edge.test", https, "direct (NO_PROXY)"},
		{"a bad one, another target is excepted", "HTTPS_PROXY=:::: NO_PROXY=x.test", https, "error of HTTPS_PROXY: " + errColons},
		{"direct is no value of a variable", "HTTPS_PROXY=direct", https, "http://direct:80 (HTTPS_PROXY)"},
		{"36: HTTP_PROXY in CGI", "REQUEST_METHOD=GET HTTP_PROXY=a.test", http, "error of HTTP_PROXY: " + cgi},
		{"36: http_proxy in CGI", "REQUEST_METHOD=GET http_proxy=a.test", http, "error of http_proxy: " + cgi},
		{"36: HTTPS_PROXY in CGI", "REQUEST_METHOD=GET HTTPS_PROXY=a.test HTTP_PROXY=b.test", https, "http://a.test:80 (HTTPS_PROXY)"},
		{"36: ALL_PROXY in CGI", "REQUEST_METHOD=GET ALL_PROXY=a.test", http, "http://a.test:80 (ALL_PROXY)"},
		{"another scheme", "ALL_PROXY=a.test", "ftp://edge.test", `error: choosing the way out by the environment: the target's scheme "ftp" is neither http nor https`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := wayTo(t, proxy.Environment(env(tc.vars), proxy.Config{}), tc.target); got != tc.want {
				t.Errorf("%s\n got %s\nwant %s", tc.vars, got, tc.want)
			}
		})
	}
}

func TestEdgeCase32_BadVariablesAreNamed(t *testing.T) {
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		for _, tc := range badURLs[1:] {
			raw := strings.ReplaceAll(tc.raw, "S", "canary")
			if strings.HasPrefix(strings.ToUpper(tc.raw), "SOCKS") {
				raw = tc.raw
			}
			s := proxy.Environment(func(n string) string {
				if n == name {
					return raw
				}
				return ""
			}, proxy.Config{})
			if got := wayTo(t, s, "https://edge.test"); got != "error of "+name+": "+tc.err {
				t.Errorf("%s=%q: %s", name, raw, got)
			}
			if _, err := proxy.Dial(s, mustParse(t, "https://edge.test"))(t.Context(), "tcp", "edge.test:443"); strings.Contains(text(err), "canary") || err == nil {
				t.Errorf("%s=%q: dialing: %v", name, raw, err)
			}
		}
	}
}

func TestEdgeCase34_NoProxy(t *testing.T) {
	for _, tc := range noProxyTable {
		s := proxy.Environment(func(name string) string {
			return map[string]string{"HTTPS_PROXY": "http://p.test:3128", "NO_PROXY": tc.noProxy}[name]
		}, proxy.Config{})
		want := "http://p.test:3128 (HTTPS_PROXY)"
		if tc.direct {
			want = "direct (NO_PROXY)"
		}
		if got := wayTo(t, s, tc.target); got != want {
			t.Errorf("NO_PROXY=%q: %s by %s, want %s", tc.noProxy, tc.target, got, want)
		}
	}
}

// The page for people says what the table says.
func TestEdgeCase34_NoProxyPage(t *testing.T) {
	page, err := os.ReadFile("../docs/NO_PROXY.md")
	if err != nil {
		t.Fatal(err)
	}
	way := map[bool]string{true: "direct", false: "proxy"}
	for _, tc := range noProxyTable {
		line := fmt.Sprintf("| `%s` | `%s` | %s | %s |\n", tc.noProxy, tc.target, way[tc.direct], way[tc.curl])
		if !strings.Contains(string(page), line) {
			t.Errorf("docs/NO_PROXY.md lacks\n%s", line)
		}
	}
	if lines := strings.Count(string(page), "` | `https://"); lines != len(noProxyTable) {
		t.Errorf("docs/NO_PROXY.md has %d lines, the table %d", lines, len(noProxyTable))
	}
}

// noProxyTable is the table of docs/NO_PROXY.md.
var noProxyTable = []struct {
	noProxy, target string
	direct          bool
	curl            bool // what curl 7.88.1 did, run against a proxy on loopback on 2026-11-23
}{
	{"d.test", "https://d.test", true, true},
	{"d.test", "https://a.d.test", true, true},
	{"d.test", "https://ad.test", false, false},
	{".d.test", "https://d.test", false, true},
	{".d.test", "https://a.d.test", true, true},
	{"*.d.test", "https://d.test", false, false},
	{"*.d.test", "https://a.d.test", true, false},
	{"*", "https://d.test", true, true},
	{"a.test,*", "https://d.test", true, false},
	{"d.test:443", "https://d.test", true, false},
	{"d.test:8443", "https://d.test", false, false},
	{"d.test:8443", "https://d.test:8443", true, false},
	{"192.0.2.1", "https://192.0.2.1", true, true},
	{"192.0.2.0/24", "https://192.0.2.77", true, true},
	{"192.0.2.0/24", "https://192.0.3.1", false, false},
	{"2001:db8::1", "https://[2001:db8::1]", true, true},
	{"[2001:db8::1]", "https://[2001:db8::1]", false, false},
	{"[2001:db8::1]:443", "https://[2001:db8::1]", true, false},
	{"2001:db8::/32", "https://[2001:db8::77]", true, false},
	{"d.test.", "https://d.test", false, true},
	{"d.test", "https://d.test.", false, true},
	{"D.TEST", "https://d.test", true, true},
	{"d.test", "https://D.TEST", true, true},
	{" a.test , d.test ", "https://d.test", true, true},
	{"a.test d.test", "https://d.test", false, true},
	{"https://d.test", "https://d.test", false, false},
	{"bücher.example", "https://xn--bcher-kva.example", true, false},
}

// TestEnvironmentIn: messages say where the variables stand.
func TestEnvironmentIn(t *testing.T) {
	for vars, want := range map[string]string{
		"":                               "direct (direct in /etc/environment)",
		"https_proxy=p.test":             "http://p.test:80 (https_proxy in /etc/environment)",
		"https_proxy=::: ":               "error of https_proxy in /etc/environment: " + errColons,
		"ALL_PROXY=p no_proxy=edge.test": "direct (no_proxy in /etc/environment)",
	} {
		if got := wayTo(t, proxy.EnvironmentIn(" in /etc/environment", env(vars), proxy.Config{}), "https://edge.test"); got != want {
			t.Errorf("%s\n got %s\nwant %s", vars, got, want)
		}
	}
}

func TestEdgeCase35_LoopbackSpellings(t *testing.T) {
	s := proxy.Environment(env("ALL_PROXY=p.test"), proxy.Config{})
	for host, want := range map[string]string{
		"localhost": "loopback", "LOCALHOST": "loopback", "localhost.": "loopback", "foo.localhost": "loopback", "Foo.LocalHost": "loopback",
		"127.0.0.1": "loopback", "127.9.9.9": "loopback", "127.1": "loopback", "127.0.1": "loopback", "[::1]": "loopback",
		"[::ffff:127.0.0.1]": "loopback", "127.16777215": "loopback",
		"localhost.test": "ALL_PROXY", "notlocalhost": "ALL_PROXY", "127.test": "ALL_PROXY", "127": "ALL_PROXY", "128.1": "ALL_PROXY",
		"127.1.test": "ALL_PROXY", "127.": "ALL_PROXY", "127.256.1": "ALL_PROXY", "127.16777216": "ALL_PROXY", "127.01": "ALL_PROXY",
		"[::2]": "ALL_PROXY", "0.0.0.0": "ALL_PROXY",
	} {
		for _, scheme := range []string{"https://", "http://"} {
			if got := wayTo(t, s, scheme+host+":8443/"); !strings.HasSuffix(got, "("+want+")") {
				t.Errorf("%s%s goes by %s, want %s", scheme, host, got, want)
			}
		}
	}
}
