package cli

import (
	"context"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/token"
)

const logoutLong = `Forget the token of a Pomerium server, or all tokens.

The session goes on at the server until it ends there: --browser opens the page
that ends it, in the browser that you signed in with.`

// signOutPath is the page that ends a browser's session.
const signOutPath = "/.pomerium/sign_out"

func (p *program) logout() *cobra.Command {
	var browser, all bool
	var f signInFlags
	cmd := &cobra.Command{
		Use:   "logout [server-url] [flags]",
		Short: "Forget the token of a Pomerium server",
		Long:  logoutLong,
		Example: `  pomerium-cli logout https://pomerium.example.com --browser
  pomerium-cli logout --all`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return usagef("--all and a URL: only one of them can be meant")
			case all && browser:
				return usagef("--all and --browser: the page is that of one server")
			case all:
				return p.forgetAll(cmd.Context())
			}
			words, err := f.check()
			if err != nil {
				return err
			}
			server, err := p.server(cmd, args)
			if err != nil {
				return err
			}
			if err := p.forget(cmd.Context(), f, server); err != nil || !browser {
				return err
			}
			return p.signOut(cmd.Context(), server, login.Opener(words))
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "forget the tokens of all servers")
	cmd.Flags().BoolVar(&browser, "browser", false, "open the server's sign-out page as well")
	f.add(cmd.Flags())
	return cmd
}

// forget drops the token of one server.
func (p *program) forget(ctx context.Context, f signInFlags, server *url.URL) error {
	w := newParts(&plan{reach: reach{reachFlags: reachFlags{askerFlags: askerFlags{signInFlags: f}}}}, p.ui())
	defer w.Close()
	w.logins = newLogins(p, false)
	if err := w.openStore(ctx); err != nil {
		return err
	}
	store, key := w.tokenStore(), token.Key(server)
	kept, err := store.Load(ctx, key)
	if err == nil && kept != "" {
		err = store.Delete(ctx, key, kept)
	}
	switch {
	case err != nil:
		return fmt.Errorf("forgetting the token of %s: %w", edge.Host(server), err)
	case kept == "":
		p.ui().Done("there was no token of "+edge.Host(server), "server", shownURL(server))
	default:
		p.ui().Done("the token of "+edge.Host(server)+" is forgotten", "server", shownURL(server))
	}
	return nil
}

// signOut shows the page at which the server ends the browser's session. A
// token cannot end its own.
func (p *program) signOut(ctx context.Context, server *url.URL, open func(context.Context, string) error) error {
	page := shownURL(server) + signOutPath
	p.ui().Done("sign out at "+page, "url", page)
	if err := open(ctx, page); err != nil {
		return fmt.Errorf("opening %s: %w", page, err)
	}
	return nil
}
