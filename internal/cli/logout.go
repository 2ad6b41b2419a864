package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/kubecred"
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
	var browserCmd string
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
			words, err := browserWords(browserCmd)
			if err != nil {
				return err
			}
			server, err := p.server(cmd, args)
			if err != nil {
				return err
			}
			if err := p.forget(cmd.Context(), server); err != nil || !browser {
				return err
			}
			return p.signOut(cmd.Context(), server, login.Opener(words))
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "forget the tokens of all servers")
	cmd.Flags().BoolVar(&browser, "browser", false, "open the server's sign-out page as well")
	cmd.Flags().StringVar(&browserCmd, "browser-cmd", "", "`command` that opens that page, with arguments as in a shell; the page's URL is added\nas the last (default: the system's browser)")
	return cmd
}

// forget drops what is kept for one server, wherever --token-store had it kept,
// and for kubectl. A file that holds no token goes as well.
func (p *program) forget(ctx context.Context, server *url.URL) error {
	dir, err := cacheDir()
	if err != nil {
		return err
	}
	was, err := forgetToken(ctx, dir, server)
	if err != nil {
		return fmt.Errorf("forgetting the token of %s: %w", edge.Host(server), err)
	}
	if !was {
		p.ui().Done("there was no token of "+edge.Host(server), "server", shownURL(server))
		return nil
	}
	p.ui().Done("the token of "+edge.Host(server)+" is forgotten", "server", shownURL(server))
	return nil
}

// forgetToken drops what is kept for a server in the files below dir, and says
// whether there was anything.
func forgetToken(ctx context.Context, dir string, server *url.URL) (was bool, err error) {
	files, key := token.File{Dir: filepath.Join(dir, jwtsDir)}, token.Key(server)
	kept, _ := files.Load(ctx, key) // what cannot be read is no token of kubectl's
	was, err = token.Forget(files.Dir, key)
	kubectl := kubecred.Cache{Dir: filepath.Join(dir, execCredentialsDir)}
	return was, errors.Join(err, kubectl.Forget(kept))
}

// signOut shows the page at which the server ends the browser's session. A
// token cannot end its own.
func (p *program) signOut(ctx context.Context, server *url.URL, open func(context.Context, string) error) error {
	page := shownURL(server) + signOutPath
	p.ui().Done("sign out at "+page, "url", page)
	if err := open(ctx, page); err != nil {
		return &pageError{page, err}
	}
	return nil
}

// pageError says that a page could not be shown to the person.
type pageError struct {
	page string
	err  error
}

func (e *pageError) Error() string { return "opening " + e.page + ": " + e.err.Error() }

func (e *pageError) Unwrap() error { return e.err }
