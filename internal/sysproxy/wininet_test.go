package sysproxy_test

import (
	"encoding/binary"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

// blob is one as Windows writes it: flags, then texts.
func blob(flags uint32, texts ...string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x46)
	b = binary.LittleEndian.AppendUint32(b, 7)
	b = binary.LittleEndian.AppendUint32(b, flags)
	for _, text := range texts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	return b
}

// rest is what follows the texts.
func rest(b []byte) []byte { return append(b, make([]byte, 32)...) }

func TestInternetSettings(t *testing.T) {
	for _, c := range []struct {
		name string
		v    sysproxy.InternetSettings
		want string
	}{
		{"nothing", sysproxy.InternetSettings{}, "Windows settings"},
		{"off", sysproxy.InternetSettings{ProxyServer: "p.test:1"}, "Windows settings"},
		{"one for all", sysproxy.InternetSettings{ProxyEnable: 1, ProxyServer: "p.test:1"},
			"Windows settings; http: p.test:1 (ProxyServer in Windows settings); https: p.test:1 (ProxyServer in Windows settings)"},
		{"one for each", sysproxy.InternetSettings{ProxyEnable: 1, ProxyServer: "http=p.test:1;HTTPS=http://s.test:2;ftp=f:1"},
			"Windows settings; http: p.test:1 (ProxyServer in Windows settings); https: http://s.test:2 (ProxyServer in Windows settings)"},
		{"socks for the rest", sysproxy.InternetSettings{ProxyEnable: 1, ProxyServer: "http=p.test:1; socks=k.test:2"},
			"Windows settings; http: p.test:1 (ProxyServer in Windows settings); https: socks5://k.test:2 (ProxyServer in Windows settings)"},
		{"none for https", sysproxy.InternetSettings{ProxyEnable: 1, ProxyServer: "http=p.test:1"}, "Windows settings; http: p.test:1 (ProxyServer in Windows settings)"},
		{"script", sysproxy.InternetSettings{ProxyEnable: 1, ProxyServer: "p:1", AutoConfigURL: "http://p.test/x.pac"},
			"Windows settings; script http://p.test/x.pac (AutoConfigURL in Windows settings)"},
		{"script of the blob", sysproxy.InternetSettings{DefaultConnectionSettings: rest(blob(5, "", "", "http://p.test/x.pac"))},
			"Windows settings; script http://p.test/x.pac (DefaultConnectionSettings in Windows settings)"},
		{"WinHTTP", sysproxy.InternetSettings{WinHTTPSettings: blob(3, "https=p.test:1", "*.test")},
			"Windows settings; https: p.test:1 (WinHttpSettings in Windows settings)"},
		{"WinHTTP off", sysproxy.InternetSettings{WinHTTPSettings: rest(blob(1, "p.test:1"))}, "Windows settings"},
		{"the user's win", sysproxy.InternetSettings{ProxyEnable: 1, ProxyServer: "https=u:1", WinHTTPSettings: blob(3, "https=p.test:1")},
			"Windows settings; https: u:1 (ProxyServer in Windows settings)"},
		{"short blob", sysproxy.InternetSettings{DefaultConnectionSettings: make([]byte, 11)}, "error: DefaultConnectionSettings in Windows settings: the value ends too early"},
		{"cut blob", sysproxy.InternetSettings{DefaultConnectionSettings: blob(1, "p.test:1")[:15]}, "error: DefaultConnectionSettings in Windows settings: the value ends too early"},
		{"blob that lies", sysproxy.InternetSettings{WinHTTPSettings: append(blob(3), 255, 255, 255, 255, 'x')}, "error: WinHttpSettings in Windows settings: the value ends too early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := story(sysproxy.ParseInternetSettings(c.v)); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestEdgeCase40_Flag: the flag for automatic detection, alone and with others.
func TestEdgeCase40_Flag(t *testing.T) {
	for flags, want := range map[uint32]bool{1: false, 3: false, 5: false, 7: false, 9: true, 11: true, 13: true, 15: true} {
		s, err := sysproxy.ParseInternetSettings(sysproxy.InternetSettings{DefaultConnectionSettings: rest(blob(flags, "", "", ""))})
		if err != nil || s.Detect != want {
			t.Errorf("flags %d: %v, %v; want %v", flags, s.Detect, err, want)
		}
	}
	if s, _ := sysproxy.ParseInternetSettings(sysproxy.InternetSettings{}); s.Detect {
		t.Error("on without a flag")
	}
}

func TestProxyOverride(t *testing.T) {
	const here = "https://localhost https://127.0.0.1 https://[::1] https://169.254.1.1"
	for _, c := range []struct{ override, targets, want string }{
		{"", here + " https://d.test", here},
		{"<-loopback>", here, ""},
		{"<local>", "https://edge https://edge.test https://[2001:db8::1]", "https://edge"},
		{"*.d.test;10.*", "https://d.test https://a.d.test https://10.1.1.1 https://11.1.1.1", "https://a.d.test https://10.1.1.1"},
		{"d.test; .e.test", "https://d.test https://a.d.test https://e.test https://a.e.test", "https://d.test https://a.e.test"},
		{"https://*.d.test", "https://a.d.test http://a.d.test", "https://a.d.test"},
		{"*.d.test:8443", "https://a.d.test https://a.d.test:8443", "https://a.d.test:8443"},
		{"10.0.0.0/8", "https://10.2.3.4", "https://10.2.3.4"},
	} {
		s, err := sysproxy.ParseInternetSettings(sysproxy.InternetSettings{ProxyEnable: 1, ProxyServer: "p:1", ProxyOverride: c.override})
		if got := excepted(t, s, c.targets); err != nil || got != c.want {
			t.Errorf("%q: %v\n got %s\nwant %s", c.override, err, got, c.want)
		}
	}
}
