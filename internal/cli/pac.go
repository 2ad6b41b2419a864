package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pomerium/pomerium-cli/internal/pac"
	"github.com/pomerium/pomerium-cli/proxy"
)

// isScript reports whether a value of --forward-proxy names a script.
func isScript(raw string) bool { return len(raw) > 4 && strings.EqualFold(raw[:4], "pac+") }

// scripted is a proxy.Selector that does what a PAC script says.
type scripted struct {
	setting string
	script  *pac.Source
	env     pac.Env
	config  proxy.Config

	mu     sync.Mutex
	routes map[pac.Route]proxy.Selector // each proxy is one Hop, which remembers
}

// newScripted opens the script that raw names. It is fetched when the first
// connection needs it, beside every proxy: see docs/ONE-WAY-OUT.md.
func newScripted(raw, setting string, c proxy.Config) (*scripted, error) {
	source, err := pac.Open(raw, pac.Config{
		HTTP: &http.Transport{
			DialContext:       c.Dial,
			TLSClientConfig:   others(c.TLS),
			DisableKeepAlives: true, // one request, then none for an hour
		},
		Copy: scriptCopy(raw),
		Log:  c.Log,
	})
	if err != nil {
		return nil, &proxy.SettingError{Source: setting, Err: err}
	}
	return &scripted{
		setting: setting,
		script:  source,
		env:     pac.Env{Lookup: lookup, Local: pac.LocalAddrs, Log: c.Log},
		config:  c,
		routes:  make(map[pac.Route]proxy.Selector),
	}, nil
}

// scriptCopy names the file in which a script outlives the run. A password in
// the URL has no part in it.
func scriptCopy(raw string) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.User = nil
	sum := sha256.Sum256([]byte(u.String()))
	return filepath.Join(dir, "pomerium-cli", "pac", hex.EncodeToString(sum[:16]))
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Ways implements proxy.Selector.
func (s *scripted) Ways(ctx context.Context, target *url.URL) ([]proxy.Way, error) {
	script, err := s.script.Script(ctx)
	if err != nil {
		return nil, &scriptError{s.setting, err}
	}
	routes, err := script.Find(ctx, target, s.env)
	if err != nil {
		return nil, &scriptError{s.setting, err}
	}
	var ways []proxy.Way
	for _, route := range routes {
		selector, err := s.route(route)
		if err != nil {
			return nil, &scriptError{s.setting, err}
		}
		more, err := selector.Ways(ctx, target)
		if err != nil {
			return nil, &scriptError{s.setting, err}
		}
		ways = append(ways, more...)
	}
	return ways, nil
}

func (s *scripted) route(r pac.Route) (proxy.Selector, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.routes[r]; known != nil {
		return known, nil
	}
	selector, err := proxy.Fixed(r.String(), ofScript+s.setting, s.config)
	if err == nil {
		s.routes[r] = selector
	}
	return selector, err
}

// ofScript begins the source of a way that a script chose.
const ofScript = "the pac script of "

// scriptError says that a script did not choose. Nothing is dialed then.
type scriptError struct {
	setting string
	err     error
}

func (e *scriptError) Error() string { return e.setting + ": " + e.err.Error() }
func (e *scriptError) Unwrap() error { return e.err }
