// Command man writes the manual pages of pomerium-cli into a directory:
//
//	go -C tools/man run . ../../man
//
// It is a module of its own so that cobra/doc, and the markdown renderer that
// it brings, stay out of pomerium-cli.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"

	"github.com/pomerium/pomerium-cli/internal/cli"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("which directory? usage: man <directory>")
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return err
	}
	header := &doc.GenManHeader{Title: "POMERIUM-CLI", Section: "1", Source: "pomerium-cli", Manual: "User Commands"}
	return doc.GenManTree(cli.Commands(), header, args[0])
}
