package sysproxy_test

import (
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

// gsettings is what the program prints: the defaults, and what was changed.
func gsettings(changed ...string) string {
	lines := []string{
		"org.gnome.system.proxy autoconfig-url ''",
		"org.gnome.system.proxy ignore-hosts ['localhost', '127.0.0.0/8', '::1']",
		"org.gnome.system.proxy mode 'none'",
		"org.gnome.system.proxy use-same-proxy true",
		"org.gnome.system.proxy.ftp host ''",
		"org.gnome.system.proxy.ftp port 0",
		"org.gnome.system.proxy.http authentication-password ''",
		"org.gnome.system.proxy.http authentication-user ''",
		"org.gnome.system.proxy.http enabled false",
		"org.gnome.system.proxy.http host ''",
		"org.gnome.system.proxy.http port 8080",
		"org.gnome.system.proxy.http use-authentication false",
		"org.gnome.system.proxy.https host ''",
		"org.gnome.system.proxy.https port 0",
		"org.gnome.system.proxy.socks host ''",
		"org.gnome.system.proxy.socks port 0",
	}
	for _, c := range changed { // a later line wins
		lines = append(lines, "org.gnome.system.proxy"+c)
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestGSettings(t *testing.T) {
	manual := func(more ...string) []string { return append([]string{" mode 'manual'"}, more...) }
	for _, c := range []struct {
		name    string
		changed []string
		want    string
	}{
		{"none", nil, "GNOME settings"},
		{"none, with hosts from before", []string{".https host 'p.test'", ".https port 3128"}, "GNOME settings"},
		{"manual, and nothing set", manual(), "GNOME settings"},
		{"https", manual(".https host 'p.test'", ".https port 3128"), "GNOME settings; https: http://p.test:3128 (https host in GNOME settings)"},
		{"http is for both", manual(".http host 'p.test'"),
			"GNOME settings; http: http://p.test:8080 (http host in GNOME settings); https: http://p.test:8080 (http host in GNOME settings)"},
		{"http is for both, whatever use-same-proxy says", manual(" use-same-proxy false", ".http host 'p.test'"),
			"GNOME settings; http: http://p.test:8080 (http host in GNOME settings); https: http://p.test:8080 (http host in GNOME settings)"},
		{"https has its own, whatever use-same-proxy says", manual(".http host 'p.test'", ".https host 's.test'", ".https port 1"),
			"GNOME settings; http: http://p.test:8080 (http host in GNOME settings); https: http://s.test:1 (https host in GNOME settings)"},
		{"socks for what has no other", manual(".https host 's.test'", ".https port 1", ".socks host 'k.test'", ".socks port 1080"),
			"GNOME settings; http: socks5://k.test:1080 (socks host in GNOME settings); https: http://s.test:1 (https host in GNOME settings)"},
		{"no port", manual(".https host 'p.test'"), "GNOME settings; https: http://p.test (https host in GNOME settings)"},
		{"a URL for a host", manual(".https host 'https://p.test'", ".https port 3130"), "GNOME settings; https: https://p.test:3130 (https host in GNOME settings)"},
		{"IPv6", manual(".https host '2001:db8::1'", ".https port 1"), "GNOME settings; https: http://[2001:db8::1]:1 (https host in GNOME settings)"},
		{"user and password", manual(".http host 'p.test'", ".http use-authentication true", ".http authentication-user 'D\\\\u'", `.http authentication-password "p@'\"\u00e4\t"`),
			"GNOME settings; http: http://D%5Cu:p%40%27%22%C3%A4%09@p.test:8080 (http host in GNOME settings); https: http://D%5Cu:p%40%27%22%C3%A4%09@p.test:8080 (http host in GNOME settings)"},
		{"user, and not in use", manual(".http host 'p.test'", ".http authentication-user 'u'", ".https host 's.test'"),
			"GNOME settings; http: http://p.test:8080 (http host in GNOME settings); https: http://s.test (https host in GNOME settings)"},
		{"script", []string{" mode 'auto'", " autoconfig-url 'http://p.test/proxy.pac'"}, "GNOME settings; script http://p.test/proxy.pac (autoconfig-url in GNOME settings)"},
		{"script as a path", []string{" mode 'auto'", " autoconfig-url '/etc/my proxy.pac'"}, "GNOME settings; script file:///etc/my%20proxy.pac (autoconfig-url in GNOME settings)"},
		{"automatic", []string{" mode 'auto'"}, "GNOME settings; detect"},
		{"another mode", []string{" mode 'odd'"}, `error: mode in GNOME settings: "odd" is none of none, manual and auto`},
		{"no such text", []string{" mode none"}, "error: mode in GNOME settings: not a text as gsettings prints it"},
		{"text that does not end", manual(".https host 'p"), "error: https host in GNOME settings: not a text as gsettings prints it"},
		{"port", manual(".https host 'p'", ".https port 65536"), "error: https port in GNOME settings: not a port"},
		{"password", manual(".http host 'p'", ".http use-authentication true", ".http authentication-user 'u'", `.http authentication-password 'c4n4ry\u00'`),
			"error: http authentication-password in GNOME settings: not a text as gsettings prints it"},
		{"list", manual(" ignore-hosts 'x'"), "error: ignore-hosts in GNOME settings: not a list as gsettings prints it"},
		{"list without commas", manual(" ignore-hosts ['x' 'y']"), "error: ignore-hosts in GNOME settings: not a list as gsettings prints it"},
		{"range", manual(" ignore-hosts ['10.0.0.0/33']"), `error: ignore-hosts in GNOME settings: "10.0.0.0/33": not a range of addresses, such as 10.0.0.0/8`},
		{"excepted port", manual(" ignore-hosts ['x:http']"), `error: ignore-hosts in GNOME settings: "x:http": not a port after the colon`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := story(sysproxy.ParseGSettings(gsettings(c.changed...))); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
	if got := story(sysproxy.ParseGSettings("")); !strings.HasPrefix(got, "error: mode in GNOME settings") {
		t.Errorf("nothing printed: %s", got)
	}
}

func TestGSettingsIgnoreHosts(t *testing.T) {
	for _, c := range []struct{ hosts, targets, want string }{
		{"['localhost', '127.0.0.0/8', '::1']", "https://localhost https://127.3.2.1 https://[::1] https://localhost.test https://128.0.0.1",
			"https://localhost https://127.3.2.1 https://[::1]"},
		{"['d.test']", "https://d.test https://a.d.test https://D.TEST. https://ad.test", "https://d.test https://a.d.test https://D.TEST."},
		{"['.d.test']", "https://d.test https://a.d.test https://ad.test", "https://d.test https://a.d.test"},
		{"['*.d.test']", "https://d.test https://a.d.test https://ad.test", "https://d.test https://a.d.test"},
		{"['d.test:8443']", "https://d.test https://d.test:8443", "https://d.test:8443"},
		{"['d.test:443']", "https://d.test http://d.test https://d.test:8443", "https://d.test"},
		{"['10.0.0.0/8', '2001:db8::/32']", "https://10.1.2.3 https://11.1.2.3 https://[2001:db8::7] https://[2001:db9::7] https://[::ffff:10.1.2.3]",
			"https://10.1.2.3 https://[2001:db8::7] https://[::ffff:10.1.2.3]"},
		{"['[2001:db8::1]:443']", "https://[2001:db8::1] https://[2001:db8::1]:8443", "https://[2001:db8::1]"},
		{"['192.168.*', 'a*z.test']", "https://192.168.3.4 https://192.169.3.4 https://abcz.test https://az.test https://abc.test", "https://192.168.3.4 https://abcz.test https://az.test"},
		{"['*']", "https://d.test https://[2001:db8::1]", "https://d.test https://[2001:db8::1]"},
		{"['', ' ']", "https://d.test", ""},
		{"@as []", "https://localhost", ""},
	} {
		s, err := sysproxy.ParseGSettings(gsettings(" mode 'manual'", " ignore-hosts "+c.hosts))
		if err != nil {
			t.Errorf("%s: %v", c.hosts, err)
		}
		if got := excepted(t, s, c.targets); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.hosts, got, c.want)
		}
	}
}
