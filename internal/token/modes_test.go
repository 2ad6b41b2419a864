//go:build unix

// Modes say nothing on Windows, where a file inherits the access list of the
// user's profile.

package token_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/token"
)

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pomerium-cli", "jwts")
	f := token.File{Dir: dir}
	must(t, f.Save(t.Context(), key, "abc"))
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	path := filepath.Join(dir, list(t, dir)[0])
	must(t, os.Chmod(path, 0o644))
	must(t, f.Save(t.Context(), key, "def"))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
}
