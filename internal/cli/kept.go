package cli

import (
	"context"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/token"
)

// keptTokens hands out the tokens of earlier sign-ins, and starts none.
type keptTokens struct {
	store login.Store
	key   string
	op    string // "signing in to pomerium.example.com"
	why   error  // why there is no sign-in
}

// keepOut has the questions of q fail with why rather than open a browser. It
// says nothing about service accounts, which open none.
func (q *inquiry) keepOut(why error) {
	if q.parts.plan.account == nil {
		q.tokens = &keptTokens{store: q.parts.tokenStore(), key: token.Key(q.server), op: "signing in to " + edge.Host(q.server), why: why}
	}
}

// Current implements tunnel.Tokens.
func (k *keptTokens) Current(ctx context.Context) (string, error) {
	text, err := k.store.Load(ctx, k.key)
	if err != nil {
		return "", k.error(err)
	}
	return text, nil
}

// Renew implements tunnel.Tokens: it drops the token that the server refused,
// and returns another one only if there is one.
func (k *keptTokens) Renew(ctx context.Context, rejected string) (string, error) {
	if err := k.store.Delete(ctx, k.key, rejected); err != nil {
		return "", k.error(err)
	}
	text, err := k.Current(ctx)
	if err == nil && (text == "" || text == rejected) {
		return "", k.error(k.why)
	}
	return text, err
}

func (k *keptTokens) error(err error) error { return &login.Error{Op: k.op, Err: err} }
