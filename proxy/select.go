package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Way leads to a target: directly, or through hops. Each hop's Dial reaches
// the hop before it.
type Way struct {
	Hops   []*Hop   // none: direct
	Source string   // what chose it: "--forward-proxy", "HTTPS_PROXY", "no_proxy", "loopback" or "direct"
	Direct DialFunc // how a way without hops dials; nil: Dialer{}.DialContext

	memory Memory  // is told how the way went; may be nil
	passed []error // of selectors that come before this way and have none
}

// DialContext opens a connection to addr by this way.
func (w Way) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if len(w.Hops) > 0 {
		conn, err := w.Hops[len(w.Hops)-1].DialContext(ctx, network, addr)
		return conn, w.named(err)
	}
	dial := w.Direct
	if dial == nil {
		dial = Dialer{}.DialContext
	}
	conn, err := dial(ctx, network, addr)
	if err != nil {
		return nil, &DirectError{Addr: addr, Source: w.Source, Err: err}
	}
	return conn, nil
}

// named puts the source of the way into the error of a hop.
func (w Way) named(err error) error {
	var failed *Error
	if errors.As(err, &failed) && failed.Source == "" {
		failed.Source = w.Source
	}
	return err
}

func (w Way) log() *slog.Logger {
	if len(w.Hops) == 0 {
		return logger(nil)
	}
	return w.Hops[len(w.Hops)-1].log()
}

// String lists the hops without passwords, or says "direct".
func (w Way) String() string {
	if len(w.Hops) == 0 {
		return "direct"
	}
	names := make([]string, len(w.Hops))
	for i, hop := range w.Hops {
		names[i] = hop.String()
	}
	return strings.Join(names, " -> ")
}

// A Selector says by which ways a URL is reached, the best first. An error
// means that nothing may be dialed.
type Selector interface {
	Ways(ctx context.Context, target *url.URL) ([]Way, error)
}

// Config is what a selector gives to each hop it makes, and to direct dials.
type Config struct {
	Timeout time.Duration // for each hop and for a direct dial; 0: DefaultTimeout
	TLS     *tls.Config   // for https proxies; nil: system roots
	Log     *slog.Logger  // nil: no logs
	Dial    DialFunc      // nil: Dialer{}.DialContext

	User       *url.Userinfo // for a proxy whose URL has no user; nil: none
	UserSource string        // the setting that User is from, for errors
	// UserOf is the same for what has no User; may be nil, and give nil.
	UserOf func(host string) (user *url.Userinfo, source string)
	Logins Logins // for what has neither, once the proxy asks; may be nil

	Schemes []string // how HTTP proxies may be answered, as ParseAuth gives them; nil: all
	SPN     string   // of an HTTP proxy that asks for Negotiate; empty: HTTP/ and its name

	Header http.Header // added to each request that an HTTP proxy gets; nil: none

	KeepAlive time.Duration // as in Hop

	// Before are proxies that every way passes first, the nearest first, as
	// Chain makes them: a direct way ends behind the last of them. nil: none.
	Before []*Hop
}

// Chain makes proxies of raw, as ParseURL understands them, each reached
// through the one before: the first is the nearest to this machine. c.User,
// c.SPN and c.Header are for none of them. source is as for [Fixed].
func Chain(raw []string, source string, c Config) ([]*Hop, error) {
	c.User, c.SPN, c.Header = nil, "", nil
	for _, r := range raw {
		u, err := ParseURL(r)
		if err != nil {
			return nil, &SettingError{Source: source, Err: err}
		}
		c.Before = c.through(u, source).Hops
	}
	return c.Before, nil
}

func (c Config) direct(source string) Way {
	if len(c.Before) > 0 {
		return Way{Source: source, Hops: c.Before}
	}
	dial := c.Dial
	if dial == nil {
		dial = Dialer{Timeout: c.Timeout, Log: c.Log}.DialContext
	}
	return Way{Source: source, Direct: dial}
}

func (c Config) through(u *url.URL, source string) Way {
	var userSource string
	if u.User == nil {
		known := *u
		known.User, userSource = c.User, c.UserSource
		if known.User == nil && c.UserOf != nil {
			known.User, userSource = c.UserOf(u.Hostname())
		}
		u = &known
	}
	hop := &Hop{URL: u, Source: source, UserSource: userSource, TLS: c.TLS, Header: c.Header, Dial: c.Dial, Timeout: c.Timeout, KeepAlive: c.KeepAlive,
		Log: c.Log, Logins: c.Logins}
	if n := len(c.Before); n > 0 {
		hop.Dial = c.Before[n-1].DialContext
	}
	hop.makeAuth = func(user *url.Userinfo) []Authenticator { return newWho(user, c.Schemes, c.SPN).authenticators() }
	hop.Auth = hop.makeAuth(hop.settled())
	return Way{Source: source, Hops: append(slices.Clip(c.Before), hop)}
}

// Fixed selects one way for everything: the proxy in raw, as ParseURL
// understands it, or none for "direct". source names the setting, such as
// "--forward-proxy", in errors. An error is a *SettingError.
func Fixed(raw, source string, c Config) (Selector, error) {
	if raw == "direct" {
		return fixed{c.direct(source)}, nil
	}
	u, err := ParseURL(raw)
	if err != nil {
		return nil, &SettingError{Source: source, Err: err}
	}
	return fixed{c.through(u, source)}, nil
}

type fixed struct{ way Way }

func (f fixed) Ways(context.Context, *url.URL) ([]Way, error) { return []Way{f.way}, nil }

// Dial returns a function that dials by the ways which s selects for edge, the
// next where one cannot be reached.
func Dial(s Selector, edge *url.URL) DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var conn net.Conn
		err := walk(ctx, s, edge, func(way Way) (over bool, err error) {
			conn, err = way.DialContext(ctx, network, addr)
			return false, err
		})
		return conn, err
	}
}
