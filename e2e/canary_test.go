//go:build linux

package e2e

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// gifts are the ways in which a person gives the proxy's password: each returns flags, and variables.
var gifts = map[string]func(t *testing.T, home string, bare, full *url.URL) (flags, env []string){
	"flag": func(_ *testing.T, _ string, _, full *url.URL) ([]string, []string) {
		return []string{"--forward-proxy", full.String()}, nil
	},
	"flag as a variable": func(_ *testing.T, _ string, _, full *url.URL) ([]string, []string) {
		return nil, []string{"POMERIUM_FORWARD_PROXY=" + full.String()}
	},
	"HTTPS_PROXY": func(_ *testing.T, _ string, _, full *url.URL) ([]string, []string) {
		return nil, []string{"HTTPS_PROXY=" + full.String()}
	},
	"variables": func(_ *testing.T, _ string, bare, full *url.URL) ([]string, []string) {
		password, _ := full.User.Password()
		return []string{"--forward-proxy", bare.String()}, []string{
			"POMERIUM_FORWARD_PROXY_USER=" + full.User.Username(), "POMERIUM_FORWARD_PROXY_PASSWORD=" + password}
	},
	"file": func(t *testing.T, home string, bare, full *url.URL) ([]string, []string) {
		password, _ := full.User.Password()
		file := secretFile(t, home, "login", full.User.Username()+":"+password+"\n")
		return []string{"--forward-proxy", bare.String(), "--forward-proxy-credentials-file", file}, nil
	},
	"netrc": func(t *testing.T, home string, bare, full *url.URL) ([]string, []string) {
		password, _ := full.User.Password()
		secretFile(t, home, ".netrc", fmt.Sprintf("machine %s login %s password %s\n", bare.Hostname(), full.User.Username(), password))
		return []string{"--forward-proxy", bare.String()}, nil
	},
	"keyring": func(t *testing.T, _ string, bare, full *url.URL) ([]string, []string) {
		k, err := w.StartKeyring(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		password, _ := full.User.Password()
		if err := k.Put(t.Context(), w, bare.String(), full.User.Username()+":"+password); err != nil {
			t.Fatal(err)
		}
		return []string{"--forward-proxy", bare.String()}, k.Env
	},
}

func secretFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestEdgeCase52_Canary gives the password of real proxies in each way there is, the right one and a wrong one. It is in nothing that
// the program writes at level debug, and on no command line on the user's host but the program's own, where the flag is.
func TestEdgeCase52_Canary(t *testing.T) {
	for _, kind := range []string{"squid-basic", "squid-digest", "squid-ntlm", "squid-spnego", "squid-tls-basic", "dante-password"} {
		for name, give := range gifts {
			if kind != "squid-basic" && name != "variables" {
				continue // where it comes from does not depend on who asks
			}
			for what, password := range map[string]string{"right": world.Password, "wrong": "c@nary:w/%41"} {
				t.Run(kind+"/"+name+"/"+what, func(t *testing.T) {
					oneWay(t)
					home, p := t.TempDir(), proxy(t, kind)
					bare, full := *p.URL, *p.URL
					bare.User, full.User = nil, url.UserPassword(world.User, password)
					flags, env := give(t, home, &bare, &full)
					seen := filepath.Join(home, "seen")
					tun := openAt(t, home, append([]string{
						"tcp", world.Echo, "--pomerium-url", world.EdgeURL, "--alternate-ca-path", w.CA.CA,
						"--forward-proxy-ca-path", p.CA, "--browser-cmd", nosyBrowser(t, home, seen), "--log-level", "debug",
					}, flags...), env...)
					if password == world.Password {
						pingPong(t, tun)
					} else {
						dial(t, tun.Addr)
						tun.log.await(t, regexp.MustCompile("error: .*"+regexp.QuoteMeta(bare.Host)))
					}
					said := tun.log.String() + must(t, nil, "sh", "-c", others, "sh", binary)
					if password == world.Password {
						commands, err := os.ReadFile(seen)
						if err != nil || !strings.Contains(string(commands), filepath.Join(home, "browser")) {
							t.Fatalf("what the browser saw: %q, %v", commands, err)
						}
						said += string(commands)
					}
					key := base64.StdEncoding.EncodeToString([]byte(world.User + ":" + password))
					_, escaped, _ := strings.Cut(full.User.String(), ":")
					for _, form := range []string{password, escaped, url.QueryEscape(password), key, strings.TrimRight(key, "=")} {
						if strings.Contains(said, form) {
							t.Errorf("%s is in:\n%s", form, said)
						}
					}
				})
			}
		}
	}
}

// others prints the command lines of the host's processes, but for those of one program.
const others = `for p in /proc/[0-9]*; do [ "$(readlink $p/exe)" = "$1" ] || tr '\0' ' ' <$p/cmdline; done; true`

// nosyBrowser signs in, and writes down what others there are.
func nosyBrowser(t *testing.T, home, seen string) string {
	t.Helper()
	u := proxy(t, "squid").URL
	script := fmt.Sprintf("#!/bin/sh\nsh -c '%s' sh '%s' >'%s'\nexec curl -sSL --proxy '%s' --noproxy 127.0.0.1,localhost --cacert '%s' -o /dev/null \"$1\"\n",
		strings.ReplaceAll(others, "'", `'\''`), binary, seen, u, w.CA.CA)
	path := filepath.Join(home, "browser")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
