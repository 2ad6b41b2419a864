package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomerium/pomerium-cli/internal/cli"
)

// TestEdgeCase39_OtherRuns: what one run found dead, the next skips; whatever
// is in the file's place does no harm.
func TestEdgeCase39_OtherRuns(t *testing.T) {
	const way = "http://proxy.internal:3128"
	for name, spoil := range map[string]func(t *testing.T, path string){
		"nothing": func(*testing.T, string) {},
		"garbage": func(t *testing.T, path string) { write(t, path, "\x00\xff\n\nx y z\n"+strings.Repeat("0", 1<<20)) },
		"a line that lies": func(t *testing.T, path string) {
			write(t, path, cli.HashWay(way)+" 99999999999\n"+cli.HashWay(way)+" x\n")
		},
		"a directory": func(t *testing.T, path string) {
			if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"a file in the directory's place": func(t *testing.T, path string) {
			if err := os.RemoveAll(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Dir(path), "x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			livesIn(t, dir)
			path := cli.NewDeadWays().Path()
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			spoil(t, path)
			first, second := cli.NewDeadWays(), cli.NewDeadWays()
			if first.Dead(way) {
				t.Error("dead before anything was tried")
			}
			first.Report(way, false)
			if !first.Dead(way) || first.Dead(way+"0") {
				t.Error("the run itself does not know")
			}
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() {
				return // nothing to share
			}
			if text, _ := os.ReadFile(path); info.Mode().Perm()&0o077 != 0 && filepath.Separator == '/' || strings.Contains(string(text), "internal") {
				t.Errorf("mode %v, %q", info.Mode(), text)
			}
			if !second.Dead(way) {
				t.Error("another run does not know")
			}
			second.Report(way, true)
			if first.Dead(way) {
				t.Error("reached by another run, and still dead")
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".dead-ways*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEdgeCase39_FiveMinutesInOtherRuns: what one run found dead, the next tries
// again when the time is over, and not before.
func TestEdgeCase39_FiveMinutesInOtherRuns(t *testing.T) {
	livesIn(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		const way = "http://proxy.internal:3128"
		cli.NewDeadWays().Report(way, false)
		time.Sleep(5*time.Minute - time.Second)
		if !cli.NewDeadWays().Dead(way) {
			t.Error("tried again too soon")
		}
		time.Sleep(time.Second)
		if cli.NewDeadWays().Dead(way) {
			t.Error("dead for more than five minutes")
		}
	})
}
