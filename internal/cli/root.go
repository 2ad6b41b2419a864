package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// Process is what the program gets from the operating system.
type Process struct {
	Args   []string // without the program's own name
	Stdin  io.Reader
	Stdout *os.File
	Stderr io.Writer
	Getenv func(string) string

	Keyring  func(patient bool) Keyring           // nil: the system's; see keyring.Store
	Terminal func() (in, out *os.File, err error) // nil: the controlling terminal
}

// program is one run.
type program struct {
	Process
	logFormat string
	logLevel  string
	screen    *ui
	command   *cobra.Command // that runs; nil before there is one
}

// Main runs one command and returns the code to exit with: see exit.go. A
// cancelled ctx asks the command to stop.
func Main(ctx context.Context, p Process) int {
	prog := &program{Process: p}
	root := prog.root()
	root.SetArgs(p.Args)
	if isCompletion(p.Args) {
		prepareCompletion(root)
	}
	root.SetIn(p.Stdin)
	out := &checkedWriter{w: p.Stdout}
	root.SetOut(out)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if out.err != nil {
		err = out.err
	}
	if err == nil || errors.Is(err, errStopped) {
		return exitDone
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitCode(err) // the user knows why, and a script that it has not got what it asked for
	}
	if !is[*toldError](err) {
		prog.ui().Fatal(err)
	}
	return exitCode(err)
}

// root builds the tree of commands.
func (p *program) root() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "pomerium-cli",
		Short: "Reach services behind Pomerium, also from behind a forward proxy",
		Example: `  pomerium-cli tcp db.internal:5432 --pomerium-url https://pomerium.example.com
  pomerium-cli demo`,
		SilenceErrors:              true, // Main prints
		SilenceUsage:               true,
		Args:                       cobra.ArbitraryArgs, // RunE tells what is wrong with them
		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if version {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
				return err
			}
			if len(args) == 0 {
				return cmd.Help()
			}
			return &unknownCommand{name: args[0], similar: cmd.SuggestionsFor(args[0])}
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			p.command = cmd
			return p.checkLogging()
		},
	}
	root.PersistentFlags().StringVar(&p.logFormat, "log-format", "text", "`format` of messages: text, or json (one object a line)")
	root.PersistentFlags().StringVar(&p.logLevel, "log-level", "", "least `level` of log records: debug, info, warn, error\n(default $LOG_LEVEL, or info)")
	root.Flags().BoolVar(&version, "version", false, "print the version")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, err) })
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(cmd.OutOrStdout(), cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error { writeHelp(cmd.OutOrStderr(), cmd); return nil })
	root.SetHelpCommand(p.help())
	root.AddCommand(p.tcp(), p.check(), p.auth(), p.login(), p.logout(), p.whoami(), p.routes(), p.k8s(), p.sshConfig(), p.cache(), p.demo(), p.version())
	root.AddCommand(refusedCommands()...)
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil { // cobra's prints help for a word that it does not know
		c.Args, c.RunE, c.SuggestionsMinimumDistance = nil, below, 2
	}
	return root
}

// parent makes a command that is there for its subcommands.
func parent(use, short string, aliases ...string) *cobra.Command {
	return &cobra.Command{
		Use:                        use,
		Aliases:                    aliases,
		Short:                      short,
		SuggestionsMinimumDistance: 2,
		RunE:                       below,
	}
}

// below is what runs where none of a command's subcommands does.
func below(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	e := &unknownCommand{name: cmd.Name() + " " + args[0]}
	for _, s := range cmd.SuggestionsFor(args[0]) {
		e.similar = append(e.similar, cmd.Name()+" "+s)
	}
	return e
}

// help prints the help of any command.
func (p *program) help() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || about == nil || len(rest) > 0 {
				return &unknownCommand{name: args[0], similar: cmd.Root().SuggestionsFor(args[0])}
			}
			if why := refusal(about); why != nil {
				return why
			}
			writeHelp(cmd.OutOrStdout(), about)
			return nil
		},
	}
}

// unknownCommand is a word that names no command, neither ours nor one of the
// existing client.
type unknownCommand struct {
	name    string
	similar []string
}

func (e *unknownCommand) Error() string { return fmt.Sprintf("unknown command %q", e.name) }

// usageError is a command line that cannot be meant: exit code 2.
type usageError struct {
	command string // whose help tells more, such as "pomerium-cli tcp"; "" where the error says it all
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usageError that says it all.
func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// toldError is one that the command has told already, so that only its exit code
// is left.
type toldError struct{ error }

func (e *toldError) Unwrap() error { return e.error }

// errStopped says that the user ended the command, which is a success.
var errStopped = errors.New("stopped")

// checkedWriter remembers the first error, so that a full disk below
// `version > file` is not a success.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("write to standard output: %w", cause(err))
	}
	return n, err
}

// cause takes the operation and the path off an error of package os, where the
// sentence around it already has them.
func cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Commands returns the tree of commands, for the generator of manual pages. It
// is not for running: see Main.
func Commands() *cobra.Command {
	p := &program{Process: Process{Stderr: io.Discard, Getenv: func(string) string { return "" }}}
	root := p.root()
	root.DisableAutoGenTag = true
	return root
}
