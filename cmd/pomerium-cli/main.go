// Command pomerium-cli opens tunnels to services behind Pomerium, also where
// the way out leads through a forward proxy.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pomerium/pomerium-cli/internal/cli"
)

func main() {
	os.Exit(cli.Main(stopOnSignal(), cli.Process{
		Args:   os.Args[1:],
		Stdin:  os.Stdin,
		Stdout: os.Stdout,
		Stderr: os.Stderr,
		Getenv: os.Getenv,
	}))
}

// stopOnSignal returns a context that the first signal cancels, so that tunnels
// can end in order. The second one ends the program at once.
func stopOnSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() { // ends with the process
		<-signals
		cancel()
		<-signals
		os.Exit(1)
	}()
	// A write to a pipe that nobody reads is an error to us, not the end: the
	// reader of our messages may go, as in `pomerium-cli tcp ... 2>&1 | head -1`.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return ctx
}
