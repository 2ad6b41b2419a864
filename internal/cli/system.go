package cli

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/sysproxy"
	"github.com/pomerium/pomerium-cli/proxy"
)

// systemWord is the value of --forward-proxy that means the system's settings.
const systemWord = "system"

// freshSystem is how long settings are used without another look: a listener may
// run on while its machine is carried from one network to another.
const freshSystem = time.Minute

// errDetect says why a way was not looked for. Whoever is first to answer for
// the name wpad would be the proxy, and be shown passwords and tickets.
var errDetect = errors.New("automatic detection (WPAD) is on there, and is not done here: anybody on the network could answer it, and would be shown the proxy's password")

// ofSystem reports whether the source of a way is a setting of the system, which
// says where it stands: neither a flag nor a variable has a space in it.
func ofSystem(source string) bool { return strings.Contains(source, " ") }

// system is a proxy.Selector that does what the operating system's settings say.
type system struct {
	getenv func(string) string
	config proxy.Config
	log    *slog.Logger

	mu        sync.Mutex
	read      time.Time // when settings were read; zero: not yet
	settings  sysproxy.Settings
	selectors map[string]proxy.Selector // by scheme of the target: each proxy is one Hop, which remembers
}

func newSystem(getenv func(string) string, c proxy.Config) *system {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &system{getenv: getenv, config: c, log: log}
}

// Ways implements proxy.Selector.
func (s *system) Ways(ctx context.Context, target *url.URL) ([]proxy.Way, error) {
	selector, err := s.selector(ctx, target)
	if err != nil {
		return nil, err
	}
	return selector.Ways(ctx, target)
}

func (s *system) selector(ctx context.Context, target *url.URL) (proxy.Selector, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read.IsZero() || time.Since(s.read) > freshSystem {
		if err := s.refresh(ctx); err != nil {
			return nil, err
		}
	}
	if why, ok := s.settings.Bypass.Match(target); ok {
		s.log.DebugContext(ctx, "no proxy for this server", "because", why)
		return proxy.Fixed("direct", why, s.config)
	}
	if known := s.selectors[target.Scheme]; known != nil {
		return known, nil
	}
	selector, err := s.choose(target.Scheme)
	if err == nil {
		s.selectors[target.Scheme] = selector
	}
	return selector, err
}

// refresh reads the settings. What has not changed keeps its selectors.
func (s *system) refresh(ctx context.Context) error {
	settings, err := sysproxy.Read(ctx, s.getenv)
	if unclear, ok := as[*sysproxy.Error](err); ok {
		return &proxy.SettingError{Source: unclear.Setting, Err: unclear.Err}
	}
	if err != nil {
		return err
	}
	if s.read.IsZero() || !reflect.DeepEqual(settings, s.settings) {
		s.settings, s.selectors = settings, make(map[string]proxy.Selector)
		s.log.DebugContext(ctx, "the system's proxy settings", "from", settings.Source, "because", settings.Reason, "detection", settings.Detect)
	}
	s.read = time.Now()
	return nil
}

// choose makes the selector for targets of a scheme.
func (s *system) choose(scheme string) (proxy.Selector, error) {
	said := s.settings
	switch {
	case said.Script.URL != "":
		return newScripted("pac+"+said.Script.URL, said.Script.Setting, s.config)
	case said.Variables != nil:
		getenv := func(name string) string { return said.Variables[name] }
		return proxy.EnvironmentIn(" in "+said.Source, getenv, s.config), nil
	case len(said.Proxies) == 0 && said.Detect:
		return nil, &proxy.SettingError{Source: said.Source, Err: errDetect}
	case len(said.Proxies[scheme]) == 0:
		return proxy.Fixed("direct", said.Source, s.config)
	}
	var all []proxy.Selector
	for _, addr := range said.Proxies[scheme] {
		selector, err := proxy.Fixed(addr.URL, addr.Setting, s.config)
		if err != nil {
			return nil, err
		}
		all = append(all, selector)
	}
	return proxy.InOrder(all...), nil
}
