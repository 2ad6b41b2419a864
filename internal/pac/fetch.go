package pac

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of keeping.
const (
	maxAge     = 7 * 24 * time.Hour // of a script whose server does not answer
	retryAfter = time.Minute        // until such a server is asked again
)

// remote returns the kept script while it is fresh, or asks its server.
func (s *Source) remote(ctx context.Context) (*Script, error) {
	if s.kept == nil {
		s.kept = s.readCopy(ctx)
	}
	now := s.c.Now()
	if s.kept != nil && now.Before(s.kept.Until) && now.Add(maxAge).After(s.kept.Until) {
		return s.kept.script, nil
	}
	fetched, err := s.fetch(ctx, now)
	switch {
	case err == nil:
		s.kept = fetched
		s.writeCopy()
	case s.kept == nil || ctx.Err() != nil || now.Sub(s.kept.Checked) > maxAge:
		return nil, err
	default:
		s.c.Log.Warn("pac script kept", "script", s.name, "checked", s.kept.Checked, "err", err)
		s.kept.Until = now.Add(retryAfter)
		s.writeCopy() // so that the next process does not wait for that server either
	}
	return s.kept.script, nil
}

// fetch asks the server for a script other than the kept one.
func (s *Source) fetch(ctx context.Context, now time.Time) (*page, error) {
	timeout := s.c.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done in %v", timeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("fetching pac script %s: not a URL for a request", s.name)
	}
	request.Header.Set("Accept", "application/x-ns-proxy-autoconfig, */*;q=0.5")
	request.Header.Set("User-Agent", "pomerium-cli")
	if s.kept != nil {
		setIf(request.Header, "If-None-Match", s.kept.ETag)
		setIf(request.Header, "If-Modified-Since", s.kept.Modified)
	}
	start := time.Now()
	client := &http.Client{Transport: s.c.HTTP, CheckRedirect: follow}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetching pac script %s: %w", s.name, cause(ctx, err))
	}
	defer response.Body.Close()
	s.c.Log.Debug("pac script asked for", "script", s.name, "status", response.StatusCode, "took", time.Since(start))
	switch {
	case response.StatusCode == http.StatusNotModified && s.kept != nil:
		kept := *s.kept
		kept.Checked, kept.Until = now, now.Add(s.fresh(response.Header))
		return &kept, nil
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("fetching pac script %s: the server answered %d %s", s.name, response.StatusCode, http.StatusText(response.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSource+1))
	if err != nil {
		return nil, fmt.Errorf("fetching pac script %s: %w", s.name, cause(ctx, err))
	}
	script, err := Parse(ctx, body, s.name)
	if err != nil {
		return nil, err
	}
	return &page{
		Checked: now, Until: now.Add(s.fresh(response.Header)),
		ETag: response.Header.Get("ETag"), Modified: response.Header.Get("Last-Modified"),
		NoStore: slices.Contains(directives(response.Header), "no-store"),
		body:    body, script: script,
	}, nil
}

func setIf(h http.Header, key, value string) {
	if value != "" {
		h.Set(key, value)
	}
}

// follow lets nobody move a script from https to http.
func follow(next *http.Request, via []*http.Request) error {
	switch {
	case len(via) > 5:
		return errors.New("more than 5 redirections")
	case via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https":
		return errors.New("redirected from https to " + next.URL.Scheme)
	}
	return nil
}

// cause leaves out the URL, which may hold a password or a key, and prefers our
// own word for a time that ran out.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

// fresh is for how long a script may be used unasked (RFC 9111 5.2.2).
func (s *Source) fresh(h http.Header) time.Duration {
	fresh := s.c.Fresh
	if fresh == 0 {
		fresh = time.Hour
	}
	for _, directive := range directives(h) {
		name, value, _ := strings.Cut(directive, "=")
		seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
		switch {
		case name == "no-cache" || name == "no-store":
			return 0
		case name == "max-age" && err == nil:
			fresh = min(fresh, time.Duration(seconds)*time.Second)
		}
	}
	return fresh
}

func directives(h http.Header) []string {
	list := strings.Split(strings.ToLower(strings.Join(h.Values("Cache-Control"), ",")), ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}
