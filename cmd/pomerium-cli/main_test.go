package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run this test binary as pomerium-cli.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pomerium-cli": main})
}

// TestScripts runs the program as a user does. UPDATE=1 rewrites the texts that
// scripts compare with.
func TestScripts(t *testing.T) {
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
		},
	})
}
