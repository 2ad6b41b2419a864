package cli_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomerium/pomerium-cli/internal/cli"
)

// kde writes KDE's settings, and returns the environment of one who has them.
func (w *world) kde(t *testing.T, lines ...string) map[string]string {
	t.Helper()
	w.file(t, "kioslaverc", []byte("[Proxy Settings]\n"+strings.Join(lines, "\n")+"\n"))
	return map[string]string{"XDG_CURRENT_DESKTOP": "KDE", "XDG_CONFIG_HOME": w.dir, "XDG_CONFIG_DIRS": w.dir, "POMERIUM_SERVICE_ACCOUNT": w.Token()}
}

// TestSystem goes by the settings of a desktop.
func TestSystem(t *testing.T) {
	w := newWorld(t)
	spaced := func(raw string) string {
		at := strings.LastIndexByte(raw, ':')
		return raw[:at] + " " + raw[at+1:]
	}
	http, socks := w.ProxyURL("http"), w.ProxyURL("socks5")
	u, err := url.Parse(http)
	if err != nil {
		t.Fatal(err)
	}
	pac := w.file(t, "proxy.pac", []byte(script("PROXY "+u.Host)))
	never := w.file(t, "throws.pac", []byte("function FindProxyForURL() { throw 1 }"))
	guarded := w.ProxyURL("http+password")
	at := strings.LastIndexByte(guarded, '@')
	for _, c := range []struct {
		name     string
		settings []string
		code     int
		stderr   string // a part of it
	}{
		{"http", []string{"ProxyType=1", "httpsProxy=" + spaced(http)}, 0, `from="KDE settings" because="XDG_CURRENT_DESKTOP is KDE"`},
		{"socks", []string{"ProxyType=1", "socksProxy=" + spaced(socks)}, 0, ""},
		{"socks where http is dead", []string{"ProxyType=1", "httpsProxy=http://127.0.0.1 1", "socksProxy=" + spaced(socks)}, 0, ""},
		{"not excepted", []string{"ProxyType=1", "httpsProxy=" + spaced(http), "NoProxyFor=other.lab,10.0.0.0/8"}, 0, ""},
		{"excepted in reverse", []string{"ProxyType=1", "httpsProxy=" + spaced(http), "NoProxyFor=.lab", "ReversedException=true"}, 0, ""},
		{"script", []string{"ProxyType=2", "Proxy Config Script=" + pac}, 0, ""},
		{"variables", []string{"ProxyType=4", "httpsProxy=MY_PROXY"}, 0, ""},
		{"dead", []string{"ProxyType=1", "httpsProxy=http://127.0.0.1 1"}, 3, "forward proxy http://127.0.0.1:1 (httpsProxy in KDE settings): dial"},
		{"password wanted", []string{"ProxyType=1", "httpsProxy=http://" + guarded[at+1:]}, 3, "hint: give user and password in POMERIUM_FORWARD_PROXY_USER"},
		{"password refused", []string{"ProxyType=1", "httpsProxy=http://user:" + secret + "@" + guarded[at+1:]}, 3, "hint: check user and password in httpsProxy in KDE settings"},
		{"script that throws", []string{"ProxyType=2", "Proxy Config Script=" + never}, 3, "Proxy Config Script in KDE settings: pac script"},
		{"none", []string{"ProxyType=0", "httpsProxy=" + spaced(http)}, 1, "that no proxy is used comes from KDE settings"},
		{"excepted", []string{"ProxyType=1", "httpsProxy=" + spaced(http), "NoProxyFor=.lab"}, 1, `because="\".lab\" of NoProxyFor in KDE settings"`},
		{"none for https", []string{"ProxyType=1", "httpProxy=" + spaced(http)}, 1, "that no proxy is used comes from KDE settings"},
		{"no such type", []string{"ProxyType=x"}, 2, `ProxyType in KDE settings: "x" is none of 0 to 4`},
		{"no proxy's address", []string{"ProxyType=1", "httpsProxy=ftp://user:" + canary + "@h 1"}, 2, "httpsProxy in KDE settings: the scheme is none of"},
		{"no script's address", []string{"ProxyType=2", "Proxy Config Script=ftp://" + canary + "/x"}, 2, "Proxy Config Script in KDE settings: pac script: scheme"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &run{stdin: "hello", env: w.kde(t, c.settings...)}
			r.env["MY_PROXY"] = http
			r.main(t, w.tcp("echo.lab:7", "--forward-proxy", "system", "--listen", "-", "--log-level", "debug")...)
			if r.code != c.code || !strings.Contains(r.stderr, c.stderr) || (c.code == 0) != (r.stdout == "hello") || sings(r.stderr) {
				t.Errorf("exit code %d, want %d; %q; %s", r.code, c.code, r.stdout, r.stderr)
			}
		})
	}
	if n := w.DirectConnections(); n != 0 {
		t.Errorf("%d connections to the edge were direct", n)
	}
}

// TestEdgeCase40_Detection: where detection alone is on, nothing is looked up
// and nothing dialed; an alternative is taken.
func TestEdgeCase40_Detection(t *testing.T) {
	w := newWorld(t)
	env := w.kde(t, "ProxyType=3", "Proxy Config Script=http://127.0.0.1:1/x")
	r := &run{stdin: "hello", env: env}
	r.main(t, w.tcp("echo.lab:7", "--forward-proxy", "system", "--listen", "-")...)
	if r.code != 2 || !strings.Contains(r.stderr, "KDE settings: automatic detection (WPAD) is on there, and is not done here") ||
		!strings.Contains(r.stderr, "hint: if you know who answers there") {
		t.Errorf("exit code %d, %s", r.code, r.stderr)
	}
	env["POMERIUM_FORWARD_PROXY"] = "system " + w.ProxyURL("http")
	r = &run{stdin: "hello", env: env}
	r.main(t, append(withoutFlag(w.tcp("echo.lab:7"), "--forward-proxy"), "--listen", "-")...)
	if r.code != 0 || r.stdout != "hello" {
		t.Errorf("with an alternative: exit code %d, %q, %s", r.code, r.stdout, r.stderr)
	}
	if n := w.DirectConnections(); n != 0 {
		t.Errorf("%d connections to the edge were direct", n)
	}
}

// TestSystemChanges: nothing is read before a connection needs it; later changes
// are seen within a minute, and what has not changed keeps its proxy, which
// remembers.
func TestSystemChanges(t *testing.T) {
	w := &world{dir: t.TempDir()}
	settings := func(port string) {
		write(t, filepath.Join(w.dir, "kioslaverc"), "[Proxy Settings]\nProxyType=1\nhttpsProxy=http://p.test "+port+"\n")
	}
	env := map[string]string{"XDG_CURRENT_DESKTOP": "KDE", "XDG_CONFIG_HOME": w.dir, "XDG_CONFIG_DIRS": w.dir}
	edge := &url.URL{Scheme: "https", Host: "edge.test"}
	synctest.Test(t, func(t *testing.T) {
		settings("1")
		s := cli.NewSystem(func(name string) string { return env[name] })
		settings("2")
		hop := func() any {
			ways, err := s.Ways(t.Context(), edge)
			if err != nil || len(ways) != 1 || len(ways[0].Hops) != 1 {
				t.Fatal(ways, err)
			}
			return ways[0].Hops[0]
		}
		first := hop()
		settings("3")
		time.Sleep(time.Second)
		if hop() != first {
			t.Error("read again at once")
		}
		settings("2")
		time.Sleep(2 * time.Minute)
		if hop() != first {
			t.Error("the same settings, and another proxy")
		}
		settings("3")
		time.Sleep(2 * time.Minute)
		if second := hop(); second == first {
			t.Error("the change was not seen")
		}
	})
}
