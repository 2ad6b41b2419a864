package pac

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
)

// Bounds of a script's text. The parser and the compiler recurse, and a stack
// that overflows would end the process: brackets and arrow functions, which
// nest at the least cost of bytes, have a limit of their own.
const (
	maxSource    = 1 << 20 // bytes
	maxDepth     = 1000    // brackets open at a time
	maxArrows    = 10_000
	parseTimeout = 5 * time.Second
)

// Script is a compiled script. It may be used by several goroutines at once.
type Script struct {
	name    string
	program *goja.Program
}

// Parse compiles a script. The name stands for it in errors and must hold no
// secret. The text is UTF-8 or UTF-16 with a byte order mark, UTF-8 without,
// or else Windows-1252. An error of the language is an [*Error] with its line.
func Parse(ctx context.Context, source []byte, name string) (*Script, error) {
	script := &Script{name: name}
	text, err := decode(source)
	if err != nil {
		return nil, &Error{Name: name, Err: err}
	}
	boundRegexps()
	err = bounded(ctx, parseTimeout, func(context.Context) error {
		var err error
		script.program, err = compile(name, text)
		return err
	}, func(error) {})
	if err != nil {
		if strings.HasPrefix(strings.TrimSpace(text), "<") {
			err = errors.New("this is a web page, not a script")
		}
		return nil, named(name, err)
	}
	return script, nil
}

func decode(source []byte) (string, error) {
	if len(source) > maxSource {
		return "", errTooLong
	}
	text := unicodeText(source)
	switch n := nesting(text); {
	case strings.TrimSpace(text) == "":
		return "", errors.New("empty")
	case n > maxDepth:
		return "", fmt.Errorf("more than %d brackets are open at a time", maxDepth)
	case strings.Count(text, "=>") > maxArrows:
		return "", fmt.Errorf("more than %d arrow functions", maxArrows)
	}
	return text, nil
}

var errTooLong = fmt.Errorf("longer than %d KiB", maxSource>>10)

// nesting is how many brackets are open at a time. Those within text and
// comments count as well: a script that hides depth behind them stays below
// what the stack can hold, because of maxSource.
func nesting(text string) int {
	depth, deepest := 0, 0
	for _, c := range []byte(text) {
		switch c {
		case '(', '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ')', ']', '}':
			depth--
		}
	}
	return deepest
}

// compile never follows a sourceMappingURL, which goja would take from a file.
func compile(name, text string) (*goja.Program, error) {
	tree, err := parser.ParseFile(nil, name, text, 0, parser.WithDisableSourceMaps)
	if err != nil {
		return nil, misspelt(err)
	}
	program, err := goja.CompileAST(tree, false)
	if err != nil {
		return nil, misspelt(err)
	}
	return program, nil
}

// printable makes one bounded line of what a script or a server says.
func printable(s string) string {
	const most = 200
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
	}), " ")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
