package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// The variables for each scheme of a target, the first that is not empty wins.
// Lower case comes first, as in Go's httpproxy and in curl.
var variables = map[string][]string{
	"https": {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"},
	"http":  {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"},
}

var errCGI = errors.New("not used while REQUEST_METHOD is set, because a web server may have taken it from a request; " +
	"give the proxy by --forward-proxy, or unset REQUEST_METHOD")

// Environment selects by HTTPS_PROXY or HTTP_PROXY, after the scheme of the
// target, then by ALL_PROXY; each in lower case first. NO_PROXY is understood as
// by golang.org/x/net/http/httpproxy; every spelling of a loopback address goes
// direct as well. The variables are read once, here. One that cannot be used is
// a *SettingError of Ways for each target that it would have been used for.
func Environment(getenv func(string) string, c Config) Selector {
	return EnvironmentIn("", getenv, c)
}

// EnvironmentIn is [Environment] for variables that stand elsewhere: their
// names in messages get place at the end, such as " in /etc/environment".
func EnvironmentIn(place string, getenv func(string) string, c Config) Selector {
	e := &environment{chosen: make(map[string]choice), direct: c.direct("direct" + place), loopback: c.direct("loopback")}
	ways := make(map[string]choice) // one Hop for a value, whatever schemes it serves
	for target, names := range variables {
		name, value := firstSet(getenv, names)
		if name == "" {
			continue
		}
		if (name == "http_proxy" || name == "HTTP_PROXY") && getenv("REQUEST_METHOD") != "" {
			e.chosen[target] = choice{err: &SettingError{Source: name + place, Err: errCGI}}
			continue
		}
		if _, ok := ways[name]; !ok {
			ways[name] = choose(name+place, value, c)
		}
		e.chosen[target] = ways[name]
	}
	name, value := firstSet(getenv, []string{"no_proxy", "NO_PROXY"})
	e.excepted = c.direct(name + place)
	e.proxied = exceptions(value)
	return e
}

// Variables lists the variables that name a proxy for targets of a scheme, http
// or https: the first that is not empty wins.
func Variables(scheme string) []string { return slices.Clone(variables[scheme]) }

// Exception returns the first entry of a NO_PROXY value that has target go
// direct, or "": for whoever has to say why it does.
func Exception(noProxy string, target *url.URL) string {
	for entry := range strings.SplitSeq(noProxy, ",") {
		entry = strings.TrimSpace(entry)
		if through, err := exceptions(entry)(target); entry != "" && err == nil && through == nil {
			return entry
		}
	}
	return ""
}

// exceptions knows what a NO_PROXY value has go direct: for the rest it returns
// some proxy. Nothing else is asked of httpproxy, which drops a bad proxy URL
// without a word.
func exceptions(noProxy string) func(*url.URL) (*url.URL, error) {
	const anyProxy = "http://proxy.invalid"
	return (&httpproxy.Config{HTTPProxy: anyProxy, HTTPSProxy: anyProxy, NoProxy: noProxy}).ProxyFunc()
}

func choose(name, value string, c Config) choice {
	u, err := ParseURL(value)
	if err != nil {
		return choice{err: &SettingError{Source: name, Err: err}}
	}
	return choice{way: c.through(u, name)}
}

// firstSet returns the first variable that is not empty.
func firstSet(getenv func(string) string, names []string) (name, value string) {
	for _, name := range names {
		if value := getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

type choice struct {
	way Way
	err error
}

type environment struct {
	chosen   map[string]choice // by scheme of the target
	proxied  func(*url.URL) (*url.URL, error)
	direct   Way // no variable is set
	loopback Way // the target is this machine
	excepted Way // NO_PROXY says so
}

func (e *environment) Ways(_ context.Context, target *url.URL) ([]Way, error) {
	if _, ok := variables[target.Scheme]; !ok {
		return nil, fmt.Errorf("choosing the way out by the environment: the target's scheme %q is neither http nor https", target.Scheme)
	}
	chosen, ok := e.chosen[target.Scheme]
	if !ok {
		return []Way{e.direct}, nil
	}
	if loopback(target.Hostname()) != nil {
		return []Way{e.loopback}, nil
	}
	through, err := e.proxied(target)
	if err != nil {
		return nil, fmt.Errorf("choosing the way out by the environment: %w", err)
	}
	if through == nil {
		return []Way{e.excepted}, nil
	}
	if chosen.err != nil {
		return nil, chosen.err
	}
	return []Way{chosen.way}, nil
}
