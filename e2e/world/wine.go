//go:build linux

package world

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Wine stands in for Windows on a host: a registry and a drive C: of its own, without a screen.
type Wine struct {
	Env []string // with which Windows programs run

	host *Host
}

// StartWine sets one up, with its files, some 700 MB, below dir.
func StartWine(ctx context.Context, host *Host, dir string) (*Wine, error) {
	server, err := Program("wineserver64")
	if err != nil {
		return nil, err
	}
	prefix := filepath.Join(dir, "wine")
	w := &Wine{host: host, Env: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8", "WINEPREFIX=" + prefix, "WINESERVER=" + server,
		"WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml,winemenubuilder.exe=", // no .NET, no browser, no desktop
	}}
	if _, err := host.Finish(w.Command(ctx, "wineboot", "--init")); err != nil {
		return nil, err
	}
	return w, os.WriteFile(filepath.Join(prefix, "drive_c/windows/system32/bcryptprimitives.dll"), bcryptprimitives(), 0o644)
}

// Command is exec.CommandContext for a Windows program. It is to be started on Wine's host.
func (w *Wine) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	loader, err := Program("wine64")
	if err != nil {
		loader = "wine64" // Ensure has told, and so will the start
	}
	cmd := exec.CommandContext(ctx, loader, append([]string{program}, args...)...)
	cmd.Env = slices.Clone(w.Env)
	return cmd
}

// Set writes a value of the registry, of a type such as REG_SZ.
func (w *Wine) Set(ctx context.Context, key, name, kind, value string) error {
	_, err := w.host.Finish(w.Command(ctx, "reg", "add", key, "/v", name, "/t", kind, "/d", value, "/f"))
	return err
}

// Close ends what still runs in it, and waits until that is over.
func (w *Wine) Close() {
	for _, arg := range []string{"--kill", "--wait"} {
		cmd := command("wineserver64", arg)
		cmd.Env = w.Env
		w.host.Finish(cmd) // an error means that nothing runs any more
	}
}
