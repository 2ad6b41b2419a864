package sysproxy

import (
	"errors"
	"io/fs"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// desktop is where the settings of a free desktop are.
type desktop struct {
	getenv    func(string) string
	read      func(path string) (string, error)
	gsettings func() (string, error) // what the program of that name prints
}

// gnomes are the words of XDG_CURRENT_DESKTOP that stand for desktops with
// GNOME's settings.
var gnomes = []string{"GNOME", "Unity", "X-Cinnamon", "Cinnamon", "Pantheon", "Budgie", "MATE"}

// settings asks the desktop that runs, whose word is final. Where none runs that
// we know, as over ssh, the first decides that has anything set.
func (d desktop) settings() (Settings, error) {
	current := d.getenv("XDG_CURRENT_DESKTOP")
	for _, name := range strings.Split(current, ":") {
		ask := d.kde
		if slices.Contains(gnomes, name) {
			ask = d.gnome
		} else if name != "KDE" {
			continue
		}
		s, err := ask()
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		s.Reason = "XDG_CURRENT_DESKTOP is " + current
		return s, err
	}
	for _, ask := range []func() (Settings, error){d.kde, d.gnome, d.environment} {
		s, err := ask()
		if unasked := (*gsettingsError)(nil); errors.As(err, &unasked) {
			continue
		}
		if err != nil || s.saysSomething() {
			s.Reason = "no desktop that we know runs, and these are set"
			return s, err
		}
	}
	return Settings{
		Source: "system settings",
		Reason: "none of KDE settings, GNOME settings and " + environmentFile + " sets anything",
	}, nil
}

func (d desktop) gnome() (Settings, error) {
	output, err := d.gsettings()
	if err != nil {
		return Settings{}, &Error{Setting: gnomeSource, Err: &gsettingsError{err}}
	}
	return parseGSettings(output)
}

// gsettingsError says that the program did not answer.
type gsettingsError struct{ error }

func (e *gsettingsError) Unwrap() error { return e.error }

func (d desktop) kde() (Settings, error) {
	dirs := strings.Split(orElse(d.getenv("XDG_CONFIG_DIRS"), "/etc/xdg"), ":")
	slices.Reverse(dirs) // the first is the most important
	dirs = append(dirs, orElse(d.getenv("XDG_CONFIG_HOME"), d.getenv("HOME")+"/.config"))
	var files []string
	for _, dir := range dirs {
		if !path.IsAbs(dir) {
			continue // as the XDG Base Directory Specification says
		}
		text, err := d.optional(path.Join(dir, "kioslaverc"))
		if err != nil {
			return Settings{}, &Error{Setting: kdeSource, Err: err}
		}
		files = append(files, text)
	}
	return parseKIO(files, d.getenv)
}

func (d desktop) environment() (Settings, error) {
	text, err := d.optional(environmentFile)
	if err != nil {
		return Settings{}, &Error{Setting: environmentFile, Err: err}
	}
	return parseEnvironment(text), nil
}

// optional reads a file that need not be there.
func (d desktop) optional(path string) (string, error) {
	text, err := d.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return text, err
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
