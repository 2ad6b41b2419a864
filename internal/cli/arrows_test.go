package cli_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pomerium/pomerium-cli/"

// arrows lists which package may import which of ours, as ARCHITECTURE.md draws
// it. A new arrow is a decision: make it there first, then here.
var arrows = map[string][]string{
	"cmd/pomerium-cli": {"internal/cli"},
	"internal/cli": {"internal/check", "internal/edge", "internal/keyring", "internal/kubecred", "internal/lab", "internal/listen", "internal/login", "internal/pac", "internal/portal", "internal/relay",
		"internal/sock", "internal/swap", "internal/sysproxy", "internal/token", "proxy", "tunnel"},
	"tunnel":             {"internal/edge", "internal/h2connect", "internal/sock"},
	"proxy":              {"internal/h2connect", "internal/sock"},
	"internal/login":     {"internal/edge"},
	"internal/listen":    {"internal/relay", "internal/sock"},
	"internal/relay":     {"internal/sock"},
	"internal/h2connect": {"internal/sock"},
	"internal/check":     {"internal/edge", "internal/login", "proxy", "tunnel"},
	"internal/portal":    {"internal/edge"},
	"internal/kubecred":  {"internal/swap"},
	"internal/edge":      {},
	"internal/keyring":   {},
	"internal/pac":       {"internal/swap"},
	"internal/sysproxy":  {},
	"internal/token":     {"internal/swap"},
	"internal/sock":      {},
	"internal/swap":      {},
	"internal/lab":       {},
	"internal/nettest":   {}, // in no other row: it is for tests, whose imports are not looked at
}

// tools are programs that are no part of the program.
var tools = []string{"bench"}

func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	for packages := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(p.ImportPath, module)
		if top, _, _ := strings.Cut(from, "/"); slices.Contains(tools, top) {
			continue
		}
		allowed, known := arrows[from]
		if !known {
			t.Errorf("package %s is not in the table of arrows", from)
		}
		for _, to := range p.Imports {
			if ours, ok := strings.CutPrefix(to, module); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s: that arrow is not in the table", from, ours)
			}
		}
	}
}

// TestDemoAloneUsesTheLab: the lab ships for the command demo and nothing else.
func TestDemoAloneUsesTheLab(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files here: %v", err)
	}
	for _, name := range files {
		if name == "demo.go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if imp.Path.Value == `"`+module+`internal/lab"` {
				t.Errorf("%s imports the lab", name)
			}
		}
	}
}
