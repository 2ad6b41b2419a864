//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// TestSSHConfig: with what ssh-config installs, a real ssh reaches the server by its plain name, through squid, whatever
// the file says for other hosts.
func TestSSHConfig(t *testing.T) {
	oneWay(t)
	client, err := w.StartSSH(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "it's 100% here") // names that a shell and ssh would read otherwise
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	config := filepath.Join(dir, "config")
	rest := "Host other\n  ProxyCommand false\nHost *\n  Include " + client + "\n"
	for name, data := range map[string]string{token: world.GoodToken, config: rest} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	squid := proxy(t, "squid")
	args := []string{"ssh-config", "--file", config}
	must(t, nil, binary, append(args, "--install", world.SSH, "--pomerium-url", world.EdgeURL, "--alternate-ca-path", w.CA.CA,
		"--forward-proxy", squid.URL.String(), "--service-account-file", token)...)
	if out := must(t, nil, "ssh", "-F", config, "ssh.test", "echo", "hello"); out != "hello\n" {
		t.Errorf("ssh: %q", out)
	}
	if r := run(t, nil, "ssh", "-F", config, "other", "true"); r.code == 0 {
		t.Error("another host went the same way")
	}
	must(t, nil, binary, append(args, "--remove")...)
	data, err := os.ReadFile(config)
	if err != nil || string(data) != rest {
		t.Errorf("left behind: %q, %v", data, err)
	}
}
