package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Refusal says that a command or flag of the existing pomerium-cli is not in
// this program: it is known, and there is something else to do.
type Refusal struct {
	What    string // "command udp", "flag --client-cert-from-store"
	Reason  string // a sentence that goes on after "What: "
	Instead string // what to do, a sentence
}

func (r *Refusal) Error() string { return r.What + ": " + r.Reason }

// Reasons, so that each is worded once.
const (
	notYet = "not in this program yet"
	never  = "will not be in this program"
)

// refused lists the existing client's commands and flags that we do not have.
var refused = []Refusal{
	{"command udp", notYet, "use the existing pomerium-cli for UDP routes; tcp works here"},
	{"command proxy", notYet, "open one tunnel for each destination: pomerium-cli tcp first:443 second:443"},
	{"command api", never + " (it serves the desktop application)", "run pomerium-cli tcp with the destinations you need, or use the existing pomerium-cli for the desktop application"},
	{"command databroker", never + " (it administers a server)", "use the existing pomerium-cli, or the server's own API, to administer a server"},
	{"flag --client-cert-from-store", notYet, "export the certificate and its key to PEM files and give them with --client-cert and --client-key"},
	{"flag --client-cert-issuer", notYet, "export the certificate and its key to PEM files and give them with --client-cert and --client-key"},
	{"flag --client-cert-subject", notYet, "export the certificate and its key to PEM files and give them with --client-cert and --client-key"},
}

// refusedCommands makes a hidden command of each refused one, so that its name
// is known and its flags are not looked at.
func refusedCommands() []*cobra.Command {
	var commands []*cobra.Command
	for i := range refused {
		name, ok := cutKind(refused[i].What, "command ")
		if !ok {
			continue
		}
		commands = append(commands, &cobra.Command{
			Use:                name,
			Hidden:             true,
			DisableFlagParsing: true,
			RunE:               func(cmd *cobra.Command, _ []string) error { return refusal(cmd) },
		})
	}
	return commands
}

// refusal returns the reason why a command is refused, or nil.
func refusal(cmd *cobra.Command) error {
	if !cmd.HasParent() || cmd.Parent().HasParent() {
		return nil
	}
	return lookRefused("command " + cmd.Name())
}

func lookRefused(what string) error {
	for i := range refused {
		if refused[i].What == what {
			return &refused[i]
		}
	}
	return nil
}

func cutKind(what, kind string) (string, bool) {
	if len(what) > len(kind) && what[:len(kind)] == kind {
		return what[len(kind):], true
	}
	return "", false
}

// flagError says what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if why := lookRefused("flag --" + unknown.GetSpecifiedName()); why != nil {
			return why
		}
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		err = fmt.Errorf("--%s %q: not %s", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid.GetFlag()))
	}
	return &usageError{command: cmd.CommandPath(), err: err}
}

// wanted says in words what a flag takes.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "int":
		return "a whole number"
	case "duration":
		return "a length of time, such as 30s or 2m"
	case "bool":
		return "true or false"
	}
	return "a " + f.Value.Type()
}
