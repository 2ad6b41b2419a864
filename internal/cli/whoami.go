package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

const whoamiLong = `Tell who you are to a Pomerium server, as the server says.

Nothing opens: without a token that the server takes, the exit code is 4, and
pomerium-cli login signs in.`

func (p *program) whoami() *cobra.Command {
	var f reachFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "whoami [server-url] [flags]",
		Short: "Tell who you are to a Pomerium server",
		Long:  whoamiLong,
		Example: `  pomerium-cli whoami https://pomerium.example.com
  pomerium-cli whoami --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := p.inquireArgs(cmd, f, args)
			if err != nil {
				return err
			}
			defer q.Close()
			q.keepOut(errSignedOut)
			_, user, err := q.user(cmd.Context())
			if err != nil {
				return err
			}
			p.rememberServer(q.server)
			who := person{Server: shownURL(q.server), User: user}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(who)
			}
			return who.print(cmd.OutOrStdout())
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object: server, subject, email, name, groups")
	return cmd
}

// errSignedOut says that there is no token that the server takes.
var errSignedOut = errors.New("nobody is signed in")

// print writes one line for each thing that is known.
func (w person) print(out io.Writer) error {
	for _, line := range [][2]string{
		{"server:", w.Server}, {"subject:", w.Subject}, {"email:", w.Email}, {"name:", w.Name}, {"groups:", strings.Join(w.Groups, ", ")},
	} {
		if line[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(out, "%-9s%s\n", line[0], oneLine(line[1])); err != nil {
			return err
		}
	}
	return nil
}
