//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Domain is the NetBIOS name under which Samba, a standalone server, keeps User and Password.
const Domain = "E2EHOST"

const sambaConfig = `[global]
workgroup = E2EDOM
netbios name = ` + Domain + `
server role = standalone
passdb backend = tdbsam
private dir = %[1]s/private
lock directory = %[1]s/lock
state directory = %[1]s/state
cache directory = %[1]s/cache
pid directory = %[1]s/pid
ncalrpc dir = %[1]s/ncalrpc
log file = %[1]s/log
interfaces = lo
bind interfaces only = yes
disable netbios = yes
ntlm auth = ntlmv2-only
log level = 3
`

func (w *World) sambaDir() string { return filepath.Join(w.ProxyHost.dir, "samba") }

func (w *World) sambaConf() string { return filepath.Join(w.sambaDir(), "smb.conf") }

// ntlmAuth is Samba's helper for squid, which asks winbindd.
func (w *World) ntlmAuth(protocol string) string {
	return "program /usr/bin/ntlm_auth --configfile=" + w.sambaConf() + " --helper-protocol=" + protocol + "\n"
}

// startSamba starts winbindd, which judges NTLM.
func (w *World) startSamba(ctx context.Context) error {
	dir, conf := w.sambaDir(), w.sambaConf()
	// Where winbindd's socket is cannot be said to the helper: the host gets a place of its own.
	for _, name := range []string{"private", "lock", "state", "cache", "pid", "ncalrpc", "/run/samba"} {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if err := os.MkdirAll(name, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(conf, fmt.Appendf(nil, sambaConfig, dir), 0o644); err != nil {
		return err
	}
	if _, err := w.ProxyHost.Run(ctx, "mount", "-t", "tmpfs", "tmpfs", "/run/samba"); err != nil {
		return err
	}
	if err := w.sambaUser(ctx, conf); err != nil {
		return err
	}
	return w.startWinbind(ctx, conf, dir)
}

func (w *World) sambaUser(ctx context.Context, conf string) error {
	cmd := exec.CommandContext(ctx, "smbpasswd", "-c", conf, "-a", "-s", User)
	cmd.Stdin = strings.NewReader(Password + "\n" + Password + "\n")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	err := w.ProxyHost.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("smbpasswd: %w\n%s", err, said.String())
	}
	return nil
}

// startWinbind waits until the password is judged, and lets squid's user ask.
func (w *World) startWinbind(ctx context.Context, conf, dir string) error {
	p, err := w.ProxyHost.Launch(ctx, "winbindd", "", command("winbindd", "-s", conf, "--foreground", "--no-process-group"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := w.ProxyHost.Run(ctx, "ntlm_auth", "--configfile="+conf, "--username="+User, "--domain="+Domain, "--password="+Password)
		if err == nil {
			_, err := w.ProxyHost.Run(ctx, "chgrp", "proxy", filepath.Join(dir, "state", "winbindd_privileged"))
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("starting winbindd: %w\n%s", err, p.Tail())
		}
	}
}
