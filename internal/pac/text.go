package pac

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// high is what the bytes 0x80 to 0x9F stand for in windows-1252, as browsers
// read it (WHATWG Encoding Standard, section 9). The rest of it is Latin-1.
// (A library for it carries all other code pages into the program: 250 KB.)
var high = []rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ")

// unicodeText decodes a script: by its byte order mark, else as UTF-8 where it
// is that, else as windows-1252.
func unicodeText(source []byte) string {
	if text, ok := bytes.CutPrefix(source, []byte("\xef\xbb\xbf")); ok {
		return strings.ToValidUTF8(string(text), string(utf8.RuneError))
	}
	if text, ok := bytes.CutPrefix(source, []byte("\xff\xfe")); ok {
		return utf16Text(text, binary.LittleEndian)
	}
	if text, ok := bytes.CutPrefix(source, []byte("\xfe\xff")); ok {
		return utf16Text(text, binary.BigEndian)
	}
	if utf8.Valid(source) {
		return string(source)
	}
	var b strings.Builder
	for _, c := range source {
		r := rune(c)
		if c >= 0x80 && c <= 0x9f {
			r = high[c-0x80]
		}
		b.WriteRune(r)
	}
	return b.String()
}

// utf16Text decodes UTF-16; half a unit at the end is U+FFFD.
func utf16Text(b []byte, order binary.ByteOrder) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	if len(b) > 0 {
		units = append(units, utf8.RuneError)
	}
	return string(utf16.Decode(units))
}
