package token

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pomerium/pomerium-cli/internal/swap"
)

// maxSize bounds the size of a token, in bytes: the edge takes no header of more
// than 128 KiB. A file may be larger, where the token in it is sealed.
const (
	maxSize = 128 << 10
	maxFile = 2 * maxSize
)

// load returns what parse finds in the file at path, "" if there is no file.
func load(path string, parse func([]byte) (string, error)) (string, error) {
	content, err := swap.Read(path, maxFile+1) // one more than it may have, to tell
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	token, err := parse(content)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return token, nil
}

// drop removes the file at path if parse finds the given token in it.
func drop(path, token string, parse func([]byte) (string, error)) error {
	if kept, err := load(path, parse); err != nil || kept == "" || kept != token {
		return err
	}
	return dropAside(path, token, parse)
}

// dropAside takes the file aside before it deletes it, and puts it back if it
// turns out to be a newer one that arrived between our look and our hand.
func dropAside(path, token string, parse func([]byte) (string, error)) error {
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
	if kept, err := load(aside, parse); err == nil && kept != token {
		// A link does not replace what a third process may have put there.
		if err := os.Link(aside, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return errors.Join(err, os.Remove(aside))
		}
	}
	return os.Remove(aside)
}

// asideName makes an empty file beside path, for its owner alone.
func asideName(path string) (string, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), swap.Prefix(path)+"*")
	if err != nil {
		return "", err
	}
	return tmp.Name(), tmp.Close()
}

// Forget drops what File and Sealed keep for key in dir, and reports whether there
// was anything. It looks into no file and asks no keyring: what is broken goes as well.
func Forget(dir, key string) (was bool, err error) {
	for _, ending := range []string{fileEnding, sealedEnding} {
		path := filepath.Join(dir, fileName(key)+ending)
		swap.Sweep(path)
		gone := os.Remove(path)
		if was = was || gone == nil; gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return was, err
}

// clearDir removes the files of a directory whose names end so, and those that
// were to become such files.
func clearDir(dir, ending string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ending) || strings.HasPrefix(name, ".") && strings.Contains(name, ending+".") {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}
