//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// gnome is the environment of a user who has set these of GNOME's settings, as "schema key value", with gsettings: a bus
// for the session, dconf-service behind it, and nothing of a desktop else.
func gnome(t *testing.T, settings ...string) []string {
	t.Helper()
	home := t.TempDir()
	env := append(environment(home), "XDG_CURRENT_DESKTOP=GNOME", "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "XDG_RUNTIME_DIR="+home)
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := w.UserHost.Run(t.Context(), "env", append(append([]string{"-i"}, env...), append([]string{name}, args...)...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	bus := strings.Fields(run("dbus-daemon", "--session", "--fork", "--print-address=1", "--print-pid=1", "--address=unix:dir="+home))
	if len(bus) != 2 {
		t.Fatalf("dbus-daemon printed %q", bus)
	}
	t.Cleanup(func() { w.UserHost.Run(context.Background(), "kill", bus[1]) })
	env = append(env, "DBUS_SESSION_BUS_ADDRESS="+bus[0])
	for _, setting := range settings {
		part := strings.SplitN(setting, " ", 3)
		run("gsettings", "set", "org.gnome.system.proxy"+part[0], part[1], part[2])
	}
	return env
}

// system is the arguments for a tunnel that goes by the system's settings.
func system(p *world.Proxy, more ...string) []string {
	s := *p
	s.URL = &url.URL{Path: "system"}
	return arguments(&s, "auto", world.Echo, append(goodToken, more...)...)
}

// TestSystemProxy goes by what gsettings says.
func TestSystemProxy(t *testing.T) {
	squid, basic := proxy(t, "squid"), proxy(t, "squid-basic")
	before := []string{"--pre-proxy", squid.URL.String()} // then direct means from there on
	const dead = ".https port 9"
	for _, tc := range []struct {
		name     string
		settings []string
		more     []string
		log      string // what the program says; "": the tunnel opens
	}{
		{"manual", []string{" mode manual", ".https host proxy.test", ".https port " + squid.URL.Port()}, nil, ""},
		{"manual with a password", []string{" mode manual", ".http host proxy.test", ".http port " + basic.URL.Port(), ".http use-authentication true",
			".http authentication-user " + world.User, ".http authentication-password " + world.Password}, nil, ""},
		{"ignored host", []string{" mode manual", ".https host proxy.test", dead, " ignore-hosts ['*.test']"}, before, ""},
		{"other ignored host", []string{" mode manual", ".https host proxy.test", dead, " ignore-hosts ['other.test', '198.18.0.0/15']"}, before,
			`connect proxy\.test:9`},
		{"script", []string{" mode auto", " autoconfig-url " + serveScript(t, "PROXY "+squid.URL.Host)}, nil, ""},
		{"none", []string{" mode none", ".https host proxy.test", dead}, before, ""},
		{"edge case 40: detection", []string{" mode auto"}, nil, `GNOME settings: automatic detection \(WPAD\) is on`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			oneWay(t)
			tun := openAt(t, t.TempDir(), system(squid, append(tc.more, "--log-level", "debug")...), gnome(t, tc.settings...)...)
			if tc.log == "" {
				pingPong(t, tun)
			} else {
				dial(t, tun.Addr)
				tun.log.await(t, regexp.MustCompile(tc.log))
			}
			said := tun.log.String()
			if !strings.Contains(said, "because=\"XDG_CURRENT_DESKTOP is GNOME\"") || strings.Contains(said, world.Password) {
				t.Errorf("the program wrote\n%s", said)
			}
		})
	}
}

// serveScript has the web server of world.Scripts serve a script that returns result.
func serveScript(t *testing.T, result string) string {
	t.Helper()
	_, dir, err := w.StartScripts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("function FindProxyForURL(url, host) { return %q }", result)
	if err := os.WriteFile(filepath.Join(dir, "system.pac"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return world.Scripts + "system.pac"
}
