package cli_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/pomerium/pomerium-cli/internal/cli"
)

// FuzzLogin: a credentials file is one line that both sides of its first colon
// come from as they are, or an error that quotes nothing of it.
func FuzzLogin(f *testing.F) {
	for _, seed := range []string{"u:p", "u:p\n", "u:p\r\n", "u:", ":p", "u", "", "a:b:c", "DOMAIN\\u:p%41", "u:p\nv:q", "ü:\xff", "u:p\x00", "\ufeffu:p", strings.Repeat("u", 4<<10) + ":"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		user, err := cli.ParseLogin(data)
		if err != nil {
			if err.Error() != "not one line of the form user:password" || user != nil {
				t.Errorf("%q: %v, %v", data, user, err)
			}
			return
		}
		password, _ := user.Password()
		line := user.Username() + ":" + password
		if rest, ok := strings.CutPrefix(string(data), line); !ok || strings.Trim(rest, "\r\n") != "" ||
			user.Username() == "" || strings.Contains(user.Username(), ":") || strings.ContainsFunc(line, unicode.IsControl) {
			t.Errorf("%q became %q and %q", data, user.Username(), password)
		}
	})
}
