package sysproxy_test

import (
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

func TestKIO(t *testing.T) {
	env := map[string]string{"HTTPS_PROXY": "http://p.test:3128", "SOCKS": "socks://k.test:1080", "HOME": "/home/u"}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "KDE settings"},
		{"0", "[Proxy Settings]\nProxyType=0\nhttpsProxy=http://p.test 3128\n", "KDE settings"},
		{"another group", "[Other]\nProxyType=1\nhttpsProxy=http://p.test 3128\n[Proxy Settings]\n", "KDE settings"},
		{"1", "[Proxy Settings]\nProxyType=1\nhttpsProxy=http://p.test 3128\n", "KDE settings; https: http://p.test:3128 (httpsProxy in KDE settings)"},
		{"1, as older versions write it", "[Proxy Settings]\r\nProxyType = 1\r\nhttpProxy=//:\r\nhttpsProxy=p.test:3128\r\n", "KDE settings; https: p.test:3128 (httpsProxy in KDE settings)"},
		{"socks beside it", "[Proxy Settings]\nProxyType=1\nhttpsProxy=http://p.test 3128\nsocksProxy=http://k.test 1080\n",
			"KDE settings; http: socks5://k.test:1080 (socksProxy in KDE settings); https: http://p.test:3128 (httpsProxy in KDE settings); https: socks5://k.test:1080 (socksProxy in KDE settings)"},
		{"2", "[Proxy Settings]\nProxyType=2\nProxy Config Script=http://p.test/proxy.pac\n", "KDE settings; script http://p.test/proxy.pac (Proxy Config Script in KDE settings)"},
		{"2, with a variable", "[Proxy Settings]\nProxyType=2\nProxy Config Script[$e]=$HOME/proxy.pac\n", "KDE settings; script file:///home/u/proxy.pac (Proxy Config Script in KDE settings)"},
		{"2, with escapes", "[Proxy Settings]\nProxyType=2\nProxy Config Script=/a\\sb\\\\c\n", `KDE settings; script file:///a%20b%5Cc (Proxy Config Script in KDE settings)`},
		{"2, without a script", "[Proxy Settings]\nProxyType=2\n", "error: Proxy Config Script in KDE settings: empty"},
		{"3", "[Proxy Settings]\nProxyType=3\nProxy Config Script=http://p.test/proxy.pac\n", "KDE settings; detect"},
		{"4", "[Proxy Settings]\nProxyType=4\nhttpProxy=HTTP_PROXY\nhttpsProxy=HTTPS_PROXY\nsocksProxy=SOCKS\n",
			"KDE settings; http: socks5://k.test:1080 (socksProxy in KDE settings); https: http://p.test:3128 (httpsProxy in KDE settings); https: socks5://k.test:1080 (socksProxy in KDE settings)"},
		{"5", "[Proxy Settings]\nProxyType=5\n", `error: ProxyType in KDE settings: "5" is none of 0 to 4`},
		{"a comment", "[Proxy Settings]\n#ProxyType=1\nProxyType=0\n", "KDE settings"},
		{"no port", "[Proxy Settings]\nProxyType=1\nhttpsProxy=http://p.test\n", "KDE settings; https: http://p.test (httpsProxy in KDE settings)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := story(sysproxy.ParseKIO([]string{c.text}, func(name string) string { return env[name] })); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestKIOFiles: the user's file wins, but for what the machine's has locked.
func TestKIOFiles(t *testing.T) {
	const machine = "\nProxyType=1\nhttpsProxy=http://m.test 1\n"
	const user = "[Proxy Settings]\nhttpsProxy=http://u.test 2\n"
	for head, want := range map[string]string{
		"[Proxy Settings]":              "http://u.test:2",
		"[Proxy Settings][$i]":          "http://m.test:1",
		"[$i]\n[Proxy Settings]":        "http://m.test:1",
		"[Other][$i]\n[Proxy Settings]": "http://u.test:2",
		"[Proxy Settings]\nhttpsProxy[$i]=http://m.test 1\n[Other]": "http://m.test:1",
	} {
		machine := head + machine
		if strings.HasSuffix(head, "[Other]") {
			machine += "[Proxy Settings]\nProxyType=1\n"
		}
		s, err := sysproxy.ParseKIO([]string{machine, user}, none)
		if err != nil || len(s.Proxies["https"]) != 1 || s.Proxies["https"][0].URL != want {
			t.Errorf("%q: %s, want %s", head, story(s, err), want)
		}
	}
}

func TestKIONoProxyFor(t *testing.T) {
	for _, c := range []struct{ name, settings, targets, want string }{
		{"suffixes", "NoProxyFor=d.test, .e.test", "https://d.test https://a.d.test https://ad.test https://e.test https://a.e.test https://f.test",
			"https://d.test https://a.d.test https://ad.test https://a.e.test"},
		{"local", "NoProxyFor=<local>", "https://edge https://edge.test https://10.0.0.1", "https://edge"},
		{"addresses", "NoProxyFor=10.0.0.0/8,192.168/16,192.0.2.1", "https://10.1.1.1 https://192.168.1.1 https://192.0.2.1 https://192.0.2.2", "https://10.1.1.1 https://192.168.1.1 https://192.0.2.1"},
		{"URL", "NoProxyFor=https://d.test/", "https://d.test http://d.test", "https://d.test"},
		{"port", "NoProxyFor=d.test:8443", "https://d.test:8443 https://d.test", "https://d.test:8443"},
		{"reversed", "ReversedException=true\nNoProxyFor=d.test", "https://d.test https://e.test", "https://e.test"},
		{"reversed, and empty", "ReversedException=1", "https://d.test", "https://d.test"},
		{"none", "", "https://d.test https://localhost", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := sysproxy.ParseKIO([]string{"[Proxy Settings]\nProxyType=1\n" + c.settings}, none)
			if err != nil {
				t.Fatal(err)
			}
			if got := excepted(t, s, c.targets); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
	named := []string{"[Proxy Settings]\nProxyType=4\nNoProxyFor=NO\nReversedException=true"}
	s, err := sysproxy.ParseKIO(named, func(name string) string { return map[string]string{"NO": "d.test"}[name] })
	if got := excepted(t, s, "https://d.test https://e.test"); err != nil || got != "https://d.test" {
		t.Errorf("by a variable: %s, %v", got, err)
	}
}
