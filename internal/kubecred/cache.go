package kubecred

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pomerium/pomerium-cli/internal/swap"
)

// keptFor is what a file says of its validity, for the existing client, which
// believes it and asks nobody.
const keptFor = time.Hour

// maxFile bounds a file, in bytes: the edge takes no token of more than 128 KiB.
const maxFile = 256 << 10

// Cache is the existing client's directory of credentials: one file for each URL
// of an API server, as it was written on the command line. Both programs read
// what the other wrote.
type Cache struct {
	Dir string // made with mode 0700 when a credential is saved
}

// Load returns the token kept for a URL, or "". Whatever the file says of its
// validity, the edge decides. A file that cannot be read as a credential counts as none.
func (c Cache) Load(url string) (string, error) {
	data, err := swap.Read(c.path(url), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return tokenIn(data), err
}

// tokenIn finds the token in a kept credential.
func tokenIn(data []byte) string {
	var kept credential
	if json.Unmarshal(data, &kept) != nil || kept.Status == nil {
		return ""
	}
	token, ok := strings.CutPrefix(kept.Status.Token, Prefix)
	if !ok || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return token
}

// Save keeps a token for a URL, for its owner alone.
func (c Cache) Save(url, token string) error {
	until := time.Now().Add(keptFor).UTC().Format(time.RFC3339)
	data, _ := json.Marshal(credential{kind, group + "v1beta1", &status{Expiration: until, Token: Prefix + token}}) // strings: cannot fail
	return swap.File(c.path(url), append(data, '\n'), 0o600)
}

// Delete drops the token kept for a URL, if it still is the given one.
func (c Cache) Delete(url, token string) error {
	if kept, err := c.Load(url); err != nil || kept != token {
		return err
	}
	return c.Remove(url)
}

// Remove drops whatever is kept for a URL.
func (c Cache) Remove(url string) error {
	if err := os.Remove(c.path(url)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Forget drops the credentials that have a token, of whatever URL: nobody but
// their owner knows by which names one server is called.
func (c Cache) Forget(token string) error {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) || token == "" {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(c.Dir, e.Name())
		data, rerr := swap.Read(path, maxFile)
		if rerr == nil && tokenIn(data) == token {
			rerr = os.Remove(path)
		}
		if !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// Clear drops all of it.
func (c Cache) Clear() error { return os.RemoveAll(c.Dir) }

// path is the existing client's name for it.
func (c Cache) path(url string) string {
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(c.Dir, hex.EncodeToString(sum[:])+".json")
}
