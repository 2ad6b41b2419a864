package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/login"
)

const authLong = `Print a token that a Pomerium server takes, alone on standard output.

The token that is kept is tried at the server first; where the server wants a
sign-in, a browser opens. It goes into a request as the header
"Authorization: Pomerium <token>". Whoever has it is you: keep it out of logs.`

const authExample = `  # a request to a service behind Pomerium, with the token on no command line
  echo "Authorization: Pomerium $(pomerium-cli auth https://app.example.com)" | curl -H @- https://app.example.com/

  # with whose it is
  pomerium-cli auth https://pomerium.example.com --json`

// person is what auth and whoami tell as JSON.
type person struct {
	Server string `json:"server"`
	*login.User
	Token string `json:"token,omitempty"`
}

func (p *program) auth() *cobra.Command {
	var f reachFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "auth [server-url] [flags]",
		Aliases: []string{"jwt"},
		Short:   "Print a valid token, after a sign-in if need be",
		Long:    authLong,
		Example: authExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := p.inquireArgs(cmd, f, args)
			if err != nil {
				return err
			}
			defer q.Close()
			token, user, err := q.user(cmd.Context())
			if err != nil {
				return err
			}
			p.rememberServer(q.server)
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(person{shownURL(q.server), user, token})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object: server, subject, email, name, groups, token")
	return cmd
}
