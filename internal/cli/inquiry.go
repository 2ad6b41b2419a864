package cli

import (
	"context"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// inquiry asks one server questions, by the way and with the token that a
// tunnel would take.
type inquiry struct {
	parts  *parts
	server *url.URL
	way    http.RoundTripper
	tokens tunnel.Tokens
}

// renewals bounds how often a question is asked again with another token: the
// first may be one that another process left, and stale, too.
const renewals = 3

// inquireArgs is inquire about the server that a command's arguments name.
func (p *program) inquireArgs(cmd *cobra.Command, f reachFlags, args []string) (*inquiry, error) {
	server, err := p.server(cmd, args)
	if err != nil {
		return nil, err
	}
	return p.inquire(cmd, f, server)
}

// inquire prepares questions to a server, as the flags say. Close ends it.
func (p *program) inquire(cmd *cobra.Command, f reachFlags, server *url.URL) (*inquiry, error) {
	r, err := f.check(cmd, p.Getenv)
	if err != nil {
		return nil, err
	}
	if _, err := r.ways(cmd.Context(), server); err != nil {
		return nil, err
	}
	return p.inquiry(cmd.Context(), &plan{reach: *r}, server)
}

func (p *program) inquiry(ctx context.Context, plan *plan, server *url.URL) (*inquiry, error) {
	if plan.insecure {
		p.ui().Notice(insecureNotice)
	}
	w := newParts(plan, p.ui())
	w.logins = newLogins(p, plan.save)
	e, err := w.edge(ctx, server)
	if err != nil {
		w.Close()
		return nil, err
	}
	return &inquiry{parts: w, server: server, way: e.http, tokens: e.client.Tokens}, nil
}

// Close ends what is kept for later questions.
func (q *inquiry) Close() { q.parts.Close() }

// keepOut has the questions of q fail with why rather than begin a sign-in. It
// says nothing about service accounts, which begin none.
func (q *inquiry) keepOut(why error) {
	if s, ok := q.tokens.(*login.SignIn); ok {
		s.Never = why
	}
}

// ask puts a question with a token, and again with another for as long as the
// server says that it wants a sign-in. It returns the token that was taken.
func (q *inquiry) ask(ctx context.Context, question func(token string) error) (string, error) {
	defer q.parts.ui.Waiting("asking " + edge.Host(q.server))()
	token, err := q.tokens.Current(ctx)
	if err != nil {
		return "", err
	}
	for n := 0; ; n++ {
		if token != "" { // else there is no need to ask
			if err = question(token); err == nil || !wantsSignIn(err) || n == renewals {
				return token, err
			}
		}
		if token, err = q.tokens.Renew(ctx, token); err != nil {
			return "", err
		}
	}
}

// user asks who the person behind the token is.
func (q *inquiry) user(ctx context.Context) (token string, u *login.User, err error) {
	token, err = q.ask(ctx, func(token string) error {
		u, err = login.Whose(ctx, q.server, q.way, token)
		return err
	})
	return token, u, err
}
