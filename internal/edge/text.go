package edge

import (
	"html"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what of an answer is shown, in bytes.
const (
	maxReason = 240
	maxID     = 128
)

// plain makes one short line of text that is safe on a terminal and in a log:
// blanks collapsed, nothing that does not print, nothing that looks like a
// credential.
func plain(s string, limit int) string {
	words := strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s))
	return shorten(redact(strings.Join(words, " ")), limit)
}

// shorten cuts s at limit bytes, between characters.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.TrimRight(s[:limit], " ") + "..."
}

// redact takes out what a careless middlebox may echo of our request: an
// Authorization header with all that follows it, a long word after the name of
// a scheme, and every JSON Web Token. Those begin with "eyJ", the base64 of `{"`.
func redact(s string) string {
	if i := indexFold(s, "authorization:"); i >= 0 {
		s = s[:i] + "[credential]"
	}
	words := strings.Split(s, " ")
	for i, word := range words {
		if i > 0 && len(word) >= 20 && authSchemes[strings.ToLower(words[i-1])] {
			words[i] = "[credential]"
		}
		if start := strings.Index(word, "eyJ"); start >= 0 {
			words[i] = word[:start] + "[token]"
		}
	}
	return strings.Join(words, " ")
}

// authSchemes are the words that a credential follows.
var authSchemes = map[string]bool{"pomerium": true, "bearer": true, "basic": true, "negotiate": true}

// indexFold is strings.Index that ignores the case of ASCII; sep is lower case.
func indexFold(s, sep string) int {
	for i := range len(s) - len(sep) + 1 {
		if strings.EqualFold(s[i:i+len(sep)], sep) {
			return i
		}
	}
	return -1
}

// looksLikeHTML goes by the type that the header names, and by the first
// characters where it names none.
func looksLikeHTML(h http.Header, text string) bool {
	if t := h.Get("Content-Type"); t != "" {
		return strings.HasPrefix(strings.ToLower(t), "text/html")
	}
	return strings.HasPrefix(text, "<")
}

// gist returns the title of a page, or its text where it has no title.
func gist(page string) string {
	if i := indexFold(page, "<title"); i >= 0 {
		if _, rest, ok := strings.Cut(page[i:], ">"); ok {
			title, _, _ := strings.Cut(rest, "<")
			if s := plain(html.UnescapeString(title), maxReason); s != "" {
				return s
			}
		}
	}
	for _, element := range []string{"head", "script", "style", "noscript"} {
		page = without(page, element)
	}
	return plain(html.UnescapeString(untagged(page)), maxReason)
}

// without drops an element and what is in it, wherever it occurs.
func without(page, element string) string {
	var b strings.Builder
	for {
		start := indexFold(page, "<"+element)
		if start < 0 {
			break
		}
		b.WriteString(page[:start] + " ")
		page = page[start:]
		end := indexFold(page, "</"+element)
		if end < 0 {
			return b.String()
		}
		page = page[end:]
	}
	b.WriteString(page)
	return b.String()
}

// untagged puts a blank in the place of every tag.
func untagged(page string) string {
	var b strings.Builder
	for {
		text, rest, ok := strings.Cut(page, "<")
		b.WriteString(text + " ")
		if !ok {
			return b.String()
		}
		if _, page, ok = strings.Cut(rest, ">"); !ok {
			return b.String()
		}
	}
}
