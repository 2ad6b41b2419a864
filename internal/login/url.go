package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
)

// loginPath is where an edge hands out sign-in URLs.
const loginPath = "/.pomerium/api/v1/login"

// defaultTimeout bounds one request for a sign-in URL.
const defaultTimeout = 30 * time.Second

// maxURL bounds the length of a sign-in URL, in bytes.
const maxURL = 32 << 10

// firstURL asks for a sign-in URL that leads back to our callback, and returns
// both. An edge whose operator replaced the list of allowed hosts, or a filter
// on the way to it, may refuse the address 127.0.0.1 and allow the name
// localhost.
func (s *SignIn) firstURL(ctx context.Context, cb *callback) (redirect, login string, err error) {
	redirect = cb.url("127.0.0.1")
	login, err = s.loginURL(ctx, redirect)
	var answer *edge.AnswerError
	if errors.As(err, &answer) && (answer.Status == http.StatusBadRequest || answer.Status == http.StatusForbidden) {
		redirect = cb.url("localhost")
		login, err = s.loginURL(ctx, redirect)
	}
	return redirect, login, err
}

// loginURL asks the edge for the URL at which a person signs in, and from which
// the browser is sent on to redirect.
func (s *SignIn) loginURL(ctx context.Context, redirect string) (login string, err error) {
	timeout := s.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() == nil && limited.Err() != nil {
			err = fmt.Errorf("no answer in %v: %w", timeout, err)
		}
		if err != nil {
			err = fmt.Errorf("asking for a sign-in URL: %w", err)
		}
	}()
	u := *s.Edge
	u.Path, u.RawQuery = loginPath, url.Values{"pomerium_redirect_uri": {redirect}}.Encode()
	req, err := http.NewRequestWithContext(limited, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Host = edge.Host(s.Edge)
	edge.SetCredential(req.Header, "")
	res, err := s.HTTP.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, edge.MaxBody))
	if res.StatusCode/100 != 2 { // what there is of the body does
		return "", edge.NewAnswerError(req.Host, "", res.StatusCode, res.Header, body)
	}
	if err == nil {
		login, err = parseLoginURL(string(body))
	}
	if err != nil {
		return "", fmt.Errorf("edge %s: %w", req.Host, err)
	}
	return login, nil
}

// parseLoginURL checks what goes to a terminal and to a browser. What it
// refuses is not shown: it may be a page, and it may be a secret.
func parseLoginURL(body string) (string, error) {
	body = strings.TrimSpace(body)
	u, err := url.Parse(body)
	bad := err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http"
	if bad || len(body) > maxURL || strings.ContainsFunc(body, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("answered with something else than a URL: it may not be a Pomerium edge")
	}
	return body, nil
}
