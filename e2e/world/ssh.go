//go:build linux

package world

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// The host key is known, so that a client that got somewhere else would say so.
const sshdConfig = `ListenAddress %[2]s
Port 22
HostKey %[1]s/host_key
AuthorizedKeysFile %[1]s/user_key.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
PidFile none
MaxStartups 100
Subsystem sftp internal-sftp
`

const sshConfig = `IdentityFile %[1]s/user_key
IdentitiesOnly yes
UserKnownHostsFile %[1]s/known_hosts
StrictHostKeyChecking yes
BatchMode yes
User root
`

// StartSSH starts a server behind the route SSH, and returns the configuration file with which a client is let in as root.
func (w *World) StartSSH(ctx context.Context) (config string, err error) {
	dir := filepath.Join(w.EdgeHost.dir, "ssh")
	_, err = w.once("sshd", func() (*Process, error) { return sshd(ctx, w.EdgeHost, "127.0.0.1", dir) })
	return filepath.Join(dir, "ssh_config"), err
}

// startSSHSOCKS starts a client on the user's host that is a SOCKS5 proxy there, and leads to the proxies' host.
func startSSHSOCKS(ctx context.Context, w *World) (*Process, error) {
	dir := filepath.Join(w.ProxyHost.dir, "ssh")
	if _, err := sshd(ctx, w.ProxyHost, proxyAddr, dir); err != nil {
		return nil, err
	}
	cmd := command("ssh", "-F", filepath.Join(dir, "ssh_config"), "-o", "HostKeyAlias=ssh.test", "-N", "-D", "127.0.0.1:1085", proxyAddr)
	return w.UserHost.Launch(ctx, "ssh-socks", "127.0.0.1:1085", cmd)
}

// sshd starts a server on a host; its files, and a client's, are in dir.
func sshd(ctx context.Context, h *Host, addr, dir string) (*Process, error) {
	for _, d := range []string{dir, "/run/sshd"} { // the server wants the second one to exist, and keeps nothing there
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{"host_key", "user_key"} {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("making %s: %w\n%s", key, err, out)
		}
	}
	hostKey, err := os.ReadFile(filepath.Join(dir, "host_key.pub"))
	if err != nil {
		return nil, err
	}
	for file, content := range map[string]string{
		"sshd_config": fmt.Sprintf(sshdConfig, dir, addr),
		"ssh_config":  fmt.Sprintf(sshConfig, dir),
		"known_hosts": "ssh.test " + string(hostKey),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return h.Launch(ctx, "sshd", net.JoinHostPort(addr, "22"), command("sshd", "-D", "-e", "-f", filepath.Join(dir, "sshd_config")))
}
