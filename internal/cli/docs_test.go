package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPages: the flags that these pages name exist.
func TestPages(t *testing.T) {
	var help strings.Builder
	for _, words := range []string{"tcp", "check", "login", "logout", "demo", "ssh-config", "k8s configure", "routes list"} {
		r := &run{}
		r.main(t, append(strings.Fields(words), "--help")...)
		help.WriteString(r.stdout)
	}
	for _, page := range []string{"README.md", "docs/PROXIES.md", "docs/TROUBLESHOOTING.md"} {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, flag := range regexp.MustCompile("(?m)(?:^|[ `(])(--[a-z][a-z-]*)").FindAllStringSubmatch(string(text), -1) {
			if !regexp.MustCompile(`(?m)^ *(-\w, )?` + flag[1] + `\b`).MatchString(help.String()) {
				t.Errorf("%s: there is no flag %s", page, flag[1])
			}
		}
	}
}

// TestProxiesPage: the tests that docs/PROXIES.md calls to witness exist.
func TestProxiesPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/PROXIES.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	files, _ := filepath.Glob("../../e2e/*_test.go") // the pattern is well-formed
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	witnesses := regexp.MustCompile(`Test[A-Z]\w+`).FindAllString(string(page), -1)
	if len(witnesses) == 0 {
		t.Error("no test is named")
	}
	for _, name := range witnesses {
		if !strings.Contains(tests.String(), "func "+name+"(t *testing.T)") {
			t.Errorf("there is no %s in e2e", name)
		}
	}
}

// TestCheckPage: docs/CHECK.md has every name of a check's JSON form, and every
// step.
func TestCheckPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/CHECK.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../check/report.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)json:"(\w+)|\bStep\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(names) < 50 {
		t.Errorf("%d names: those of internal/check/report.go are not found", len(names))
	}
	for _, name := range names {
		if want := "`" + name[1] + name[2] + "`"; !strings.Contains(string(page), want) {
			t.Errorf("it does not say what %s is", want)
		}
	}
}
