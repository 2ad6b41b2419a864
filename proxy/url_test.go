package proxy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

func TestParseURL(t *testing.T) {
	for _, tc := range []struct{ raw, want, user, password string }{
		{raw: "http://proxy.test", want: "http://proxy.test:80"},
		{raw: "https://proxy.test", want: "https://proxy.test:443"},
		{raw: "socks5://proxy.test", want: "socks5://proxy.test:1080"},
		{raw: "socks5h://proxy.test", want: "socks5h://proxy.test:1080"},
		{raw: "HTTP://Proxy.Test:3128", want: "http://Proxy.Test:3128"},
		{raw: "SOCKS5H://proxy.test:1", want: "socks5h://proxy.test:1"},
		{raw: "proxy.test", want: "http://proxy.test:80"},
		{raw: "proxy.test:3128", want: "http://proxy.test:3128"},
		{raw: "proxy:3128/", want: "http://proxy:3128"},
		{raw: "http://proxy.test:3128/", want: "http://proxy.test:3128"},
		{raw: "http://proxy.test:", want: "http://proxy.test:80"},
		{raw: "192.0.2.1:3128", want: "http://192.0.2.1:3128"},
		{raw: "[2001:db8::1]:3128", want: "http://[2001:db8::1]:3128"},
		{raw: "socks5://[2001:DB8::1]", want: "socks5://[2001:db8::1]:1080"},
		{raw: "http://[fe80::1%25eth0]:3128", want: "http://[fe80::1%25eth0]:3128"},
		{raw: "http://[fe80::1%eth0]:3128", want: "http://[fe80::1%25eth0]:3128"},
		{raw: "http://bücher.example:3128", want: "http://xn--bcher-kva.example:3128"},
		{raw: "http://proxy_1.test.:65535", want: "http://proxy_1.test.:65535"},
		{raw: "http://u:p@proxy.test", want: "http://proxy.test:80", user: "u", password: "p"},
		{raw: "u:p@proxy.test:3128", want: "http://proxy.test:3128", user: "u", password: "p"},
		{raw: "http://u@proxy.test", want: "http://proxy.test:80", user: "u"},
		{raw: "http://u:@proxy.test", want: "http://proxy.test:80", user: "u"},
		{raw: "http://:p@proxy.test", want: "http://proxy.test:80", password: "p"},
		{raw: "http://@proxy.test", want: "http://proxy.test:80"},
		{raw: "http://do%5Cmain:%23%2F%3F%40%25%20%3A+:ü@proxy.test", want: "http://proxy.test:80", user: `do\main`, password: "#/?@% :+:ü"},
		{raw: "socks5://u:p@[::1]:1", want: "socks5://[::1]:1", user: "u", password: "p"},
	} {
		u, err := proxy.ParseURL(tc.raw)
		if err != nil {
			t.Errorf("ParseURL(%q): %v", tc.raw, err)
			continue
		}
		user, password := "", ""
		if u.User != nil {
			user = u.User.Username()
			password, _ = u.User.Password()
		}
		u.User = nil
		if u.String() != tc.want || user != tc.user || password != tc.password {
			t.Errorf("ParseURL(%q) = %s, %q, %q, want %s, %q, %q", tc.raw, u, user, password, tc.want, tc.user, tc.password)
		}
	}
}

const (
	errScheme = "the scheme is none of http, https, socks5 and socks5h"
	errColons = "there is more than one colon in host and port; an IPv6 address is written in brackets"
	errHost   = "the host name has a character that no host name has"
	errHex    = "the user name or password has a % that is not followed by two hexadecimal digits: write it as %25"
)

// badURLs are what a flag or a variable may hold by mistake. S is a password.
var badURLs = []struct{ raw, err string }{
	{"", "the proxy address is empty"},
	{"http://", "the proxy address has no host"},
	{"http:///", "the proxy address has no host"},
	{"http://:3128", "the proxy address has no host"},
	{"http://u:S@", "the proxy address has no host"},
	{"http://u:S@:3128", "the proxy address has no host"},
	{"socks://proxy.test:1080", "socks:// does not say which version: write socks5://"},
	{"socks4://proxy.test:1080", "socks4:// is not spoken here: if the proxy speaks SOCKS5, write socks5://"},
	{"SOCKS4a://proxy.test:1080", "socks4a:// is not spoken here: if the proxy speaks SOCKS5, write socks5://"},
	{"ftp://u:S@proxy.test", errScheme},
	{"://proxy.test", errScheme},
	{"S://proxy.test", errScheme},
	{"u:S://x@proxy.test", errScheme},
	{"http://proxy.test:0", "the port is 0"},
	{"http://proxy.test:65536", "the port is over 65535"},
	{"http://proxy.test:99999999999999999999", "the port is over 65535"},
	{"http://proxy.test:+80", "the port is not a number"},
	{"http://proxy.test:-1", "the port is not a number"},
	{"http://u:S", "the port is not a number"}, // the host was forgotten
	{"http://proxy.test:3128/path", "a proxy address has no path"},
	{"http://proxy.test:3128//", "a proxy address has no path"},
	{"http://proxy.test:3128?S", "a proxy address has no query"},
	{"http://proxy.test:3128/?S", "a proxy address has no path"},
	{"http://proxy.test:3128#S", "a proxy address has no fragment"},
	{`http://proxy.test\S`, "a proxy address has no backslash"},
	{"http:/proxy.test", "a proxy address has no path"},
	{"http://2001:db8::1:3128", errColons},
	{"::1", errColons},
	{"a:b:c", errColons},
	{"http://[::1", "the brackets around the IPv6 address are not closed, or text follows them"},
	{"http://[::1]S", "the brackets around the IPv6 address are not closed, or text follows them"},
	{"http://[S]:3128", "there is no IPv6 address in the brackets"},
	{"http://[::%%]:3128", "there is no IPv6 address in the brackets"},
	{"http://[192.0.2.1]:3128", "there is no IPv6 address in the brackets"},
	{"http://S*x:3128", errHost},
	{"http://a%41.test:3128", errHost},
	{"http://xn--\u00fc.test:3128", "the host name is not a valid internationalized name"},
	{"http://" + strings.Repeat("a", 256), "the host name is longer than 255 bytes"},
	// Edge case 32: characters of a password that have to be encoded.
	{"http://u:%zS@proxy.test:3128", errHex},
	{"http://u:S%@proxy.test:3128", errHex},
	{"http://%zz:S@proxy.test:3128", errHex},
	{"http://u:S#S@proxy.test:3128", `a "#" stands before the @: in a user name or password write it as %23`},
	{"http://u:S/S@proxy.test:3128", `a "/" stands before the @: in a user name or password write it as %2F`},
	{"http://u:S?S@proxy.test:3128", `a "?" stands before the @: in a user name or password write it as %3F`},
	{`http://u:S\S@proxy.test:3128`, `a "\\" stands before the @: in a user name or password write it as %5C`},
	{"http://u:S@S@proxy.test:3128", "there is more than one @: in a user name or password write it as %40"},
	{"http://u:S S@proxy.test:3128", "the proxy address has a space; in a user name or password write it as %20"},
	{" http://u:S@proxy.test:3128", "the proxy address has a space; in a user name or password write it as %20"},
	{"http://u:S\r@proxy.test:3128", "the proxy address has a control character or line break"},
	{"http://u:S@proxy.test:3128\n", "the proxy address has a control character or line break"},
	{"http://u:S\x00@proxy.test:3128", "the proxy address has a control character or line break"},
	{"http://u:S%0D%0AX@proxy.test:3128", "the user name or password has a control character"},
	{"http://u%3Ax:S@proxy.test:3128", "the user name has a colon, which Basic authentication cannot carry (RFC 7617)"},
	// Edge case 33.
	{`"http://u:S@proxy.test:3128"`, "the proxy address is in quotes: remove them"},
	{`'http://u:S@proxy.test:3128'`, "the proxy address is in quotes: remove them"},
	{`http://u:S@proxy.test:3128"`, "the port is not a number"},
}

func TestEdgeCase32_33_BadURLs(t *testing.T) {
	for _, tc := range badURLs {
		raw := strings.ReplaceAll(tc.raw, "S", "canary")
		if strings.HasPrefix(strings.ToUpper(tc.raw), "SOCKS") {
			raw = tc.raw
		}
		u, err := proxy.ParseURL(raw)
		if text(err) != tc.err {
			t.Errorf("ParseURL(%q) = %v, %v, want %s", raw, u, err, tc.err)
		}
		_, err = proxy.Fixed(raw, "--forward-proxy", proxy.Config{})
		var setting *proxy.SettingError
		if !errors.As(err, &setting) || err.Error() != "--forward-proxy: "+tc.err {
			t.Errorf("Fixed(%q): %v", raw, err)
		}
		if strings.Contains(text(err), "canary") {
			t.Errorf("%q: the error has the password in it: %v", raw, err)
		}
	}
}
