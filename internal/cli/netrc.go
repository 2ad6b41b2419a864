package cli

import (
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
)

// maxNetrc bounds a .netrc file, in bytes.
const maxNetrc = 1 << 20

// netrcLogin finds the entry of a host in the user's .netrc: $NETRC, or .netrc
// (_netrc on Windows) in the home directory; path is that file. nil without an
// entry or a readable file, and errOthersRead where an entry is not used because
// others can read it. The entry "default" is not used: it would give the
// password to whatever proxy is named.
func netrcLogin(host string, getenv func(string) string) (login *url.Userinfo, path string, err error) {
	path = getenv("NETRC")
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, "", nil
		}
		path = filepath.Join(home, ".netrc")
		if _, err := os.Stat(path); err != nil && runtime.GOOS == "windows" {
			path = filepath.Join(home, "_netrc")
		}
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxNetrc {
		return nil, "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", nil
	}
	login = parseNetrc(string(data), host)
	if login != nil && othersRead(info) {
		return nil, path, errOthersRead
	}
	return login, path, nil
}

// parseNetrc takes the first entry of host that has a login and a password.
func parseNetrc(text, host string) *url.Userinfo {
	var mine, hasPassword bool
	var login, password string
	words := netrcWords(text)
	for i := 0; i <= len(words); i++ {
		end := i == len(words) || words[i] == "machine" || words[i] == "default"
		if end && mine && login != "" && hasPassword {
			return url.UserPassword(login, password)
		}
		if i == len(words) {
			break
		}
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch words[i] {
		case "machine":
			mine, login, password, hasPassword = strings.EqualFold(value, host), "", "", false
			i++
		case "default":
			mine = false
		case "login":
			login = value
			i++
		case "password":
			password, hasPassword = value, i+1 < len(words)
			i++
		case "account":
			i++
		}
	}
	return nil
}

// netrcWords splits what is between macros and comments. A macro goes to the
// next empty line; a word may be in double quotes.
func netrcWords(text string) []string {
	var words []string
	macro := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			macro = false
		case macro, strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "macdef"):
			macro = true
		default:
			words = append(words, lineWords(line)...)
		}
	}
	return words
}

func lineWords(line string) []string {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if quoted, ok := strings.CutPrefix(line, `"`); ok {
			if inside, rest, closed := strings.Cut(quoted, `"`); closed {
				words, line = append(words, inside), rest
				continue
			}
		}
		end := strings.IndexFunc(line, unicode.IsSpace)
		if end < 0 {
			end = len(line)
		}
		words, line = append(words, line[:end]), line[end:]
	}
	return words
}
