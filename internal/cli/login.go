package cli

import (
	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

const loginLong = `Sign in to a Pomerium server, so that later commands need not.

Where the token that is kept still does, nothing opens. Without a URL it is
$POMERIUM_URL, or the server of the last run.

With --remote the browser is on another machine: open there the URL that is
printed, and paste here the address at which it ends.`

const loginExample = `  pomerium-cli login https://pomerium.example.com
  pomerium-cli login https://pomerium.example.com --remote
  pomerium-cli login https://pomerium.example.com --forward-proxy http://proxy.internal:3128`

func (p *program) login() *cobra.Command {
	var f reachFlags
	var remote bool
	cmd := &cobra.Command{
		Use:     "login [server-url] [flags]",
		Short:   "Sign in to a Pomerium server",
		Long:    loginLong,
		Example: loginExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := p.server(cmd, args)
			if err != nil {
				return err
			}
			f.noBrowser = f.noBrowser || remote
			q, err := p.inquire(cmd, f, server)
			if err != nil {
				return err
			}
			defer q.Close()
			if remote && !q.parts.logins.person() {
				return usagef("--remote: %w, to paste the address", errNobody)
			}
			_, user, err := q.user(cmd.Context())
			if err != nil {
				return err
			}
			p.rememberServer(server)
			p.ui().Done(edge.Host(server)+" knows you as "+oneLine(user.Label()), "server", shownURL(server), "user", user.Label())
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&remote, "remote", false, "sign in with a browser on another machine, and paste here the address at which it ends")
	return cmd
}
