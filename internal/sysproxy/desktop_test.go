package sysproxy_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
)

// TestDesktop: who is asked, and what is there when nobody is known.
func TestDesktop(t *testing.T) {
	const kde, noKDE = "[Proxy Settings]\nProxyType=1\nhttpsProxy=http://kde.test 1\n", "[Proxy Settings]\nProxyType=0\n"
	gnome, noGNOME := gsettings(" mode 'manual'", ".https host 'gnome.test'", ".https port 1"), gsettings()
	const etc = "https_proxy=http://etc.test:1\n"
	const known = "XDG_CURRENT_DESKTOP is "
	const unknown = "no desktop that we know runs, and these are set"
	notThere := fmt.Errorf("running gsettings: %w", &exec.Error{Name: "gsettings", Err: exec.ErrNotFound})
	noSchema := errors.New("running gsettings: exit status 1: No such schema")
	for _, c := range []struct {
		name, current   string
		kde, gnome, etc string
		err             error // of gsettings
		want, reason    string
	}{
		{"KDE", "KDE", kde, gnome, etc, nil, "KDE settings; https: http://kde.test:1 (httpsProxy in KDE settings)", known + "KDE"},
		{"KDE says none", "KDE", noKDE, gnome, etc, nil, "KDE settings", known + "KDE"},
		{"KDE was never asked", "KDE", "", gnome, etc, nil, "KDE settings", known + "KDE"},
		{"GNOME", "ubuntu:GNOME", kde, gnome, etc, nil, "GNOME settings; https: http://gnome.test:1 (https host in GNOME settings)", known + "ubuntu:GNOME"},
		{"GNOME says none", "GNOME", kde, noGNOME, etc, nil, "GNOME settings", known + "GNOME"},
		{"Cinnamon", "X-Cinnamon", "", gnome, "", nil, "GNOME settings; https: http://gnome.test:1 (https host in GNOME settings)", known + "X-Cinnamon"},
		{"GNOME without its program", "GNOME", "", "", etc, notThere, "/etc/environment; https_proxy=http://etc.test:1", unknown},
		{"GNOME that does not answer", "GNOME", kde, "", etc, noSchema, "error: GNOME settings: running gsettings: exit status 1: No such schema", ""},
		{"GNOME that talks nonsense", "GNOME", kde, "nonsense", etc, nil, `error: mode in GNOME settings: "" is none of none, manual and auto`, ""},
		{"no desktop, KDE is there", "", kde, gnome, etc, nil, "KDE settings; https: http://kde.test:1 (httpsProxy in KDE settings)", unknown},
		{"another desktop, GNOME is there", "XFCE", noKDE, gnome, etc, nil, "GNOME settings; https: http://gnome.test:1 (https host in GNOME settings)", unknown},
		{"no desktop, the file is there", "", "", noGNOME, etc, nil, "/etc/environment; https_proxy=http://etc.test:1", unknown},
		{"no desktop, no schema", "", "", "", etc, noSchema, "/etc/environment; https_proxy=http://etc.test:1", unknown},
		{"nothing at all", "", "", "", "", notThere, "system settings", "none of KDE settings, GNOME settings and /etc/environment sets anything"},
		{"no desktop, and nonsense", "", "[Proxy Settings]\nProxyType=x\n", gnome, etc, nil, `error: ProxyType in KDE settings: "x" is none of 0 to 4`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"/c/kioslaverc": c.kde, "/etc/environment": c.etc}
			s, err := sysproxy.Desktop(
				func(name string) string {
					return map[string]string{"XDG_CURRENT_DESKTOP": c.current, "XDG_CONFIG_HOME": "/c"}[name]
				},
				func(path string) (string, error) {
					if files[path] == "" {
						return "", fs.ErrNotExist
					}
					return files[path], nil
				},
				func() (string, error) { return c.gnome, c.err },
			)
			if got := story(s, err); got != c.want || err == nil && s.Reason != c.reason {
				t.Errorf("\n got %s (%s)\nwant %s (%s)", got, s.Reason, c.want, c.reason)
			}
		})
	}
}

// TestDesktopFiles: where KDE's files are, the user's last; one that cannot be
// read is an error.
func TestDesktopFiles(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want []string
	}{
		{map[string]string{"HOME": "/home/u"}, []string{"/etc/xdg/kioslaverc", "/home/u/.config/kioslaverc"}},
		{map[string]string{"HOME": "/home/u", "XDG_CONFIG_HOME": "/c", "XDG_CONFIG_DIRS": "/a:relative:/b"},
			[]string{"/b/kioslaverc", "/a/kioslaverc", "/c/kioslaverc"}},
	} {
		var got []string
		getenv := func(name string) string {
			if name == "XDG_CURRENT_DESKTOP" {
				return "KDE"
			}
			return c.env[name]
		}
		read := func(path string) (string, error) {
			got = append(got, path)
			return "", fs.ErrNotExist
		}
		if _, err := sysproxy.Desktop(getenv, read, nil); err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: read %v, want %v (%v)", c.env, got, c.want, err)
		}
		denied := func(string) (string, error) { return "", fs.ErrPermission }
		if _, err := sysproxy.Desktop(getenv, denied, nil); !errors.Is(err, fs.ErrPermission) || !errors.As(err, new(*sysproxy.Error)) {
			t.Errorf("cannot be read: %v", err)
		}
	}
}
