// Package portal reads the list of routes that an edge publishes for a user. It
// opens no connection by itself, and keeps nothing.
//
// The list is the edge's guess: a route in it may still be refused, and one that
// is missing may work.
package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// path is where an edge has the list, since v0.29.
const path = "/.pomerium/api/v1/routes"

// maxList bounds the list, in bytes: routes may carry logos of more than a
// megabyte each.
const maxList = 128 << 20

// Route is one route of the list. Only Name and From are never empty.
type Route struct {
	ID             string `json:"id"`
	Name           string `json:"name"`
	Type           string `json:"type"` // http, tcp, udp, mcp
	From           string `json:"from"` // such as tcp+https://db.example.com:5432
	Description    string `json:"description"`
	ConnectCommand string `json:"connect_command,omitempty"` // as the server words it
}

// List asks an edge, by way, for the routes of whom a token belongs to. An
// answer that is no list is an *edge.AnswerError, a 404 where the edge has no
// portal; the other errors are those of the way, or say what is wrong with the list.
func List(ctx context.Context, server *url.URL, way http.RoundTripper, token string) ([]Route, error) {
	_, body, err := edge.Get(ctx, way, server, path, token, maxList)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	routes, err := Parse(body)
	if err != nil {
		return nil, fmt.Errorf("listing routes: edge %s: %w", edge.Host(server), err)
	}
	return routes, nil
}

// Parse reads the list. Members that it does not know are left out.
func Parse(body []byte) ([]Route, error) {
	var list struct {
		Routes []Route `json:"routes"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, errors.New("the answer is not a list of routes: it may not be a Pomerium server")
	}
	if list.Routes == nil {
		list.Routes = []Route{}
	}
	return list.Routes, nil
}

// Matches reports whether each word is in the name, the address or the
// description of r, whatever its case.
func (r Route) Matches(words []string) bool {
	text := strings.ToLower(r.Name + "\n" + r.From + "\n" + r.Description)
	for _, word := range words {
		if !strings.Contains(text, strings.ToLower(word)) {
			return false
		}
	}
	return true
}
