package cli_test

import (
	"os"
	"strings"
	"testing"
)

// TestEdgeCase52_OtherCommands: passwords of proxies and tokens are in nothing
// that the commands beside tcp say or write.
func TestEdgeCase52_OtherCommands(t *testing.T) {
	w := newWorld(t)
	config, kube := w.file(t, "ssh_config", nil), w.file(t, "kubeconfig", nil)
	server := w.EdgeURL().String()
	for _, way := range []string{"http://user:" + secret + "@127.0.0.1:1", "http://us@er:" + canary + "@127.0.0.1:1", "user:" + canary + "@h:1", "pac+http://u:" + canary + "@127.0.0.1:1/x"} {
		for _, command := range []string{"ssh-config", "ssh-config --install --file " + config, "k8s configure --dry-run", "k8s configure --kubeconfig " + kube,
			"k8s exec-credential", "routes list", "routes connect", "auth", "whoami", "login"} {
			t.Run(command+" "+way, func(t *testing.T) {
				args := w.ask(command, server, "--forward-proxy", way, "--connect-timeout", "300ms", "--log-level", "debug")
				if !strings.Contains(command, "config") { // they refuse that before they look at the proxy
					args = append(args, "--service-account", canary+".a.b")
				}
				r := &run{}
				r.main(t, args...)
				if sings(r.stdout+r.stderr) || r.code == 0 {
					t.Errorf("exit code %d: %s%s", r.code, r.stdout, r.stderr)
				}
			})
		}
	}
	for _, path := range []string{config, kube} {
		if data, err := os.ReadFile(path); err != nil || sings(string(data)) {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
}
