package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"unicode"
)

// Basic is the scheme of RFC 7617: user name and password in clear, so it wants
// an https proxy, or a network that is trusted. They are sent as UTF-8.
type Basic struct {
	Username, Password string
	Unasked            bool // sends them with the first request, where Basic comes first in Hop.Auth: a round trip less
}

// Scheme implements Authenticator.
func (Basic) Scheme() string { return "Basic" }

// Begin implements Authenticator.
func (b Basic) Begin(context.Context, Peer) (Exchange, error) { return &basicExchange{basic: b}, nil }

// String keeps the password out of what is printed.
func (b Basic) String() string { return "Basic" }

// GoString keeps it out of %#v too.
func (b Basic) GoString() string { return "proxy.Basic{}" }

func (b Basic) unasked() bool { return b.Unasked }

func (b Basic) secrets() []string { return []string{b.Password, b.token()} }

func (b Basic) token() string {
	return base64.StdEncoding.EncodeToString([]byte(b.Username + ":" + b.Password))
}

type basicExchange struct {
	basic Basic
	sent  bool
}

// Answer gives the password once: asked again, it was wrong.
func (x *basicExchange) Answer(context.Context, string) (string, error) {
	if x.sent {
		return "", ErrRejected
	}
	x.sent = true
	return "Basic " + x.basic.token(), nil
}

func (x *basicExchange) Bound() bool { return false }

// checkBasic refuses what RFC 7617 2 cannot carry.
func checkBasic(user *url.Userinfo) error {
	if user == nil {
		return nil
	}
	password, _ := user.Password()
	if strings.ContainsFunc(user.Username()+password, unicode.IsControl) {
		return errors.New("the user name or password has a control character")
	}
	if strings.Contains(user.Username(), ":") {
		return errors.New("the user name has a colon, which Basic authentication cannot carry (RFC 7617)")
	}
	return nil
}
