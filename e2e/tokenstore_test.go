//go:build linux

package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// TestTokensInTheKeyring: a real GNOME Keyring keeps what opens the tokens. One sign-in is for all processes, no file has a token
// that can be read, and where the keyring is locked or missing nothing is kept elsewhere, and nobody is asked to sign in.
func TestTokensInTheKeyring(t *testing.T) {
	oneWay(t)
	session := t.TempDir()
	k, err := w.StartKeyring(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	squid := proxy(t, "squid")
	d := newDeveloper(t, kubectl{}, squid)
	d.env = k.Env
	flags := []string{world.EdgeURL, "--token-store", "keyring", "--forward-proxy", squid.URL.String(), "--alternate-ca-path", w.CA.CA, "--browser-cmd", d.browser}
	command := func(signIns, code int, says string, words ...string) string {
		t.Helper()
		before := w.SignIn.Visits()
		r := d.run(t, nil, binary, words...)
		if n := w.SignIn.Visits() - before; n != signIns || r.code != code || !strings.Contains(r.stderr, says) {
			t.Errorf("%s: %d sign-ins, want %d; exit code %d, want %d with %q\n%s", words[0], n, signIns, r.code, code, says, r.stderr)
		}
		return strings.TrimSpace(r.stdout)
	}
	with := func(name string, more ...string) []string { return append(append([]string{name}, flags...), more...) }

	command(1, 0, "knows you as", with("login")...)
	token := command(0, 0, "", with("auth")...)
	if !strings.HasPrefix(token, "e2e.issued.") {
		t.Fatalf("the token is %q", token)
	}
	for _, dir := range []string{d.home, session} {
		if files := holding(t, dir, token); len(files) > 0 {
			t.Errorf("the token can be read in %q", files)
		}
	}
	command(0, 0, "is forgotten", "logout", world.EdgeURL)
	command(0, 4, "nobody is signed in", with("whoami")...)
	command(1, 0, "knows you as", with("login")...)

	if err := k.Lock(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	command(0, 1, "keeping tokens in the keyring: reading the keyring: the keyring is locked\nhint: unlock the keyring; or --token-store file", with("auth")...)
	command(0, 0, "is forgotten", "logout", world.EdgeURL)
	command(0, 0, "", "cache", "clear")
	if left := holding(t, filepath.Join(d.home, ".cache"), ""); len(left) != 0 {
		t.Errorf("cache clear left %q", left)
	}

	d.env = nil
	command(0, 1, "this session has no keyring (DBUS_SESSION_BUS_ADDRESS names no bus)\nhint: --token-store file", with("auth")...)
	command(1, 0, "", with("auth", "--token-store", "memory")...)
	if files := holding(t, d.home, "e2e.issued."); len(files) > 0 {
		t.Errorf("a token can be read in %q", files)
	}
	d.run(t, nil, binary, with("auth", "--token-store", "file")...)
	if files := holding(t, d.home, "e2e.issued."); len(files) != 1 { // or this test would not find any
		t.Errorf("the token is in %q", files)
	}
}

// holding returns the files below a directory that have the text in them.
func holding(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
