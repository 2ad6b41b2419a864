package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// User is whom a token belongs to, as the edge tells. What the identity
// provider does not say is empty; a service account may have nothing at all.
type User struct {
	Subject string   `json:"subject"`
	Email   string   `json:"email"`
	Name    string   `json:"name"`
	Groups  []string `json:"groups"` // not nil
}

// Whose asks an edge, by way, whose token it is. Errors are those of Ask, or
// say that the answer cannot be read.
func Whose(ctx context.Context, server *url.URL, way http.RoundTripper, token string) (*User, error) {
	_, body, err := askUser(ctx, server, way, token)
	if err != nil {
		return nil, err
	}
	if body == nil {
		return &User{Groups: []string{}}, nil
	}
	u, err := ParseUser(body)
	if err != nil {
		return nil, fmt.Errorf("edge %s: asking whose token it is: %w", edge.Host(server), err)
	}
	return u, nil
}

// ParseUser reads what an edge tells of a user: a JSON object of claims. Claims
// are configured at the server, so one of another type than is usual counts as
// not said. The error repeats nothing of the body.
func ParseUser(body []byte) (*User, error) {
	var claims struct {
		Sub    json.RawMessage `json:"sub"`
		User   json.RawMessage `json:"user"`
		Email  json.RawMessage `json:"email"`
		Name   json.RawMessage `json:"name"`
		Groups json.RawMessage `json:"groups"`
	}
	if json.Unmarshal(body, &claims) != nil {
		return nil, errors.New("the answer is not a JSON object: it may not be a Pomerium server")
	}
	u := &User{Subject: text(claims.Sub), Email: text(claims.Email), Name: text(claims.Name), Groups: []string{}}
	if u.Subject == "" {
		u.Subject = text(claims.User)
	}
	var groups []json.RawMessage
	_ = json.Unmarshal(claims.Groups, &groups)
	for _, g := range groups {
		if name := text(g); name != "" {
			u.Groups = append(u.Groups, name)
		}
	}
	return u, nil
}

// text is a JSON string, or "".
func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// Label is how messages name the user: the e-mail address, or what else is known.
func (u *User) Label() string {
	for _, s := range []string{u.Email, u.Name, u.Subject} {
		if s != "" {
			return s
		}
	}
	return "a user without a name"
}
