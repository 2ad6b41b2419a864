//go:build !windows && !darwin

package sysproxy_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

// TestRead reads through a program and files, as they are found on this system.
func TestRead(t *testing.T) {
	const print = "cat <<'X'\n"
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, c := range []struct {
		name    string
		ctx     context.Context
		desktop string
		program string // gsettings; "": none
		file    string // kioslaverc; "": none
		want    string // how the story begins
	}{
		{"no end", short, "GNOME", "exec sleep 60", "", "error: GNOME settings: running gsettings: context deadline exceeded"},
		{"GNOME", t.Context(), "GNOME", print + gsettings(" mode 'manual'", ".https host 'p.test'") + "X", "", "GNOME settings; https: http://p.test"},
		{"which schema", t.Context(), "GNOME", `echo "$* mode 'x'" | sed 's/^list-recursively //'`, "", `error: mode in GNOME settings: "x"`},
		{"no schema", t.Context(), "GNOME", "echo 'No such schema' >&2\nexit 1", "", `error: GNOME settings: running gsettings: exit status 1: "No such schema"`},
		{"KDE", t.Context(), "KDE", "exit 1", "[Proxy Settings]\nProxyType=1\nhttpsProxy=http://k.test 1\n", "KDE settings; https: http://k.test:1"},
		{"KDE, without its file", t.Context(), "KDE", "exit 1", "", "KDE settings"},
		{"a file without end", t.Context(), "KDE", "", strings.Repeat("#", 1<<20+1), "error: KDE settings: reading "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir+":/usr/bin:/bin")
			write := func(name, text string, mode os.FileMode) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
			if c.program != "" {
				write("gsettings", "#!/bin/sh\n"+c.program+"\n", 0o700)
			}
			if c.file != "" {
				write("kioslaverc", c.file, 0o600)
			}
			env := map[string]string{"XDG_CURRENT_DESKTOP": c.desktop, "XDG_CONFIG_HOME": dir, "XDG_CONFIG_DIRS": dir}
			s, err := sysproxy.Read(c.ctx, func(name string) string { return env[name] })
			if got := story(s, err); !strings.HasPrefix(got, c.want) {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			if unclear := (*sysproxy.Error)(nil); err != nil && !errors.As(err, &unclear) {
				t.Errorf("%v is no *Error", err)
			}
		})
	}
}
