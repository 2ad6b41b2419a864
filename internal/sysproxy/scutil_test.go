package sysproxy_test

import (
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

// dictionary is one as scutil prints it, with what every machine has.
func dictionary(lines ...string) string {
	return "<dictionary> {\n  FTPPassive : 1\n  " + strings.Join(lines, "\n  ") + `
  ExceptionsList : <array> {
    0 : *.local
    1 : 169.254/16
    2 : d.test
  }
  __SCOPED__ : <dictionary> {
    en0 : <dictionary> {
      ExceptionsList : <array> {
        0 : scoped.test
      }
      HTTPSEnable : 1
      HTTPSPort : 9
      HTTPSProxy : scoped.test
    }
  }
}
`
}

func TestScutil(t *testing.T) {
	for _, c := range []struct {
		name, output, want string
	}{
		{"nothing", "", "macOS settings"},
		{"none", dictionary("HTTPEnable : 0", "HTTPSEnable : 0", "ProxyAutoConfigEnable : 0"), "macOS settings"},
		{"off", dictionary("HTTPSEnable : 0", "HTTPSPort : 3128", "HTTPSProxy : p.test"), "macOS settings"},
		{"both", dictionary("HTTPEnable : 1", "HTTPPort : 1", "HTTPProxy : h.test", "HTTPSEnable : 1", "HTTPSPort : 3128", "HTTPSProxy : p.test"),
			"macOS settings; http: h.test:1 (HTTPProxy in macOS settings); https: p.test:3128 (HTTPSProxy in macOS settings)"},
		{"IPv6, no port", dictionary("HTTPSEnable : 1", "HTTPSProxy : 2001:db8::1"), "macOS settings; https: [2001:db8::1] (HTTPSProxy in macOS settings)"},
		{"socks", dictionary("HTTPSEnable : 1", "HTTPSPort : 1", "HTTPSProxy : p.test", "SOCKSEnable : 1", "SOCKSPort : 1080", "SOCKSProxy : k.test"),
			"macOS settings; http: socks5://k.test:1080 (SOCKSProxy in macOS settings); https: p.test:1 (HTTPSProxy in macOS settings)"},
		{"script", dictionary("HTTPSEnable : 1", "HTTPSProxy : p.test", "ProxyAutoConfigEnable : 1", "ProxyAutoConfigURLString : http://p.test/x.pac"),
			"macOS settings; script http://p.test/x.pac (ProxyAutoConfigURLString in macOS settings)"},
		{"detection", dictionary("ProxyAutoDiscoveryEnable : 1"), "macOS settings; detect"},
		{"script without URL", dictionary("ProxyAutoConfigEnable : 1"), "error: ProxyAutoConfigEnable in macOS settings: no ProxyAutoConfigURLString beside it"},
		{"proxy without host", dictionary("SOCKSEnable : 1"), "error: SOCKSEnable in macOS settings: no SOCKSProxy beside it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := story(sysproxy.ParseScutil(c.output)); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestScutilExceptions(t *testing.T) {
	const targets = "https://a.local https://169.254.3.4 https://d.test https://a.d.test https://scoped.test https://edge https://localhost https://10.0.0.1"
	for simple, want := range map[string]string{
		"0": "https://a.local https://169.254.3.4 https://d.test https://localhost",
		"1": "https://a.local https://169.254.3.4 https://d.test https://edge https://localhost",
	} {
		s, err := sysproxy.ParseScutil(dictionary("HTTPSEnable : 1", "HTTPSProxy : p.test", "ExcludeSimpleHostnames : "+simple))
		if got := excepted(t, s, targets); err != nil || got != want {
			t.Errorf("ExcludeSimpleHostnames %s: %v\n got %s\nwant %s", simple, err, got, want)
		}
	}
}
