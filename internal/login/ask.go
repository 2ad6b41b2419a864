package login

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	limited, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	u := *server
	u.Path = userPath
	req, err := http.NewRequestWithContext(limited, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Host = edge.Host(server)
	edge.SetCredential(req.Header, token)
	res, err := way.RoundTrip(req)
	if err != nil {
		if ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("edge %s: no answer in %v: %w", req.Host, defaultTimeout, err)
		}
		return nil, err
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, edge.MaxBody)) // what there is of it does
	// 404 is for a token of nobody in particular: a service account's.
	if res.StatusCode/100 == 2 || res.StatusCode == http.StatusNotFound && token != "" {
		return res.Header, nil
	}
	return res.Header, edge.NewAnswerError(req.Host, "", res.StatusCode, res.Header, body)
}
