package token

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pomerium/pomerium-cli/internal/swap"
)

// File keeps each token in a file of its own, readable by its owner alone,
// under the name and with the content that the existing client gives it. It is
// safe for concurrent use, by several processes too: a file is replaced in one
// step, so that a reader sees the old token or the new one.
type File struct {
	Dir string // made with mode 0700 when a token is saved; see DefaultDir
}

// fileEnding is what the names of File's files end with.
const fileEnding = ".jwt"

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
func (f File) Load(_ context.Context, key string) (string, error) {
	token, err := load(f.path(key), parse)
	if err != nil {
		return "", fmt.Errorf("reading token: %w", err)
	}
	return token, nil
}

// Save keeps token for key, in place of the one that was there.
func (f File) Save(_ context.Context, key, token string) error {
	if !valid(token) {
		return fmt.Errorf("saving token: %w", errNotToken)
	}
	if err := swap.File(f.path(key), []byte(token), 0o600); err != nil {
		return fmt.Errorf("saving token: %w", err)
	}
	return nil
}

// Delete drops the token of key if it still is the given one: another process
// may have saved a better one meanwhile.
func (f File) Delete(_ context.Context, key, token string) error {
	if err := drop(f.path(key), token, parse); err != nil {
		return fmt.Errorf("dropping token: %w", err)
	}
	return nil
}

// Clear drops the tokens of all edges.
func (f File) Clear(context.Context) error {
	if err := clearDir(f.Dir, fileEnding); err != nil {
		return fmt.Errorf("dropping tokens: %w", err)
	}
	return nil
}

func (f File) path(key string) string {
	return filepath.Join(f.Dir, fileName(key)+fileEnding)
}

// errNotToken says that a file holds something else than one token.
var errNotToken = errors.New("holds no token")

// parse finds the token in a file's content.
func parse(content []byte) (string, error) {
	token := strings.TrimSpace(string(content)) // an editor adds a line end
	if !valid(token) {
		return "", errNotToken
	}
	return token, nil
}

// valid reports whether s could travel in a header as one word.
func valid(s string) bool {
	return s != "" && len(s) <= maxSize &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
