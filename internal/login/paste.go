package login

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
)

// Why a pasted text is not taken. None of the words has anything of the text,
// which may be a secret.
var (
	errPasteEmpty = errors.New("nothing was pasted")
	errPasteOther = errors.New("that address belongs to another sign-in: open the address above again, and paste where that ends")
	errPasteNone  = errors.New("there is no token in that address: paste the one at which the browser ends, which begins with http://127.0.0.1 or http://localhost")
	errPasteWhat  = errors.New("that is neither the address at which the browser ends nor a token")
)

// paste has a person bring the token, until it is one that can be used.
func (s *SignIn) paste(ctx context.Context, cb *callback) {
	complaint := ""
	for {
		text, err := s.Paste(ctx, complaint)
		if err != nil {
			if ctx.Err() == nil {
				s.log().Debug("nothing can be pasted", "err", err)
			}
			return
		}
		token, err := parsePaste(text, cb.path)
		if err == nil {
			cb.take(brought{token, true})
			return
		}
		complaint = err.Error()
	}
}

// parsePaste finds the token in what a person pasted: the address at which the
// browser ended, with the path of this sign-in, or the token alone.
func parsePaste(text, path string) (string, error) {
	// Terminals put these around what is pasted, where they were asked to, and
	// people quotes.
	text = strings.NewReplacer("\x1b[200~", "", "\x1b[201~", "").Replace(text)
	text = strings.Trim(strings.TrimSpace(text), "\"'<>")
	switch {
	case text == "":
		return "", errPasteEmpty
	case !strings.ContainsAny(text, "/?:"):
		return parseToken(text)
	case !strings.Contains(text, "://"):
		text = "http://" + text // a browser may hide that
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", errPasteWhat
	}
	token := tokenOf(u.RawQuery)
	switch {
	case token == "":
		return "", errPasteNone
	case u.Path != path:
		return "", errPasteOther
	}
	return token, nil
}

// parseToken checks that a text looks like a token (RFC 7515 section 7.1): a
// person who types something else wants to be told.
func parseToken(text string) (string, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || !validToken(text) {
		return "", errPasteWhat
	}
	for _, part := range parts {
		if _, err := base64.RawURLEncoding.DecodeString(part); err != nil || part == "" {
			return "", errPasteWhat
		}
	}
	return text, nil
}
