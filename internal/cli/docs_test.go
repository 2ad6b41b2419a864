package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestProxiesPage: the flags of docs/PROXIES.md exist, and so do the tests that it
// calls to witness.
func TestProxiesPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/PROXIES.md")
	if err != nil {
		t.Fatal(err)
	}
	help := &run{}
	help.main(t, "tcp", "--help")
	global := help.stdout + help.stderr
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(string(page), -1) {
		if !regexp.MustCompile(`(?m)^ *(-\w, )?` + flag + `\b`).MatchString(global) {
			t.Errorf("there is no flag %s", flag)
		}
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
