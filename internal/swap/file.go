// Package swap gives a file a new content in one step: whoever reads it, and
// whenever this process is killed, finds the old content or the new one.
package swap

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Prefix is what the names of the temporary files for path begin with. They are
// in its directory, and stay there when the process is killed, until [Sweep].
func Prefix(path string) string { return "." + filepath.Base(path) + "." }

// File writes a content to path, with the given mode, and makes the directory, for
// its owner alone, where there is none. A link at path is replaced. What killed
// processes have left of such a step is swept away.
func File(path string, content []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	Sweep(path)
	tmp, err := os.CreateTemp(dir, Prefix(path)+"*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err == nil && mode != 0o600 {
		err = os.Chmod(tmp.Name(), mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = step(func() error { return os.Rename(tmp.Name(), path) })
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// Read returns what the file at path begins with, limit bytes at most, while
// others give it another content.
func Read(path string, limit int64) ([]byte, error) {
	var f *os.File
	err := step(func() (err error) { f, err = os.Open(path); return err })
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// halfMade is how old a temporary file is when whoever made it will not finish it.
const halfMade = time.Minute

// Sweep removes the temporary files for path that nobody will finish: what is in
// them may be a secret.
func Sweep(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return // the next step will tell
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), Prefix(path)) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > halfMade {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}
