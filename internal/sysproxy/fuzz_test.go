package sysproxy_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

// sound checks what must be so whatever was read: an error has nothing beside
// it that a careless caller could dial by, names its setting and is one line.
func sound(t *testing.T, s sysproxy.Settings, err error) {
	t.Helper()
	if err != nil {
		if setting, _, ok := strings.Cut(err.Error(), ": "); !ok || !strings.Contains(setting, s.Source) || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("not one line that names its setting: %q", err)
		}
		return
	}
	if s.Source == "" {
		t.Error("nobody says it")
	}
	for target, all := range s.Proxies {
		for _, addr := range all {
			if target != "http" && target != "https" || addr.URL == "" || addr.Setting == "" {
				t.Errorf("%s: %+v", target, addr)
			}
		}
	}
	for _, host := range []string{"edge.test", "edge", "10.1.2.3", "[2001:db8::1]:8443", "localhost."} {
		if why, ok := s.Bypass.Match(&url.URL{Scheme: "https", Host: host}); ok && why == "" {
			t.Errorf("%s is excepted, and nobody says why", host)
		}
	}
}

func FuzzGSettings(f *testing.F) {
	f.Add(gsettings())
	f.Add(gsettings(" mode 'manual'", ".http host \"p'\\u00e4\\n\"", ".http use-authentication true", ".http authentication-user 'u'"))
	f.Add(gsettings(" mode 'auto'", " autoconfig-url '/x'", " ignore-hosts ['a', '10/8', '[::1]:1', '*.b:80']"))
	f.Add("org.gnome.system.proxy mode '\\U00110000'")
	f.Add("org.gnome.system.proxy mode 'manual'\norg.gnome.system.proxy ignore-hosts ['a',")
	f.Fuzz(func(t *testing.T, output string) {
		s, err := sysproxy.ParseGSettings(output)
		sound(t, s, err)
	})
}

func FuzzKIO(f *testing.F) {
	f.Add("[Proxy Settings]\nProxyType=1\nhttpsProxy=http://p 1\nNoProxyFor=a, b/8\n", "[Proxy Settings][$i]\nProxyType[$e]=$X")
	f.Add("[$i]\n[Proxy Settings]\nProxyType=4\nhttpProxy=X\nsocksProxy=Y\nNoProxyFor=Z", "=\n[\n[Proxy Settings]\n=x\n[$")
	f.Add("[Proxy Settings]\nProxyType=2\nProxy Config Script=\\\\\\s\\", "")
	f.Fuzz(func(t *testing.T, machine, user string) {
		s, err := sysproxy.ParseKIO([]string{machine, user}, func(name string) string { return name + ":1" })
		sound(t, s, err)
	})
}

func FuzzEnvironment(f *testing.F) {
	f.Add("export https_proxy=\"http://p:1\" # x\nNO_PROXY='a'")
	f.Add("=\nhttp_proxy='\nALL_PROXY=\"\nexport \nexport =")
	f.Fuzz(func(t *testing.T, text string) {
		s := sysproxy.ParseEnvironment(text)
		sound(t, s, nil)
		for name, value := range s.Variables {
			if strings.ContainsAny(name+value, "\n#") {
				t.Errorf("%q=%q", name, value)
			}
		}
	})
}

func FuzzProxyServer(f *testing.F) {
	f.Add("p:1", "<local>;*.d.test")
	f.Add("http=a:1;https=b:2;socks=c:3 d:4", "<-loopback>; 10.*; [::1]:1")
	f.Add("==;=", "http://x:y/;/;:;[")
	f.Fuzz(func(t *testing.T, server, override string) {
		s, err := sysproxy.ParseInternetSettings(sysproxy.InternetSettings{ProxyEnable: 1, ProxyServer: server, ProxyOverride: override})
		sound(t, s, err)
	})
}

func FuzzConnection(f *testing.F) {
	f.Add(blob(15, "p:1", "<local>", "http://x/y.pac"), blob(3, "http=a:1", "*"))
	f.Add(blob(4)[:11], []byte{})
	f.Add(blob(2), append(blob(2), 255, 255, 255, 255))
	f.Fuzz(func(t *testing.T, connection, winHTTP []byte) {
		s, err := sysproxy.ParseInternetSettings(sysproxy.InternetSettings{DefaultConnectionSettings: connection, WinHTTPSettings: winHTTP})
		sound(t, s, err)
	})
}

func FuzzScutil(f *testing.F) {
	f.Add(dictionary("HTTPSEnable : 1", "HTTPSProxy : p", "HTTPSPort : 1", "SOCKSEnable : 1", "SOCKSProxy : ::1"))
	f.Add(dictionary("ProxyAutoConfigEnable : 1", "ProxyAutoConfigURLString : http://x/y.pac", "ExcludeSimpleHostnames : 1"))
	f.Add("}\n}\n{\n : \nExceptionsList : <array> {\n0 : /\n")
	f.Fuzz(func(t *testing.T, output string) {
		s, err := sysproxy.ParseScutil(output)
		sound(t, s, err)
	})
}
