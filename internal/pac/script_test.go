package pac_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pomerium/pomerium-cli/internal/pac"
)

// umlaut is a script that only a right decoding makes well.
const umlaut = "// für alle\nfunction FindProxyForURL(u, h) { return 'ü€'.length === 2 && 'ü€' === '\\u00fc\\u20ac' ? 'PROXY a:1' : 'PROXY b:2' }"

func utf16Text(text string, order binary.AppendByteOrder) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + text)) {
		b = order.AppendUint16(b, unit)
	}
	return b
}

// c1 has the bytes that windows-1252 and Latin-1 read differently.
func c1() string {
	var b strings.Builder
	for c := byte(0x80); c <= 0x9f; c++ {
		b.WriteByte(c)
	}
	return b.String()
}

func TestEdgeCase38_Encodings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source []byte
	}{
		{"utf-8", []byte(umlaut)},
		{"utf-8 with a mark", []byte("\xef\xbb\xbf" + umlaut)},
		{"utf-16 little", utf16Text(umlaut, binary.LittleEndian)},
		{"utf-16 big", utf16Text(umlaut, binary.BigEndian)},
		{"windows-1252", []byte(strings.NewReplacer("ü", "\xfc", "€", "\x80").Replace(umlaut))},
		{"all of windows-1252", append([]byte("// \xa0\xff"+c1()+"\n"), strings.NewReplacer("ü", "\xfc", "€", "\x80").Replace(umlaut)...)},
		{"windows line ends", []byte(strings.ReplaceAll(umlaut, "\n", "\r\n"))},
		{"old mac line ends", []byte(strings.ReplaceAll(umlaut, "\n", "\r"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			script, err := pac.Parse(t.Context(), tt.source, "test.pac")
			if err != nil {
				t.Fatal(err)
			}
			got, err := script.Find(t.Context(), edge, pac.Env{})
			if err != nil || got[0].Addr != "a:1" {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestEdgeCase38_Sources(t *testing.T) {
	for _, tt := range []struct{ name, source, err string }{
		{"empty", " \n", "pac script test.pac: empty"},
		{"5 MB", strings.Repeat("// x\n", 1<<20), "pac script test.pac: longer than 1024 KiB"},
		{"web page", "\n<!DOCTYPE html><html>Sign in</html>", "pac script test.pac: this is a web page, not a script"},
		{"broken", "function FindProxyForURL(url, host) {\n  return 'DIRECT' +;\n}", "pac script test.pac, line 2, column 20: SyntaxError: Unexpected token ;"},
		{"cut off", "function FindProxyForURL(url, host) {\n  return 'DIRECT'", "pac script test.pac, line 2, column 18: SyntaxError: Unexpected end of input"},
		{"wrong for the compiler", "let a;\nlet a;", "pac script test.pac, line 2, column 5: SyntaxError: Identifier 'a' has already been declared"},
		{"deep", strings.Repeat("(", 1001), "pac script test.pac: more than 1000 brackets are open at a time"},
		{"arrows", strings.Repeat("a=>", 10_001) + "1", "pac script test.pac: more than 10000 arrow functions"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := pac.Parse(t.Context(), []byte(tt.source), "test.pac")
			if errText(err) != tt.err {
				t.Errorf("error %q, want %q", errText(err), tt.err)
			}
		})
	}
	long := "function FindProxyForURL() { return 'DIRECT' }" + strings.Repeat("//////\n", 1<<20/7-10)
	if _, err := pac.Parse(t.Context(), []byte(long), "test.pac"); err != nil {
		t.Errorf("%d bytes: %v", len(long), err)
	}
}

func TestParseEndsWithItsContext(t *testing.T) {
	why := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := pac.Parse(ctx, []byte("1"), "test.pac"); err != nil && !errors.Is(err, why) {
		t.Error(err) // done in time is as good
	}
}
