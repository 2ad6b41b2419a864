package token_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "edge.test:8443|true"

type store interface {
	Load(ctx context.Context, key string) (string, error)
	Save(ctx context.Context, key, token string) error
	Delete(ctx context.Context, key, token string) error
	Clear(ctx context.Context) error
}

func TestKey(t *testing.T) {
	for raw, want := range map[string]string{
		"https://pomerium.example.com:443": "pomerium.example.com:443|true",
		"https://pomerium.example.com":     "pomerium.example.com:443|true",
		"https://edge.test:8443":           "edge.test:8443|true",
		"http://edge.test":                 "edge.test:80|false",
		"http://edge.test:8080":            "edge.test:8080|false",
		"https://[2001:db8::1]":            "[2001:db8::1]:443|true",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := token.Key(u); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

// The names that the existing client gives its files (PROTOCOL.md section 13),
// and one whose digest begins with a zero byte.
func TestFileNames(t *testing.T) {
	for key, want := range map[string]string{
		"edge.test:8443|true":           "4OEF8VGWYKUY7G8XYRO00EUAEZGXOIAVIEJU4SOREAZN7RBL8M.jwt",
		"pomerium.example.com:443|true": "JIPTNFAE6G99W3U0C4D4J49HQGZB6441TH7XUF82NG0BDSVLS.jwt",
		"edge150.test:443|true":         "0HK7XGQ59SH5Q8ILM2BC4NK9UI2KQLHP5NQ8F9LO07GMFYM5L.jwt",
	} {
		dir := t.TempDir()
		if err := (token.File{Dir: dir}).Save(t.Context(), key, "abc"); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, want)); err != nil || string(b) != "abc" {
			t.Errorf("%s: %q, %v; the directory has %v", key, b, err, list(t, dir))
		}
	}
}

// Both stores, the same behaviour.
func TestStores(t *testing.T) {
	for name, s := range map[string]store{
		"file":   token.File{Dir: filepath.Join(t.TempDir(), "a", "b")},
		"memory": new(token.Memory),
		"sealed": sealed(t),
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, s, key, "")
			must(t, s.Delete(t.Context(), key, "none"))
			must(t, s.Save(t.Context(), key, "one"))
			must(t, s.Save(t.Context(), "other|true", "else"))
			expect(t, s, key, "one")
			must(t, s.Save(t.Context(), key, "two"))
			expect(t, s, key, "two")
			must(t, s.Delete(t.Context(), key, "two"))
			expect(t, s, key, "")
			expect(t, s, "other|true", "else")
			must(t, s.Delete(t.Context(), "other|true", "")) // none was sent, so none was refused
			expect(t, s, "other|true", "else")
			must(t, s.Save(t.Context(), key, "one"))
			must(t, s.Clear(t.Context()))
			expect(t, s, key, "")
			expect(t, s, "other|true", "")
		})
	}
}

// Only the token that the edge refused is dropped, never a newer one.
func TestEdgeCase42_DeleteSparesANewerToken(t *testing.T) {
	for name, s := range map[string]store{
		"file":   token.File{Dir: t.TempDir()},
		"memory": new(token.Memory),
		"sealed": sealed(t),
	} {
		t.Run(name, func(t *testing.T) {
			must(t, s.Save(t.Context(), key, "newer"))
			must(t, s.Delete(t.Context(), key, "refused"))
			expect(t, s, key, "newer")
		})
	}
}

// A token that is saved while another process drops the old one survives.
func TestEdgeCase42_DeleteAgainstSave(t *testing.T) {
	f := token.File{Dir: t.TempDir()}
	for i := range 200 {
		old, fresh := "old"+strconv.Itoa(i), "new"+strconv.Itoa(i)
		must(t, f.Save(t.Context(), key, old))
		var both sync.WaitGroup
		both.Go(func() {
			if err := f.Delete(t.Context(), key, old); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := f.Save(t.Context(), key, fresh); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		expect(t, f, key, fresh)
	}
	if files := list(t, f.Dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// What is in the way of a token is told, shown to nobody, and repaired by the
// next Save.
func TestBrokenFile(t *testing.T) {
	for name, content := range map[string]string{
		"empty":      "",
		"blank":      " \n",
		"two words":  "canary canary",
		"binary":     "\x00\x01\x02canary",
		"not ASCII":  "canaryé",
		"far larger": strings.Repeat("canary", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			f := token.File{Dir: t.TempDir()}
			must(t, f.Save(t.Context(), key, "abc"))
			path := filepath.Join(f.Dir, list(t, f.Dir)[0])
			must(t, os.WriteFile(path, []byte(content), 0o600))
			got, err := f.Load(t.Context(), key)
			if got != "" || err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %q, %v", got, err)
			}
			if err := f.Delete(t.Context(), key, "abc"); err == nil {
				t.Error("Delete said nothing")
			}
			must(t, f.Save(t.Context(), key, "def"))
			expect(t, f, key, "def")
		})
	}
}

// Forget takes what is there for one edge, whoever kept it and whatever it is.
func TestForget(t *testing.T) {
	dir := t.TempDir()
	f := token.File{Dir: dir}
	s := &token.Sealed{Dir: dir, Ring: &ring{secrets: map[string]string{"token key": strings.Repeat("A", 43)}}}
	for name, prepare := range map[string]func() error{
		"file":   func() error { return f.Save(t.Context(), key, "abc") },
		"sealed": func() error { return s.Save(t.Context(), key, "abc") },
		"broken": func() error {
			must(t, f.Save(t.Context(), key, "abc"))
			return os.WriteFile(filepath.Join(dir, list(t, dir)[0]), []byte("a b"), 0o600)
		},
		"nothing": func() error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			must(t, prepare())
			must(t, s.Save(t.Context(), "other|true", "else"))
			was, err := token.Forget(dir, key)
			if was != (name != "nothing") || err != nil {
				t.Errorf("got %v, %v", was, err)
			}
			if files := list(t, dir); len(files) != 1 {
				t.Errorf("left: %v", files)
			}
			must(t, s.Clear(t.Context()))
		})
	}
}

func TestFileEndsWithANewline(t *testing.T) {
	f := token.File{Dir: t.TempDir()}
	must(t, f.Save(t.Context(), key, "abc"))
	must(t, os.WriteFile(filepath.Join(f.Dir, list(t, f.Dir)[0]), []byte("def\r\n"), 0o600))
	expect(t, f, key, "def")
}

// No directory can be made under a file, even by root.
func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	f := token.File{Dir: filepath.Join(file, "jwts")}
	if err := f.Save(t.Context(), key, "canary"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("Save: %v", err)
	}
	if got, _ := f.Load(t.Context(), key); got != "" {
		t.Errorf("Load: %q", got)
	}
}

func TestSaveRefusesWhatIsNoToken(t *testing.T) {
	for _, s := range []store{token.File{Dir: t.TempDir()}, sealed(t)} {
		must(t, s.Save(t.Context(), key, "abc"))
		for _, bad := range []string{"", "a b", "a\nb"} {
			if err := s.Save(t.Context(), key, bad); err == nil {
				t.Errorf("%q was saved", bad)
			}
		}
		expect(t, s, key, "abc")
	}
}

// A failed replacement leaves neither half a file nor a temporary one.
func TestFailedSaveLeavesNothing(t *testing.T) {
	f := token.File{Dir: t.TempDir()}
	must(t, f.Save(t.Context(), key, "abc"))
	path := filepath.Join(f.Dir, list(t, f.Dir)[0])
	must(t, os.Remove(path))
	must(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o700)) // no rename replaces it
	if err := f.Save(t.Context(), key, "def"); err == nil {
		t.Error("saved over a directory")
	}
	if files := list(t, f.Dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// What cannot be dropped is an error: nobody is to believe that it is gone.
func TestNotDropped(t *testing.T) {
	for name, keep := range map[string]func(t *testing.T, dir string) error{
		"file": func(t *testing.T, dir string) error { return token.File{Dir: dir}.Save(t.Context(), key, "abc") },
		"sealed": func(t *testing.T, dir string) error {
			return (&token.Sealed{Dir: dir, Ring: new(ring)}).Save(t.Context(), key, "abc")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, keep(t, dir))
			for _, file := range list(t, dir) {
				must(t, os.Remove(filepath.Join(dir, file)))
				must(t, os.MkdirAll(filepath.Join(dir, file, "in the way"), 0o700)) // which not even root removes so
			}
			if was, err := token.Forget(dir, key); was || err == nil {
				t.Errorf("forgotten: %t, %v", was, err)
			}
			if err := errors.Join(token.File{Dir: dir}.Clear(t.Context()), (&token.Sealed{Dir: dir}).Clear(t.Context())); err == nil {
				t.Error("cleared")
			}
		})
	}
}

// What a killed process has left of a token goes when the next one is saved; what
// another process is just writing stays.
func TestHalfMadeFilesGo(t *testing.T) {
	f := token.File{Dir: t.TempDir()}
	must(t, f.Save(t.Context(), key, "abc"))
	name := list(t, f.Dir)[0]
	left, now := filepath.Join(f.Dir, "."+name+".123"), filepath.Join(f.Dir, "."+name+".456")
	for _, path := range []string{left, now} {
		must(t, os.WriteFile(path, []byte("canary"), 0o600))
	}
	old := time.Now().Add(-2 * time.Minute)
	must(t, os.Chtimes(left, old, old))
	must(t, f.Save(t.Context(), key, "def"))
	if files := list(t, f.Dir); len(files) != 2 || files[0] != filepath.Base(now) {
		t.Errorf("left behind: %v", files)
	}
	must(t, os.Chtimes(now, old, old))
	if was, err := token.Forget(f.Dir, key); !was || err != nil || len(list(t, f.Dir)) != 0 {
		t.Errorf("forgotten: %t, %v; left behind: %v", was, err, list(t, f.Dir))
	}
	must(t, os.WriteFile(now, []byte("canary"), 0o600))
	must(t, f.Clear(t.Context()))
	if files := list(t, f.Dir); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestDefaultDir(t *testing.T) {
	cache := t.TempDir()
	for _, name := range []string{"XDG_CACHE_HOME", "LocalAppData", "HOME"} {
		t.Setenv(name, cache)
	}
	dir, err := token.DefaultDir()
	if err != nil || !strings.HasPrefix(dir, cache) || !strings.HasSuffix(dir, filepath.Join("pomerium-cli", "jwts")) {
		t.Errorf("got %s, %v", dir, err)
	}
	for _, name := range []string{"XDG_CACHE_HOME", "LocalAppData", "HOME"} {
		t.Setenv(name, "")
	}
	if dir, err := token.DefaultDir(); err == nil {
		t.Errorf("without a home: %s", dir)
	}
}

func FuzzFile(f *testing.F) {
	for _, s := range []string{"", "abc", "abc\n", "a b", "a.b.c", "\xff", strings.Repeat("a", 200<<10)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		store := token.File{Dir: t.TempDir()}
		must(t, store.Save(t.Context(), key, "abc"))
		must(t, os.WriteFile(filepath.Join(store.Dir, list(t, store.Dir)[0]), content, 0o600))
		got, err := store.Load(t.Context(), key)
		if (got == "") == (err == nil) {
			t.Errorf("token %q with error %v", got, err)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q could break a header", got)
		}
	})
}

func expect(t *testing.T, s store, key, want string) {
	t.Helper()
	if got, err := s.Load(t.Context(), key); got != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
