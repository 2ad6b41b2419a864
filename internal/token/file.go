package token

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxSize bounds the size of a token file, in bytes. The edge takes no header
// of more than 128 KiB.
const maxSize = 128 << 10

// errNotToken says that a file holds something else than one token.
var errNotToken = errors.New("holds no token")

// File keeps each token in a file of its own, readable by its owner alone,
// under the name and with the content that the existing client gives it. It is
// safe for concurrent use, by several processes too: a file is replaced in one
// step, so that a reader sees the old token or the new one.
type File struct {
	Dir string // made with mode 0700 when a token is saved; see DefaultDir
}

// DefaultDir returns the directory in which the existing client keeps its
// tokens: pomerium-cli/jwts in the user's cache directory.
func DefaultDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the token directory: %w", err)
	}
	return filepath.Join(dir, "pomerium-cli", "jwts"), nil
}

// Load returns the token kept for key. It returns "" without an error if there
// is none, and with one if the file cannot be read or holds something else; a
// Save repairs it.
func (f File) Load(key string) (string, error) {
	token, err := read(f.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading token: %w", err)
	}
	return token, nil
}

// Save keeps token for key, in place of the one that was there.
func (f File) Save(key, token string) error {
	if !valid(token) {
		return fmt.Errorf("saving token: %w", errNotToken)
	}
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return fmt.Errorf("saving token: %w", err)
	}
	if err := write(f.path(key), token); err != nil {
		return fmt.Errorf("saving token: %w", err)
	}
	return nil
}

// Delete drops the token of key if it still is the given one: another process
// may have saved a better one meanwhile.
func (f File) Delete(key, token string) error {
	path := f.path(key)
	kept, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dropping token: %w", err)
	}
	if kept != token {
		return nil
	}
	if err := remove(path, token); err != nil {
		return fmt.Errorf("dropping token: %w", err)
	}
	return nil
}

func (f File) path(key string) string {
	return filepath.Join(f.Dir, fileName(key))
}

// remove takes the file aside before it deletes it, and puts it back if it
// turns out to be a newer one that arrived between our look and our hand.
func remove(path, token string) error {
	aside, err := asideName(path)
	if err != nil {
		return err
	}
	if err := os.Rename(path, aside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return os.Remove(aside)
		}
		return errors.Join(err, os.Remove(aside))
	}
	if kept, err := read(aside); err == nil && kept != token {
		// A link does not replace what a third process may have put there.
		if err := os.Link(aside, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return errors.Join(err, os.Remove(aside))
		}
	}
	return os.Remove(aside)
}

// asideName makes an empty file beside path, for its owner alone.
func asideName(path string) (string, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	return tmp.Name(), tmp.Close()
}

// write replaces the file at path in one step.
func write(path, token string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = io.WriteString(tmp, token)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// read returns the token in the file at path.
func read(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b)) // an editor adds a line end
	if !valid(token) {
		return "", fmt.Errorf("%s %w", path, errNotToken)
	}
	return token, nil
}

// valid reports whether s could travel in a header as one word.
func valid(s string) bool {
	return s != "" && len(s) <= maxSize &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
