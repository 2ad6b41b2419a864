//go:build linux

package world

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Keyring is a session bus with a GNOME Keyring that is unlocked, as after logging on to a desktop.
type Keyring struct {
	Env []string // with which the user's programs find it

	processes []*Process
}

// StartKeyring starts one on the user's host, with its files below dir.
func (w *World) StartKeyring(ctx context.Context, dir string) (*Keyring, error) {
	bus := filepath.Join(dir, "bus")
	k := &Keyring{Env: []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + bus, "XDG_RUNTIME_DIR=" + dir}}
	start := func(name string, stdin string, args ...string) error {
		cmd := command(name, args...)
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, k.Env...)
		cmd.Stdin = strings.NewReader(stdin)
		p, err := w.UserHost.Launch(ctx, name, "", cmd)
		if err == nil {
			k.processes = append(k.processes, p)
		}
		return err
	}
	if err := start("dbus-daemon", "", "--session", "--nofork", "--nopidfile", "--address=unix:path="+bus); err != nil {
		return nil, err
	}
	if err := await(ctx, func() error {
		conn, err := net.Dial("unix", bus)
		if err == nil {
			conn.Close()
		}
		return err
	}); err != nil {
		k.Close()
		return nil, fmt.Errorf("starting the session bus: %w", err)
	}
	if err := start("gnome-keyring-daemon", "the keyring's own", "--unlock", "--foreground", "--components=secrets"); err != nil {
		k.Close()
		return nil, err
	}
	if err := await(ctx, func() error { return k.Put(ctx, w, "ready", "yes") }); err != nil {
		k.Close()
		return nil, fmt.Errorf("starting the keyring: %w", err)
	}
	return k, nil
}

// Put keeps a secret for the program by other means than its own.
func (k *Keyring) Put(ctx context.Context, w *World, key, secret string) error {
	return k.tool(ctx, w, secret, "store", "--label", "e2e", "service", "pomerium-cli", "username", key)
}

// Remove deletes it.
func (k *Keyring) Remove(ctx context.Context, w *World, key string) error {
	return k.tool(ctx, w, "", "clear", "service", "pomerium-cli", "username", key)
}

// Lock locks the keyring, as when the desktop's user goes away.
func (k *Keyring) Lock(ctx context.Context, w *World) error {
	return k.run(ctx, w, "", "gdbus", "call", "--session", "--dest", "org.freedesktop.secrets", "--object-path", "/org/freedesktop/secrets",
		"--method", "org.freedesktop.Secret.Service.Lock", "['/org/freedesktop/secrets/aliases/default']")
}

func (k *Keyring) tool(ctx context.Context, w *World, stdin string, args ...string) error {
	return k.run(ctx, w, stdin, "secret-tool", args...)
}

// run runs a program of the session to its end.
func (k *Keyring) run(ctx context.Context, w *World, stdin, name string, args ...string) error {
	cmd := command(name, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, k.Env...)
	cmd.Stdin = strings.NewReader(stdin)
	p, err := w.UserHost.Launch(ctx, name, "", cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s %s: %s\n%s", name, args[0], p.cmd.ProcessState, p.Tail())
	}
	return nil
}

// Close ends the session.
func (k *Keyring) Close() {
	for i := range k.processes {
		k.processes[len(k.processes)-1-i].Stop()
	}
}

// await tries until it succeeds.
func await(ctx context.Context, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
