package pac_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/internal/pac"
)

func TestEdgeCase38_Results(t *testing.T) {
	direct := pac.Route{Scheme: "direct"}
	for _, tt := range []struct {
		result  string
		want    []pac.Route
		skipped string // what the log says
		err     string
	}{
		{result: "DIRECT", want: []pac.Route{direct}},
		{result: "", want: []pac.Route{direct}},
		{result: " ; ;\t", want: []pac.Route{direct}},
		{result: "PROXY p.corp:3128", want: []pac.Route{{Scheme: "http", Addr: "p.corp:3128"}}},
		{result: "proxy p.corp:3128;direct", want: []pac.Route{{Scheme: "http", Addr: "p.corp:3128"}, direct}},
		{result: "PROXY P.Corp", want: []pac.Route{{Scheme: "http", Addr: "p.corp:80"}}},
		{result: "HTTP h:1; HTTPS s; HTTPS s:8443", want: []pac.Route{
			{Scheme: "http", Addr: "h:1"}, {Scheme: "https", Addr: "s:443"}, {Scheme: "https", Addr: "s:8443"}}},
		{result: "SOCKS a; SOCKS5 b:9050; Socks c:1", want: []pac.Route{
			{Scheme: "socks5", Addr: "a:1080"}, {Scheme: "socks5", Addr: "b:9050"}, {Scheme: "socks5", Addr: "c:1"}}},
		{result: "PROXY a:1; DIRECT; PROXY b:2", want: []pac.Route{
			{Scheme: "http", Addr: "a:1"}, direct, {Scheme: "http", Addr: "b:2"}}},
		{result: "  PROXY \t a:1  ;;PROXY b:2;", want: []pac.Route{{Scheme: "http", Addr: "a:1"}, {Scheme: "http", Addr: "b:2"}}},
		{result: "PROXY 10.0.0.1:8080; PROXY [2001:DB8::1]:8080; PROXY [::1]", want: []pac.Route{
			{Scheme: "http", Addr: "10.0.0.1:8080"}, {Scheme: "http", Addr: "[2001:db8::1]:8080"}, {Scheme: "http", Addr: "[::1]:80"}}},
		{result: "SOCKS4 a:1080; DIRECT", want: []pac.Route{direct},
			skipped: `pac entry skipped: "SOCKS4 a:1080": SOCKS version 4 is not spoken here`},
		{result: "QUIC q:443; PROXY a:1", want: []pac.Route{{Scheme: "http", Addr: "a:1"}},
			skipped: `pac entry skipped: "QUIC q:443": unknown kind of proxy`},
		{result: "PROXY; PROXY a:1 b:2; DIRECT x; DIRECT", want: []pac.Route{direct}, skipped: strings.Join([]string{
			`pac entry skipped: "PROXY": not of the form KIND host:port`,
			`pac entry skipped: "PROXY a:1 b:2": not of the form KIND host:port`,
			`pac entry skipped: "DIRECT x": not of the form KIND host:port`}, "\n")},
		{result: "PROXY a:0; PROXY a:; PROXY a:65536; PROXY a:http; DIRECT", want: []pac.Route{direct}, skipped: strings.Join([]string{
			`pac entry skipped: "PROXY a:0": not a port`,
			`pac entry skipped: "PROXY a:": not a port`,
			`pac entry skipped: "PROXY a:65536": not a port`,
			`pac entry skipped: "PROXY a:http": not a port`}, "\n")},
		{result: "PROXY http://a:1; PROXY ::1:80; PROXY [a]:80; PROXY [::1:80; PROXY :80; PROXY bü:1; DIRECT", want: []pac.Route{direct}, skipped: strings.Join([]string{
			`pac entry skipped: "PROXY http://a:1": not a host name or address`,
			`pac entry skipped: "PROXY ::1:80": not a host name or address`,
			`pac entry skipped: "PROXY [a]:80": no IPv6 address in its brackets`,
			`pac entry skipped: "PROXY [::1:80": no IPv6 address in its brackets`,
			`pac entry skipped: "PROXY :80": not a host name or address`,
			`pac entry skipped: "PROXY bü:1": not a host name or address`}, "\n")},
		{result: "PROXY alice:hunter2@a:1; DIRECT", want: []pac.Route{direct},
			skipped: "pac entry skipped: an entry with user name or password, which have no place in a pac result"},
		{result: "PROXY", skipped: `pac entry skipped: "PROXY": not of the form KIND host:port`,
			err: `pac script test.pac: nothing of its result can be used, beginning with "PROXY": not of the form KIND host:port`},
	} {
		t.Run(tt.result, func(t *testing.T) {
			script := parse(t, fmt.Sprintf("function FindProxyForURL(url, host) { return %q }", tt.result))
			log := new(record)
			got, err := script.Find(t.Context(), edge, pac.Env{Log: log.logger()})
			if errText(err) != tt.err {
				t.Errorf("error %q, want %q", errText(err), tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if log.text() != tt.skipped {
				t.Errorf("log:\n%s\nwant:\n%s", log.text(), tt.skipped)
			}
		})
	}
}

func TestAResultIsNotReadForEver(t *testing.T) {
	log := new(record)
	routes, err := parse(t, "function FindProxyForURL() { return 'DIRECT;SOCKS4 a;'.repeat(1000) }").Find(t.Context(), edge, pac.Env{Log: log.logger()})
	if err != nil || len(routes) != 32 || len(log.lines) != 33 || log.lines[32] != "pac entry skipped: what comes after 64 entries" {
		t.Errorf("%d routes, error %v, log:\n%s", len(routes), err, log.text())
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestEdgeCase38_Failures(t *testing.T) {
	for _, tt := range []struct{ name, script, err string }{
		{"no function", "var x = 1", "pac script test.pac: it has no function FindProxyForURL"},
		{"not a function", "var FindProxyForURL = 'DIRECT'", "pac script test.pac: it has no function FindProxyForURL"},
		{"null", "function FindProxyForURL() { return null }", "pac script test.pac: it returned null for pomerium.example.com"},
		{"undefined", "function FindProxyForURL() { }", "pac script test.pac: it returned undefined for pomerium.example.com"},
		{"number", "function FindProxyForURL() { return 1 }", "pac script test.pac: it returned something that is not text for pomerium.example.com"},
		{"object", "function FindProxyForURL() { return {toString() { return 'DIRECT' }} }",
			"pac script test.pac: it returned something that is not text for pomerium.example.com"},
		{"long", "function FindProxyForURL() { return 'DIRECT;'.repeat(10000) }", "pac script test.pac: its result is longer than 64 KiB"},
		{"throws", "function FindProxyForURL() {\n  throw new Error('no')\n}", "pac script test.pac, line 2, column 9: Error: no"},
		{"throws text", "function FindProxyForURL() {\n\n  throw 'no\\n\\x1b[31mway'\n}", "pac script test.pac, line 3, column 3: no [31mway"},
		{"throws null", "function FindProxyForURL() { throw null }", "pac script test.pac, line 1, column 30: null"},
		{"throws at the top", "\nnowhere()", "pac script test.pac, line 2, column 8: ReferenceError: nowhere is not defined"},
		{"throws in a callback", "function FindProxyForURL() {\n return [1].map(function (x) { return x.y.z })\n}",
			"pac script test.pac, line 2, column 43: TypeError: Cannot read property 'z' of undefined"},
		{"throws what throws", "throw {toString() { throw {toString() { throw 1 }} }}", "pac script test.pac, line 1, column 1: an exception that has no text"},
		{"throws much", "throw 'x'.repeat(1000)", "pac script test.pac, line 1, column 1: " + strings.Repeat("x", 200) + "..."},
		{"too deep", "function f() { return f() }\nf()", "pac script test.pac, line 1, column 24: more than 1000 calls deep"},
		{"too deep through built-ins", "function f() { return [1].map(f) }\nf()", "pac script test.pac, line 1, column 30: more than 1000 calls deep"},
		{"bad regular expression", "new RegExp('(')", "pac script test.pac, line 1, column 1: SyntaxError: Unterminated group"},
		{"eval", "eval('1')", "pac script test.pac, line 1, column 5: ReferenceError: eval is not defined"},
		{"Function", "new Function('1')", "pac script test.pac, line 1, column 5: ReferenceError: Function is not defined"},
		{"Function by a back door", "(function () {}).constructor('return 1')()", "pac script test.pac, line 1, column 41: TypeError: Not a function: return 1"},
		{"large text", "'x'.repeat(1e15)", "pac script test.pac, line 1, column 11: RangeError: text of more than 1048576 characters"},
		{"large padding", "'x'.padEnd(1e15)", "pac script test.pac, line 1, column 11: RangeError: text of more than 1048576 characters"},
		{"buffer", "new ArrayBuffer(1e12)", "pac script test.pac, line 1, column 5: ReferenceError: ArrayBuffer is not defined"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, tt.script).Find(t.Context(), edge, pac.Env{})
			if errText(err) != tt.err {
				t.Errorf("error %q\n want %q", errText(err), tt.err)
			}
			var typed *pac.Error
			if !errors.As(err, &typed) {
				t.Errorf("%T is no *pac.Error", err)
			}
		})
	}
}

func TestEdgeCase38_NeverEnds(t *testing.T) {
	for _, tt := range []struct{ name, script, err string }{
		{"at the top", "for (;;);", "pac script test.pac, line 1, column 1: not done in 50ms"},
		{"in spite of catch", "\nfunction FindProxyForURL() {\nfor (;;) { try { for (;;); } catch (e) {} finally { continue } } }\nFindProxyForURL()",
			"pac script test.pac, line 2, column 1: not done in 50ms"},
		{"in a message", "throw {toString() { for (;;); }}", "pac script test.pac, line 1, column 1: an exception that has no text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, tt.script).Find(t.Context(), edge, pac.Env{Timeout: 50 * time.Millisecond})
			if errText(err) != tt.err {
				t.Errorf("error %q, want %q", errText(err), tt.err)
			}
		})
	}
}

func TestEdgeCase38_RegexpNeverEnds(t *testing.T) {
	parse(t, "1") // the first script sets the limit of a match
	defer func(limit time.Duration) { regexp2.DefaultMatchTimeout = limit }(regexp2.DefaultMatchTimeout)
	regexp2.DefaultMatchTimeout = 300 * time.Millisecond // shorter, for the goroutine that goes on matching
	script := parse(t, `function FindProxyForURL() {
		/(?=a)(a+)+$/.test("a".repeat(60) + "b");
		return "DIRECT";
	}`)
	_, err := script.Find(t.Context(), edge, pac.Env{Timeout: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "not done in 50ms") {
		t.Error(err)
	}
}

func TestEdgeCase38_TakesAllMemory(t *testing.T) {
	script := parse(t, "var mega = 'x'.repeat(1 << 20), s = []; for (;;) s.push(mega + s.length)")
	_, err := script.Find(t.Context(), edge, pac.Env{Timeout: time.Minute})
	if err == nil || !strings.HasSuffix(err.Error(), "took more than 256 MiB of memory") {
		t.Error(err)
	}
}

func TestFindEndsWithItsContext(t *testing.T) {
	why := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	script := parse(t, "dnsResolve('a.corp'); for (;;);")
	_, err := script.Find(ctx, edge, pac.Env{
		Timeout: time.Minute,
		Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			cancel(why)
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	if !errors.Is(err, why) {
		t.Errorf("error %v, want one for %v", err, why)
	}
	if _, err = script.Find(ctx, edge, pac.Env{Timeout: time.Minute}); !errors.Is(err, why) {
		t.Errorf("with a context that is done: error %v, want one for %v", err, why)
	}
}

// A lookup that pays no heed to its context stands for a built-in function that
// works for hours.
func TestFindLeavesWhatCannotBeStopped(t *testing.T) {
	release, ended := make(chan struct{}), make(chan struct{})
	_, err := parse(t, "dnsResolve('a.corp')").Find(t.Context(), edge, pac.Env{
		Timeout: time.Millisecond,
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			defer close(ended)
			<-release
			return nil, nil
		},
	})
	close(release)
	<-ended
	if want := "pac script test.pac: not done in 1ms, and could not be stopped"; errText(err) != want {
		t.Errorf("error %q, want %q", errText(err), want)
	}
}

func TestFindShowsNoPath(t *testing.T) {
	script := parse(t, "function FindProxyForURL(url, host) { alert(url + ' ' + host); return 'DIRECT' }")
	for _, tt := range []struct{ url, want string }{
		{"https://user:pw@Edge.Example.com/private?token=1#x", "https://edge.example.com/ edge.example.com"},
		{"https://edge.example.com:443", "https://edge.example.com/ edge.example.com"},
		{"https://edge.example.com:8443/a", "https://edge.example.com:8443/ edge.example.com"},
		{"http://edge.example.com:80/a?b", "http://edge.example.com/ edge.example.com"},
		{"https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443/ 2001:db8::1"},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		log := new(record)
		if _, err := script.Find(t.Context(), u, pac.Env{Log: log.logger()}); err != nil || log.text() != tt.want {
			t.Errorf("%s: the script saw %q, error %v; want %q", tt.url, log.text(), err, tt.want)
		}
	}
	if _, err := script.Find(t.Context(), &url.URL{Scheme: "https"}, pac.Env{}); err == nil {
		t.Error("a URL without a host: no error")
	}
}

func TestWaysToDeclare(t *testing.T) {
	for _, script := range []string{
		"const FindProxyForURL = (url, host) => 'PROXY a:1'",
		"let FindProxyForURL = function () { return 'PROXY a:1' }",
		"FindProxyForURL = function () { return 'PROXY a:1' }",
		"function FindProxyForURL() { return 'PROXY b:2' }\nfunction FindProxyForURLEx() { return 'PROXY a:1' }",
		"function FindProxyForURL() { return 'PROXY a:1' }\nvar FindProxyForURLEx = 1",
		"// a file that ends in\n// a comment\nfunction FindProxyForURL() { return 'PROXY a:1' }//# sourceMappingURL=/etc/hostname",
		"function isPlainHostName() { return 'PROXY a:1' }\nfunction FindProxyForURL(url, host) { return isPlainHostName(host) }",
	} {
		got, err := parse(t, script).Find(t.Context(), edge, pac.Env{})
		if diff := cmp.Diff([]pac.Route{{Scheme: "http", Addr: "a:1"}}, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", script, err, diff)
		}
	}
}

// TestManyAtOnce also shows that runs share nothing.
func TestManyAtOnce(t *testing.T) {
	script := parse(t, `var calls = 0;
		function FindProxyForURL(url, host) { calls++; return "PROXY " + host + ":" + calls }`)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			host := fmt.Sprintf("h%d.corp", i)
			for range 10 {
				got, err := script.Find(t.Context(), &url.URL{Scheme: "https", Host: host}, pac.Env{})
				if err != nil || len(got) != 1 || got[0].String() != "http://"+host+":1" {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	group.Wait()
}
