package login

import (
	"errors"
	"os"
	"os/exec"
	"strings"
)

// errQuote says that a quoted part of a command does not end.
var errQuote = errors.New("a quote is not closed")

// Words splits a command as a shell does: at blanks, except in quotes, of which
// double ones know \" and \\, and after a backslash. Nothing else is special,
// and no shell sees it. Where paths are written with backslashes, these are
// plain characters. A text that is a program's own path, blanks and all, is one
// word.
func Words(command string) ([]string, error) {
	if strings.ContainsAny(command, " \t") {
		if _, err := exec.LookPath(command); err == nil {
			return []string{command}, nil
		}
	}
	s := splitter{escapes: os.PathSeparator != '\\'}
	for _, r := range command {
		s.next(r)
	}
	if s.quote != 0 || s.escaped {
		return nil, errQuote
	}
	s.end()
	return s.words, nil
}

// splitter takes a command apart, character by character.
type splitter struct {
	escapes bool // a backslash is no plain character
	words   []string
	word    strings.Builder
	inWord  bool
	quote   rune // the quote that is open, or 0
	escaped bool // the last one was a backslash
}

func (s *splitter) next(r rune) {
	switch {
	case s.escaped:
		if s.quote == '"' && r != '"' && r != '\\' {
			s.word.WriteByte('\\')
		}
		s.word.WriteRune(r)
		s.escaped = false
	case r == '\\' && s.escapes && s.quote != '\'':
		s.escaped, s.inWord = true, true
	case s.quote != 0 && r == s.quote:
		s.quote = 0
	case s.quote == 0 && (r == '"' || r == '\''):
		s.quote, s.inWord = r, true
	case s.quote == 0 && strings.ContainsRune(" \t\r\n", r):
		s.end()
	default:
		s.word.WriteRune(r)
		s.inWord = true
	}
}

func (s *splitter) end() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}
