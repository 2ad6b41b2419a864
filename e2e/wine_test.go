//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// What Debian's Wine, 8.0, or Windows itself, does otherwise.
const (
	noUDP    = "Wine opens no UDP socket for Go: SIO_UDP_NETRESET is not known to it"
	noReset  = "Wine shuts a socket down before it closes it: with SO_LINGER 0, too, the peer may read an end first"
	slow     = "in Wine each call of a socket passes its server: a minute, where much moves in small pieces"
	noSignal = "on Windows no process can send Ctrl-C to another"
	noShell  = "it runs a shell"
	noGo     = "it runs the go command"
	names    = "names of variables have no case on Windows"
	paths    = "it compares paths as Unix writes them"
)

// underWine has a row for each package with tests: those that are left out under Wine, and why.
var underWine = map[string]map[string]string{
	"cmd/pomerium-cli": {
		"TestScripts/cache": paths, "TestScripts/ssh-config": paths, "TestScripts/check": names, "TestScripts/usage": names,
		"TestScripts/k8s": noShell, "TestScripts/login": noShell, "TestScripts/failures": noSignal, "TestScripts/proxyauth": noSignal,
		"TestScripts/routes": noSignal, "TestScripts/server": noSignal, "TestScripts/signals": noSignal, "TestScripts/signin": noSignal,
		"TestScripts/tcp": noSignal, "TestEdgeCase43_FiveProcesses/cancelled": noSignal,
	},
	"internal/check":     {"TestKnock": noUDP, "TestKnock_Cancelled": noUDP},
	"internal/cli":       {"TestArrows": noGo, "TestQuoteSh": noShell},
	"internal/edge":      {},
	"internal/h2connect": {"TestFlood": slow, "TestPaddingIsCredited": slow},
	"internal/keyring":   {}, // which has none for Windows: it starts, and that is all
	"internal/kubecred":  {},
	"internal/lab":       {"TestH2Ends": noReset},
	"internal/listen":    {"TestServeOutlivesAFailedTunnel": noReset, "TestServeStop": noReset},
	"internal/login":     {},
	"internal/pac":       {},
	"internal/portal":    {},
	"internal/relay": {
		"TestCancel": noReset, "TestStdioCut": noReset, "TestEdgeCase57_ProgramResets": noReset, "TestEdgeCase57_TunnelCut": noReset,
		"TestEdgeCase57_TunnelCutWhileIdle": noReset,
	},
	"internal/sock":     {"TestSourceErrors": noReset, "TestSinkErrors": noReset, "TestEdgeCase57_ResetAfterAllBytes": noReset},
	"internal/swap":     {},
	"internal/sysproxy": {},
	"internal/token":    {},
	"proxy":             {"TestEdgeCase11_Resets/in_the_middle_of_the_head": noReset, "TestDialUDP_SOCKS5": noUDP},
	"tunnel":            {"TestEdgeCase57_DestinationResets": noReset, "TestEdgeCase56_Cut": noReset, "TestEdgeCase61_CutOfASharedStream": noReset},
}

// TestWine runs the tests of each package as a Windows program. No real Windows has run them.
func TestWine(t *testing.T) {
	host, err := world.NewHost("windows", t.TempDir(), map[string]string{"hosts": "127.0.0.1 localhost\n", "resolv.conf": ""})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	root, err := filepath.Abs("..") // the way into a host leads past the working directory
	if err != nil {
		t.Fatal(err)
	}
	wine, err := world.StartWine(t.Context(), host, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wine.Close)
	tests := windowsTests(t)
	for pkg := range underWine {
		if tests[pkg] == "" {
			t.Errorf("%s has a row in underWine, and no test", pkg)
		}
	}
	for pkg, binary := range tests {
		t.Run(pkg, func(t *testing.T) {
			leftOut, ok := underWine[pkg]
			if !ok {
				t.Fatal("no row in underWine")
			}
			t.Parallel()
			var skip []string
			for name, why := range leftOut {
				t.Logf("left out: %s: %s", name, why)
				skip = append(skip, "^"+strings.ReplaceAll(name, "/", "$/^")+"$")
			}
			cmd := wine.Command(limited(t, 4*time.Minute), binary, "-test.timeout=3m", "-test.skip="+strings.Join(skip, "|"))
			cmd.Dir = filepath.Join(root, filepath.FromSlash(pkg))
			said, err := os.Create(binary + ".log") // no pipe: what a test has started may outlive it for a while
			if err != nil {
				t.Fatal(err)
			}
			defer said.Close()
			cmd.Stdout, cmd.Stderr = said, said
			if err = host.Start(cmd); err == nil {
				err = cmd.Wait()
			}
			if err != nil {
				text, _ := os.ReadFile(said.Name())
				t.Errorf("%v\n%s", err, text)
			}
		})
	}
}

// windowsTests builds the tests of each package for Windows.
func windowsTests(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	list := forWindows("list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...")
	packages, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	build := forWindows("test", "-c", "-trimpath", "-overlay", plainDelete(t), "-o", dir+"/", "./...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tests := make(map[string]string)
	for _, p := range strings.Fields(string(packages)) {
		tests[strings.TrimPrefix(p, "github.com/pomerium/pomerium-cli/")] = filepath.Join(dir, path.Base(p)+".test.exe")
	}
	return tests
}

func forWindows(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	return cmd
}

// plainDelete is an overlay for the go command. With it tests delete their files in the way that Go keeps for older Windows:
// Wine 8 answers the newer one with an error after which Go does not try the other. Package testing alone is changed, so that
// what is tested is what is built.
func plainDelete(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, overlay := filepath.Join(dir, "delete.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(string(bytes.TrimSpace(root)), "src", "testing", "delete_windows.go"): source,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{overlay: replace, source: []byte(`package testing

import "internal/syscall/windows"

func init() { windows.TestDeleteatFallback = true }
`)} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return overlay
}

// TestWineProgram runs the program on the user's host as a Windows program: it goes out through real proxies, by its flags and
// by what the registry says.
func TestWineProgram(t *testing.T) {
	dir := t.TempDir()
	exe := filepath.Join(dir, "pomerium-cli.exe")
	if out, err := forWindows("build", "-trimpath", "-o", exe, "./cmd/pomerium-cli").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wine, err := world.StartWine(t.Context(), w.UserHost, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wine.Close)
	run := func(t *testing.T, stdin string, args ...string) (stdout, stderr string) {
		t.Helper()
		oneWay(t)
		var said bytes.Buffer
		cmd := wine.Command(limited(t, patience), exe, args...)
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, strings.NewReader(stdin), &said
		out, err := w.UserHost.Finish(cmd)
		if err != nil {
			t.Errorf("%v\n%s", err, &said)
		}
		return string(out), said.String()
	}
	t.Run("version", func(t *testing.T) {
		if out, _ := run(t, "", "version"); !strings.Contains(out, "windows/amd64") {
			t.Errorf("it says %q", out)
		}
	})
	stdio := append([]string{"--listen", "-"}, goodToken...)
	for _, kind := range []string{"squid", "squid-digest", "squid-tls", "dante-password"} {
		t.Run(kind, func(t *testing.T) {
			if out, _ := run(t, "there and back", arguments(proxy(t, kind), "auto", world.Echo, stdio...)...); out != "there and back" {
				t.Errorf("the echo said %q", out)
			}
		})
	}
	t.Run("registry", func(t *testing.T) {
		const key = `HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings`
		squid := proxy(t, "squid")
		for _, v := range [][3]string{{"ProxyEnable", "REG_DWORD", "1"}, {"ProxyServer", "REG_SZ", "https=" + squid.URL.Host}} {
			if err := wine.Set(t.Context(), key, v[0], v[1], v[2]); err != nil {
				t.Fatal(err)
			}
		}
		if out, _ := run(t, "there and back", system(squid, stdio...)...); out != "there and back" {
			t.Errorf("the echo said %q", out)
		}
	})
}
