package cli_test

import (
	"testing"

	"github.com/pomerium/pomerium-cli/internal/cli"
)

// What servers say of routes and people draws nothing on a terminal, breaks no
// line and turns none around.
func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		" a\tb\nc\r\n":                      "a b; c",
		"\x1b]0;title\x07\x1b[2Ja":          "]0;title[2Ja",
		"\u009b31ma\x9b31m\x7f":             "31ma\ufffd31m",
		"ann@good.test\u202e tset.live@nna": "ann@good.test tset.live@nna",
		"\u2066a\u2069\u200eb\u061c":        "ab",
		"a\u2028b\u2029c":                   "a b c",
		"Jürgen 日本 🏳\ufe0f\u200d🌈":          "Jürgen 日本 🏳\ufe0f\u200d🌈",
	} {
		if got := cli.OneLine(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
