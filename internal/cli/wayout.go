package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/proxy"
)

// wayOut is what was said about the way out, before it is understood.
type wayOut struct {
	proxies []string // alternatives, the first is the best; none: the environment decides
	source  string   // who named them: a flag or a variable
	before  []string // proxies to pass first, the nearest first
}

// envForwardProxy is --forward-proxy as a variable: one, or several with spaces
// in between. (A comma may be part of a password, a space may not.)
const envForwardProxy = "POMERIUM_FORWARD_PROXY"

// ofPreProxy is the setting that names the proxies to pass first.
const ofPreProxy = "--pre-proxy"

var errNotAlone = errors.New("where there are several, each is a URL with its scheme, such as http://proxy.internal:3128, or direct or system")

// wayOut finds out who names the way: the flag wins over our variable, and that
// over those which other programs read as well.
func (f *wayFlags) wayOut(cmd *cobra.Command, getenv func(string) string) (wayOut, error) {
	if f.connectTimeout <= 0 {
		return wayOut{}, fmt.Errorf("--connect-timeout %s: not more than 0", f.connectTimeout)
	}
	if cmd.Flags().Changed("forward-proxy") {
		return wayOut{proxies: f.forwardProxy, source: "--forward-proxy", before: f.preProxy}, nil
	}
	w := wayOut{source: envForwardProxy, before: f.preProxy}
	value := getenv(envForwardProxy)
	if value == "" {
		return w, nil
	}
	if w.proxies = strings.Fields(value); len(w.proxies) < 2 {
		w.proxies = []string{value}
		return w, nil
	}
	for _, raw := range w.proxies {
		// Or a password with a space in it would become the name of a proxy.
		if raw != "direct" && !strings.Contains(raw, "://") && !isAskedLater(raw) {
			return w, &proxy.SettingError{Source: envForwardProxy, Err: errNotAlone}
		}
	}
	return w, nil
}

// selector makes the selector of the ways. None but it decides who is dialed.
// Nothing is fetched or dialed here.
func (w wayOut) selector(getenv func(string) string, c proxy.Config) (proxy.Selector, error) {
	if slices.ContainsFunc(w.before, isNoProxy) {
		return nil, &proxy.SettingError{Source: ofPreProxy, Err: errNoProxy}
	}
	var err error
	near := c
	near.TLS = others(c.TLS)
	if c.Before, err = proxy.Chain(w.before, ofPreProxy, near); err != nil {
		return nil, err
	}
	if len(w.proxies) == 0 {
		return proxy.Environment(getenv, c), nil
	}
	all := make([]proxy.Selector, len(w.proxies))
	for i, raw := range w.proxies {
		if all[i], err = w.one(raw, getenv, c); err != nil {
			return nil, err
		}
	}
	return proxy.InOrder(all...), nil
}

// others is for TLS with whom trusts the same, but knows neither the name nor
// the certificate that were given for the forward proxy.
func others(forward *tls.Config) *tls.Config {
	c := forward.Clone()
	if c != nil {
		c.ServerName, c.Certificates = "", nil
	}
	return c
}

func (w wayOut) one(raw string, getenv func(string) string, c proxy.Config) (proxy.Selector, error) {
	switch {
	case isScript(raw):
		return newScripted(raw, w.source, c)
	case raw == systemWord:
		return newSystem(getenv, c), nil
	}
	return proxy.Fixed(raw, w.source, c)
}

// isAskedLater reports whether something else has to be asked, when the first
// connection needs it, to know the ways of a value of --forward-proxy.
func isAskedLater(raw string) bool { return isScript(raw) || raw == systemWord }

// isNoProxy reports whether a value has a meaning for --forward-proxy, but is no proxy.
func isNoProxy(raw string) bool { return raw == "direct" || isAskedLater(raw) }

var errNoProxy = errors.New("a proxy is needed here: direct, system and scripts are for --forward-proxy")

// plain is w without what is asked later.
func (w wayOut) plain() wayOut {
	w.proxies = slices.DeleteFunc(slices.Clone(w.proxies), isAskedLater)
	return w
}
