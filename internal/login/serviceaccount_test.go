package login_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/login"
)

func TestServiceAccount(t *testing.T) {
	a := &login.ServiceAccount{Token: " " + canary + "\n"}
	if got, err := a.Current(t.Context()); got != canary || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	got, err := a.Renew(t.Context(), canary)
	result{got, err}.wantError(t, "service account: refused by the edge")
	if !errors.Is(err, login.ErrRefused) || !ofAccount(err) {
		t.Error(err)
	}
	a = &login.ServiceAccount{Token: canary, File: filepath.Join(t.TempDir(), "absent")}
	if got, err := a.Current(t.Context()); got != canary || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// ofAccount says whether an error tells that no person can sign in.
func ofAccount(err error) bool {
	var e *login.Error
	return errors.As(err, &e) && e.Account
}

func TestServiceAccountFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write := func(s string) { must(t, os.WriteFile(path, []byte(s), 0o600)) }
	write("one\n")
	a := &login.ServiceAccount{File: path}
	if got, err := a.Current(t.Context()); got != "one" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	got, err := a.Renew(t.Context(), "one")
	result{got, err}.wantError(t, "service account in "+path+": refused by the edge")

	write("two") // rotated
	if got, _ := a.Current(t.Context()); got != "one" {
		t.Errorf("read again without a reason: %q", got)
	}
	if got, err := a.Renew(t.Context(), "one"); got != "two" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := a.Current(t.Context()); got != "two" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	must(t, os.Remove(path)) // in the middle of a rotation
	if got, err := a.Current(t.Context()); got != "two" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	got, err = a.Renew(t.Context(), "two")
	result{got, err}.wantError(t, path)
}

func TestServiceAccountRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	for _, test := range []struct {
		account *login.ServiceAccount
		want    string
	}{
		{&login.ServiceAccount{}, "service account: the token is empty"},
		{&login.ServiceAccount{Token: "  "}, "service account: the token is empty"},
		{&login.ServiceAccount{Token: "two " + canary}, "service account: it is not a token"},
		{&login.ServiceAccount{File: filepath.Join(dir, "absent")}, filepath.Join(dir, "absent")},
		{&login.ServiceAccount{File: dir}, dir},
		{&login.ServiceAccount{File: file("empty", "\n")}, "empty: the token is empty"},
		{&login.ServiceAccount{File: file("two", canary+"\n"+canary)}, "two: it is not a token"},
		{&login.ServiceAccount{File: file("binary", canary+"\x00")}, "binary: it is not a token"},
	} {
		got, err := test.account.Current(t.Context())
		result{got, err}.wantError(t, test.want)
		got, err = test.account.Renew(t.Context(), "")
		result{got, err}.wantError(t, test.want)
		if !ofAccount(err) {
			t.Errorf("%v: nobody can sign in for it", err)
		}
	}
}

// The expiry of a service account's token explains a refusal; it never causes
// one.
func TestServiceAccountExpired(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
	}
	for claims, want := range map[string]string{
		`{"exp":1767225600}`:   "refused by the edge: it expired on 2026-01-01",
		`{"exp":1767225600.5}`: "refused by the edge: it expired on 2026-01-01",
		`{"exp":33000000000}`:  "refused by the edge",
		`{"exp":-1}`:           "refused by the edge",
		`{"exp":1e300}`:        "refused by the edge",
		`{"exp":"soon"}`:       "refused by the edge",
		`{}`:                   "refused by the edge",
		`{`:                    "refused by the edge",
	} {
		a := &login.ServiceAccount{Token: jwt(claims)}
		token, err := a.Current(t.Context())
		must(t, err)
		token, err = a.Renew(t.Context(), token)
		result{token, err}.wantError(t, "service account: "+want)
		if !errors.Is(err, login.ErrRefused) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", claims, err)
		}
	}
}
