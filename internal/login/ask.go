package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// userPath is where an edge tells whose token it was sent. Other pages that a
// token could be tried on answer the same whatever it is.
const userPath = "/.pomerium/user"

// Ask asks an edge, by way, whether it takes a token. The error is nil when it
// does, an *edge.AnswerError when the edge says otherwise, and that of the way
// when there was no answer. Without a token the edge says that it wants a
// sign-in. The header is that of the answer.
func Ask(ctx context.Context, server *url.URL, way http.RoundTripper, token string) (http.Header, error) {
	header, _, err := askUser(ctx, server, way, token)
	return header, err
}

// askUser asks whose token it is. The body is empty for a token of nobody in
// particular, such as a service account's.
func askUser(ctx context.Context, server *url.URL, way http.RoundTripper, token string) (http.Header, []byte, error) {
	header, body, err := edge.Get(ctx, way, server, userPath, token, edge.MaxBody)
	var answer *edge.AnswerError
	if errors.As(err, &answer) && (answer.Status == http.StatusNotFound && token != "" || answer.Status/100 == 2) {
		return header, nil, nil
	}
	return header, body, err
}
