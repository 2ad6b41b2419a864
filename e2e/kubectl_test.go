//go:build linux

package e2e

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// builtKubectl is the kubectl of module kubectl. What it calls itself has a form that it insists on.
var builtKubectl = sync.OnceValues(func() (string, error) {
	path := filepath.Join(w.Dir, "kubectl")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2", "-o", path, ".")
	build.Dir = "kubectl"
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// developer is a person on the user's host with a kubectl and a way to sign in.
type developer struct {
	kubectl
	home    string
	browser string // the command
	env     []string
}

type kubectl struct {
	path, version string
	silent        bool // does not tell its plugin whether a person is there
}

func newDeveloper(t *testing.T, k kubectl, proxy *world.Proxy, more ...string) *developer {
	t.Helper()
	browser := append([]string{"curl", "-sSL", "--proxy", proxy.URL.String(), "--noproxy", "127.0.0.1", "--cacert", w.CA.CA, "-o", "/dev/null"}, more...)
	return &developer{kubectl: k, home: t.TempDir(), browser: strings.Join(browser, " ")}
}

// configure writes the kubeconfig.
func (d *developer) configure(t *testing.T, server string, p *world.Proxy, more ...string) {
	t.Helper()
	r := d.run(t, nil, binary, append([]string{"k8s", "configure", server, "--forward-proxy", p.URL.String(),
		"--alternate-ca-path", w.CA.CA, "--browser-cmd", d.browser}, more...)...)
	if r.code != 0 {
		t.Fatalf("k8s configure: %+v", r)
	}
}

// run runs a program to its end; stdin nil is nobody there.
func (d *developer) run(t *testing.T, stdin *os.File, name string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(limited(t, patience), name, args...)
	cmd.Env = append(environment(d.home), d.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if stdin != nil {
		cmd.Stdin = stdin
		cmd.SysProcAttr.Setctty = true
	}
	err := w.UserHost.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// sees runs kubectl, at a terminal or with nobody there, and wants it to print something, after so many sign-ins at the provider.
func (d *developer) sees(t *testing.T, attended bool, signIns int, want string, args ...string) {
	t.Helper()
	var stdin *os.File
	if attended {
		stdin = newScreen(t).file
	}
	before := w.SignIn.Visits()
	r := d.run(t, stdin, d.path, args...)
	if n := w.SignIn.Visits() - before; r.code != 0 || !strings.Contains(r.stdout, want) || n != signIns {
		t.Errorf("kubectl %s: exit code %d, %d sign-ins, want %d, and %q\n%s%s", strings.Join(args, " "), r.code, n, signIns, want, r.stdout, r.stderr)
	}
}

// signsIn runs kubectl without a token that is good. A sign-in waits until somebody is there, where kubectl tells.
func (d *developer) signsIn(t *testing.T) {
	t.Helper()
	if d.silent {
		d.sees(t, false, 1, world.Pod, "get", "pods")
	} else {
		d.unattended(t)
		d.sees(t, true, 1, world.Pod, "get", "pods")
	}
}

// unattended wants kubectl to fail without a sign-in, and without a question to the cluster.
func (d *developer) unattended(t *testing.T) {
	t.Helper()
	before, asked := w.SignIn.Visits(), len(w.Kubernetes.Asked())
	r := d.run(t, nil, d.path, "get", "pods")
	if n := w.SignIn.Visits() - before; r.code == 0 || n != 0 || len(w.Kubernetes.Asked()) != asked {
		t.Errorf("exit code %d after %d sign-ins\n%s%s", r.code, n, r.stdout, r.stderr)
	}
	for _, s := range []string{"kubectl says that nobody can sign in now (interactive is false)", "hint: pomerium-cli login " + world.KubernetesURL, "exit code 4"} {
		if !strings.Contains(r.stderr, s) {
			t.Errorf("%q is not in\n%s", s, r.stderr)
		}
	}
}

// TestKubectl: real ones, of now and of Debian, with what k8s configure wrote, and with a kubeconfig as the existing client
// documents it.
func TestKubectl(t *testing.T) {
	built, err := builtKubectl()
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]kubectl{
		"v1":       {built, "v1", false},
		"v1beta1":  {built, "v1beta1", false},
		"Debian's": {world.OldKubectl(), "v1beta1", true},
	} {
		t.Run(name, func(t *testing.T) {
			oneWay(t)
			squid := proxy(t, "squid")
			d := newDeveloper(t, k, squid)
			d.configure(t, world.KubernetesURL, squid, "--api-version", k.version)
			d.walk(t)
		})
		for _, told := range []string{"in its words", "by kubectl"} {
			t.Run(name+", server "+told, func(t *testing.T) {
				oneWay(t)
				squid := proxy(t, "squid")
				d := newDeveloper(t, k, squid)
				d.handmade(t, squid, told == "by kubectl")
				d.walk(t)
			})
		}
	}
	t.Run("exec", func(t *testing.T) {
		oneWay(t)
		squid := proxy(t, "squid")
		d := newDeveloper(t, kubectl{path: built}, squid)
		d.configure(t, world.KubernetesURL, squid)
		d.sees(t, true, 1, "hello there\n", "exec", world.Pod, "--", "hello", "there")
	})
	for name, c := range map[string]struct {
		claims string
		until  bool // kubectl is told when to come back
	}{
		"service account":                         {`{"exp":4102444800}`, true},
		"service account without an end":          {`{}`, false},
		"service account that the edge still has": {`{"exp":946684800}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			oneWay(t)
			squid := proxy(t, "squid")
			d := newDeveloper(t, kubectl{path: built}, squid)
			token := "e2e." + base64.RawURLEncoding.EncodeToString([]byte(c.claims)) + ".issued"
			w.Authz.Issue(token)
			file := filepath.Join(d.home, "token")
			if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
				t.Fatal(err)
			}
			d.configure(t, world.KubernetesURL, squid, "--service-account-file", file)
			d.sees(t, false, 0, world.Pod, "get", "pods")
			r := d.run(t, nil, binary, "k8s", "exec-credential", world.KubernetesURL, "--service-account-file", file,
				"--forward-proxy", squid.URL.String(), "--alternate-ca-path", w.CA.CA)
			if got := strings.Contains(r.stdout, `"expirationTimestamp":"2100-01-01T00:00:00Z"`); r.code != 0 || got != c.until {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Run("client certificate", func(t *testing.T) {
		oneWay(t)
		squid := proxy(t, "squid")
		cert, key := w.ClientCA.Cert, w.ClientCA.Key
		d := newDeveloper(t, kubectl{path: built}, squid, "--cert", cert, "--key", key)
		d.configure(t, world.KubernetesMTLS, squid, "--client-cert", cert, "--client-key", key)
		d.sees(t, true, 1, world.Pod, "get", "pods")
		d.sees(t, false, 0, world.Pod, "get", "pods")
	})
}

// walk is a token's life, as kubectl's user sees it.
func (d *developer) walk(t *testing.T) {
	t.Helper()
	seen, strange := len(w.Authz.Seen()), len(w.Kubernetes.Strange())
	d.signsIn(t)
	d.sees(t, true, 0, world.Pod, "get", "pods")
	d.sees(t, false, 0, "v1.37.2", "version")
	tokens := slices.Compact(w.Authz.Seen()[seen:])
	if len(tokens) != 1 || !strings.HasPrefix(tokens[0], "e2e.issued.") {
		t.Errorf("the edge saw the tokens %q", tokens)
	}
	w.Authz.Revoke(tokens[0])
	d.signsIn(t)
	if r := d.run(t, nil, binary, "k8s", "flush-credentials", world.KubernetesURL); r != (result{}) {
		t.Errorf("k8s flush-credentials: %+v", r)
	}
	d.signsIn(t)
	if got := w.Kubernetes.Strange()[strange:]; len(got) != 0 {
		t.Errorf("the cluster saw the tokens %q", got)
	}
}

// handmade is a kubeconfig without a flag of ours. The environment says where the proxy is and whom to trust, and the desktop what
// a browser is.
func (d *developer) handmade(t *testing.T, p *world.Proxy, clusterInfo bool) {
	t.Helper()
	exec := "{apiVersion: client.authentication.k8s.io/" + d.version + ", command: pomerium-cli, args: [k8s, exec-credential, \"" + world.KubernetesURL + "\"]"
	if clusterInfo {
		exec = strings.Replace(exec, ", \""+world.KubernetesURL+"\"]", "], provideClusterInfo: true", 1)
	}
	if d.version == "v1" {
		exec += ", interactiveMode: IfAvailable" // v1beta1 does not ask for it
	}
	bin := filepath.Join(d.home, "bin")
	for name, content := range map[string]string{
		filepath.Join(d.home, ".kube", "config"): `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "` + world.KubernetesURL + `", certificate-authority: "` + w.CA.CA + `"}}]
users: [{name: u, user: {exec: ` + exec + `}}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
`,
		filepath.Join(bin, "xdg-open"):     "#!/bin/sh\nexec " + d.browser + " \"$1\"\n",
		filepath.Join(bin, "pomerium-cli"): "#!/bin/sh\nexec " + binary + " \"$@\"\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HTTPS_PROXY=" + p.URL.String(), "SSL_CERT_FILE=" + w.CA.CA}
}
