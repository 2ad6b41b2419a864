package pac

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Config is what a [Source] works with. The zero value serves pac+file and
// pac+data.
type Config struct {
	// HTTP carries the requests for pac+http and pac+https, which need it. It
	// decides by which way they leave, and whom they trust.
	HTTP http.RoundTripper
	// Copy names a file in which a fetched script outlives the process. It is
	// written with mode 0600, its directory made with 0700. "": memory alone.
	Copy string
	// Fresh is how long a fetched script is used without asking again, unless
	// its Cache-Control says less. 0: 1 h.
	Fresh time.Duration
	// Timeout bounds one fetch. 0: 10 s.
	Timeout time.Duration
	// Now is the time. nil: time.Now.
	Now func() time.Time
	// Log gets a line at Debug for each fetch, and one at Warn when a kept
	// script must do. nil: no logs.
	Log *slog.Logger
}

// Source is where a script comes from. It may be used by several goroutines at
// once: one fetches, the others wait for it.
type Source struct {
	url  *url.URL // without "pac+"
	name string   // without secrets
	c    Config
	turn chan struct{} // has room for one: whoever put something in may touch kept
	kept *page
}

// Open checks the URL of a script, pac+https://…, pac+http://…, pac+file:///…
// or pac+data:…, and reads nothing yet. Neither its errors nor those of
// [Source.Script] show user, password, query or data.
func Open(raw string, c Config) (*Source, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("pac script: not a URL") // err quotes it
	}
	if err := check(u, c); err != nil {
		return nil, fmt.Errorf("pac script: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	u.Scheme = strings.TrimPrefix(u.Scheme, "pac+")
	name := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	if u.Scheme == "data" {
		name = "data" // which is no place for a colon
	}
	return &Source{url: u, name: name, c: c, turn: make(chan struct{}, 1)}, nil
}

func check(u *url.URL, c Config) error {
	switch u.Scheme {
	case "pac+https", "pac+http":
		if u.Hostname() == "" {
			return fmt.Errorf("%s is followed by //, a host and a path", u.Scheme)
		}
		if c.HTTP == nil {
			return errors.New("no way to fetch it")
		}
	case "pac+file":
		if u.Path == "" || u.Host != "" && u.Host != "localhost" {
			return errors.New("pac+file: is followed by /// and a path on this machine")
		}
	case "pac+data":
		if !strings.Contains(u.Opaque, ",") {
			return errors.New("pac+data: is followed by a media type or none, a comma, and the script")
		}
	default:
		return fmt.Errorf("scheme %q is none of pac+https, pac+http, pac+file and pac+data", u.Scheme)
	}
	return nil
}

// Script returns the script as it is now. A fetched one is kept, in memory and
// as [Config].Copy says; when it is no longer fresh its server is asked whether
// it is still current. A server that does not answer, or answers with something
// that is no script, does no harm for a week: what it sent before goes on.
func (s *Source) Script(ctx context.Context) (*Script, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for pac script %s: %w", s.name, context.Cause(ctx))
	}
	switch s.url.Scheme {
	case "data":
		return s.data(ctx)
	case "file":
		return s.file(ctx)
	}
	return s.remote(ctx)
}

// data decodes a URL of RFC 2397.
func (s *Source) data(ctx context.Context) (*Script, error) {
	if s.kept != nil {
		return s.kept.script, nil
	}
	text := s.url.Opaque
	if s.url.RawQuery != "" || s.url.ForceQuery {
		text += "?" + s.url.RawQuery
	}
	kind, text, _ := strings.Cut(text, ",")
	text, err := url.PathUnescape(text)
	if err == nil && strings.HasSuffix(strings.ToLower(kind), ";base64") {
		var body []byte
		body, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		text = string(body)
	}
	if err != nil {
		return nil, &Error{Name: s.name, Err: errors.New("not well encoded")} // err may quote it
	}
	script, err := Parse(ctx, []byte(text), s.name)
	if err != nil {
		return nil, err
	}
	s.kept = &page{script: script}
	return script, nil
}

// file reads a file, again when it has changed.
func (s *Source) file(ctx context.Context) (*Script, error) {
	path := s.url.Path
	if runtime.GOOS == "windows" {
		path = filepath.FromSlash(strings.TrimPrefix(path, "/")) // file:///C:/proxy.pac
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading pac script: %w", err)
	case !info.Mode().IsRegular(): // opening a pipe could wait for ever
		return nil, fmt.Errorf("reading pac script: %s is not a regular file", path)
	}
	stamp := fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	if s.kept != nil && s.kept.stamp == stamp {
		return s.kept.script, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading pac script: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxSource+1))
	if err != nil {
		return nil, fmt.Errorf("reading pac script: %w", err)
	}
	script, err := Parse(ctx, body, s.name)
	if err != nil {
		return nil, err
	}
	s.kept = &page{script: script, stamp: stamp}
	return script, nil
}
