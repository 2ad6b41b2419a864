package login_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/login"
)

func TestWords(t *testing.T) {
	for command, want := range map[string][]string{
		"":                              nil,
		" \t ":                          nil,
		"firefox":                       {"firefox"},
		" firefox  --new-window\t-P x ": {"firefox", "--new-window", "-P", "x"},
		`'/opt/my browser/b' -P 'a b'`:  {"/opt/my browser/b", "-P", "a b"},
		`"/opt/my browser/b" -x""y`:     {"/opt/my browser/b", "-xy"},
		`b "" ''`:                       {"b", "", ""},
		`b "it's" 'say "x"'`:            {"b", "it's", `say "x"`},
		"b $HOME `x` *;|&":              {"b", "$HOME", "`x`", "*;|&"},
		"b ü":                           {"b", "ü"},
	} {
		if got, err := login.Words(command); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", command, got, err, want)
		}
	}
	for _, command := range []string{`b "x`, `b 'x`, `'`} {
		if got, err := login.Words(command); err == nil {
			t.Errorf("%q: %q", command, got)
		}
	}
}

// Where a backslash is not what separates the parts of a path, it makes the next
// character a plain one.
func TestWordsBackslash(t *testing.T) {
	if runtime.GOOS == "windows" {
		got, err := login.Words(`C:\browsers\b.exe "C:\my files\x" -y`)
		if err != nil || !slices.Equal(got, []string{`C:\browsers\b.exe`, `C:\my files\x`, "-y"}) {
			t.Errorf("%q, %v", got, err)
		}
		return
	}
	for command, want := range map[string][]string{
		`/opt/my\ browser/b \"x\" \\`: {"/opt/my browser/b", `"x"`, `\`},
		`b "a\"b\\c\d" 'a\b'`:         {"b", `a"b\c\d`, `a\b`},
	} {
		if got, err := login.Words(command); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", command, got, err, want)
		}
	}
	if got, err := login.Words(`b \`); err == nil {
		t.Errorf("%q", got)
	}
}

// The path of a program is that of a program, also with blanks.
func TestWordsOfAPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "my browser.exe")
	must(t, os.WriteFile(path, nil, 0o700))
	if got, err := login.Words(path); err != nil || !slices.Equal(got, []string{path}) {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "a b", `a "b c" 'd e'`, `a\ b`, `"`, "a\nb", "\xff 'x'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, command string) {
		words, err := login.Words(command)
		if err != nil && words != nil {
			t.Errorf("%q with %v", words, err)
		}
		// What is quoted comes back as it was.
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'"'"'`)+"'")
		}
		if again, err := login.Words(strings.Join(quoted, " ")); err != nil || !slices.Equal(again, words) && len(words) > 0 {
			t.Errorf("%q: %q, then %q, %v", command, words, again, err)
		}
	})
}
