package swap_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/swap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names are the files of a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// TestFile: a file that is new and one that is not, in a directory that is made.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "c")
	for _, mode := range []os.FileMode{0o600, 0o644, 0o600} {
		content := "with mode " + mode.String()
		if err := swap.File(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		got, err := swap.Read(path, 100)
		if err != nil || string(got) != content {
			t.Errorf("%q, %v; want %q", got, err, content)
		}
		info, err := os.Stat(path)
		if err != nil || runtime.GOOS != "windows" && info.Mode() != mode {
			t.Errorf("mode %v, %v; want %v", info.Mode(), err, mode)
		}
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	if got := names(t, filepath.Dir(path)); got != "c" {
		t.Errorf("left behind: %s", got)
	}
}

// TestFileFails: what cannot be replaced stays, and nothing is left beside it.
func TestFileFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken", "by") // a directory that is not empty
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := swap.File(filepath.Dir(path), []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if got := names(t, dir); got != "taken" {
		t.Errorf("left behind: %s", got)
	}
	if err := swap.File(filepath.Join(dir, "file", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := swap.File(filepath.Join(dir, "file", "x", "y"), nil, 0o600); err == nil {
		t.Error("a directory was made in place of a file")
	}
}

// TestFileWhole: whoever reads while others write finds one content, whole.
func TestFileWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	contents := []string{strings.Repeat("a", 100_000), strings.Repeat("b", 50_000)}
	if err := swap.File(path, []byte(contents[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for _, content := range contents {
		writers.Go(func() {
			for range 50 {
				if err := swap.File(path, []byte(content), 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		got, err := swap.Read(path, 1<<20)
		if err != nil || string(got) != contents[0] && string(got) != contents[1] {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	writers.Wait()
}
