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

// Whatever is the first to make the directory: others can neither read what is in
// it nor see what it is called.
func TestModes(t *testing.T) {
	for name, makes := range map[string]func(t *testing.T, dir string){
		"file": func(t *testing.T, dir string) { must(t, token.File{Dir: dir}.Save(t.Context(), key, "abc")) },
		"sealed": func(t *testing.T, dir string) {
			must(t, (&token.Sealed{Dir: dir, Ring: new(ring)}).Save(t.Context(), key, "abc"))
		},
		"turn": func(t *testing.T, dir string) {
			turn := <-newProcess(dir).take(t.Context())
			must(t, turn.err)
			turn.done(nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pomerium-cli", "jwts")
			makes(t, dir)
			want := map[string]os.FileMode{dir: 0o700, filepath.Dir(dir): 0o700}
			for _, file := range list(t, dir) {
				want[filepath.Join(dir, file)] = 0o600
			}
			for path, mode := range want {
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
					t.Errorf("%s: %v, %v", path, info.Mode(), err)
				}
			}
		})
	}
}

func TestFileModeIsMended(t *testing.T) {
	f := token.File{Dir: t.TempDir()}
	must(t, f.Save(t.Context(), key, "abc"))
	path := filepath.Join(f.Dir, list(t, f.Dir)[0])
	must(t, os.Chmod(path, 0o644))
	must(t, f.Save(t.Context(), key, "def"))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
}
