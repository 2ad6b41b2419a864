package proxy

import "strings"

// A challenge is one of those in Proxy-Authenticate (RFC 9110 11.6.1).
type challenge struct {
	scheme string // as the proxy spelled it
	text   string // scheme and parameters
}

// parseChallenges splits lines that may each hold several challenges. A comma
// separates challenges as well as the parameters of one, so a piece begins a
// challenge when it does not look like a parameter.
func parseChallenges(lines []string) []challenge {
	var all []challenge
	for _, line := range lines {
		open := false // whether the line has begun a challenge to add to
		for _, piece := range splitUnquoted(line) {
			scheme := leadingScheme(piece)
			switch {
			case scheme != "":
				all = append(all, challenge{scheme, piece})
				open = true
			case open:
				last := &all[len(all)-1]
				last.text += ", " + piece
			}
		}
	}
	return all
}

// leadingScheme returns the scheme that piece begins with, or "" for a
// parameter: `realm="x"`, `realm = "x"`.
func leadingScheme(piece string) string {
	end := 0
	for end < len(piece) && isTokenByte(piece[end]) {
		end++
	}
	rest := strings.TrimLeft(piece[end:], " \t")
	spaced := end < len(piece) && (piece[end] == ' ' || piece[end] == '\t')
	switch {
	case end == 0, rest != "" && !spaced:
		return ""
	case strings.HasPrefix(rest, "="):
		return ""
	}
	return piece[:end]
}

// splitUnquoted splits at commas outside of quoted strings; the pieces are
// trimmed and not empty.
func splitUnquoted(line string) []string {
	var pieces []string
	quoted, start := false, 0
	add := func(end int) {
		if piece := strings.Trim(line[start:end], " \t"); piece != "" {
			pieces = append(pieces, piece)
		}
		start = end + 1
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			add(i)
		}
	}
	if start < len(line) {
		add(len(line))
	}
	return pieces
}

// parameters are those of a challenge, by name in lower case; values may be quoted
// or not (RFC 9110 11.2), and are bytes: proxies write Latin-1 as well as UTF-8. ok
// is false where one is neither.
func parameters(text string) (all map[string]string, ok bool) {
	all = make(map[string]string)
	_, list, _ := strings.Cut(text, " ")
	for _, piece := range splitUnquoted(list) {
		name, value, _ := strings.Cut(piece, "=")
		value = strings.TrimSpace(value)
		if strings.HasPrefix(value, `"`) {
			if value, ok = unquoted(value[1:]); !ok {
				return nil, false
			}
		}
		all[strings.ToLower(strings.TrimSpace(name))] = value
	}
	return all, true
}

// unquoted is what a quoted string says, whose first quote is off; its last has
// to be the end.
func unquoted(text string) (said string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), i == len(text)-1
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		b.WriteByte(text[i])
	}
	return "", false
}

// quoted is text as a quoted string (RFC 9110 5.6.4).
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// isTokenByte is tchar of RFC 9110 5.6.2.
func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
