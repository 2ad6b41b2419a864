package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain lets the scripts run this test binary as pomerium-cli.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"pomerium-cli": main})
}

// leakChecked looks for goroutines after the scripts: those of the lab, and of
// the programs that were started, have to be gone.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "goleak:", err)
		return 1
	}
	return code
}

// TestScripts runs the program as a user does. UPDATE=1 rewrites the texts that
// scripts compare with.
func TestScripts(t *testing.T) {
	hup := make(chan os.Signal, 1) // under nohup SIGHUP is ignored, and would be by what the scripts start; a handler is not inherited
	signal.Notify(hup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hup) })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lab":    startLab,
			"direct": direct,
			"start":  start,
			"quit":   quit,
			"talk":   talk,
			"hold":   hold,
			"held":   held,
			"exits":  exits,
			"still":  still,
		},
	})
}
