//go:build !windows && !darwin

package sysproxy

import (
	"context"
	"fmt"
	"io"
	"os"
)

// maxFile bounds a file of settings, in bytes.
const maxFile = 1 << 20

// Read reads the settings as they are now: those of KDE or GNOME if
// XDG_CURRENT_DESKTOP names one of them; else of the first of KDE, GNOME and
// /etc/environment that has anything set. GNOME's are asked of the program
// gsettings, which may take 5 s; without it they are left out. An error is an
// [*Error].
func Read(ctx context.Context, getenv func(string) string) (Settings, error) {
	return desktop{
		getenv: getenv,
		read:   readFile,
		gsettings: func() (string, error) {
			return printed(ctx, "gsettings", "list-recursively", gnomeSchema)
		},
	}.settings()
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if len(text) > maxFile {
		err = fmt.Errorf("reading %s: longer than %d bytes", path, maxFile)
	}
	return string(text), err
}
