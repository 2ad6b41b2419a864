package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// pageTimeout bounds one request for a page, a sign-in not included.
const pageTimeout = 30 * time.Second

// Get asks an edge, by way, for one of its own pages, such as
// "/.pomerium/user", with a token or without one (""). It follows no redirect:
// those are for browsers. An answer that is not a 200 is an *AnswerError; a body
// of more than limit bytes is an error; without an answer in 30 seconds, and
// where the way fails, the error is the way's. The header is that of the
// answer, if there was one.
func Get(ctx context.Context, way http.RoundTripper, server *url.URL, path, token string, limit int64) (http.Header, []byte, error) {
	limited, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	page := *server
	page.Path = path
	req, err := http.NewRequestWithContext(limited, http.MethodGet, page.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Host = Host(server)
	SetCredential(req.Header, token)
	res, err := way.RoundTrip(req)
	if err != nil {
		if ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("edge %s: no answer in %v: %w", req.Host, pageTimeout, err)
		}
		return nil, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, MaxBody)) // what there is of it does
		return res.Header, nil, NewAnswerError(req.Host, "", res.StatusCode, res.Header, body)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	if err != nil {
		return res.Header, nil, fmt.Errorf("edge %s: reading %s: %w", req.Host, path, err)
	}
	return res.Header, body, nil
}
