package pac

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// maxResult bounds what a script returns, in bytes.
const maxResult = 64 << 10

// Env is what a script can know of the world. The zero value is a world without
// names, in which this machine has the address 127.0.0.1.
type Env struct {
	// Lookup resolves a name. A run asks once for each. nil: no name is found.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Local lists the addresses of this machine, the likeliest first; see
	// [LocalAddrs]. nil: none is known.
	Local func(ctx context.Context) []netip.Addr
	// Now is the time, in the zone of the place. nil: time.Now.
	Now func() time.Time
	// Timeout bounds a run, name lookups included. 0: 2 s. At most 10 s.
	Timeout time.Duration
	// Log gets what the script says by alert (Debug), and which entries of its
	// result were skipped and why (Warn). nil: no logs.
	Log *slog.Logger
}

// Find asks the script how to reach u and returns the routes in its order, at
// least one. The script is told scheme, host and port of u alone: browsers keep
// path and query to themselves as well. FindProxyForURLEx is preferred to
// FindProxyForURL. Entries that cannot be used are skipped; an empty result
// means direct, as everywhere. A script that throws, that does not end in time,
// that returns anything but text, or nothing that can be used, is an [*Error].
func (s *Script) Find(ctx context.Context, u *url.URL, env Env) ([]Route, error) {
	if u.Hostname() == "" {
		return nil, &Error{Name: s.name, Err: errors.New("the URL to find a way for has no host")}
	}
	timeout := min(env.Timeout, maxTimeout)
	if timeout == 0 {
		timeout = runTimeout
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	e := newEngine(s.name, env)
	var result string
	err := bounded(ctx, timeout, func(ctx context.Context) error {
		var err error
		e.ctx = ctx
		result, err = e.ask(s.program, bare(u), strings.ToLower(u.Hostname()))
		return err
	}, func(why error) { e.vm.Interrupt(why) })
	if err != nil {
		return nil, named(s.name, err)
	}
	routes, skipped := parseRoutes(result)
	for _, err := range skipped {
		env.Log.Warn("pac entry skipped", "script", s.name, "err", err)
	}
	if len(routes) == 0 {
		return nil, &Error{Name: s.name, Err: fmt.Errorf("nothing of its result can be used, beginning with %w", skipped[0])}
	}
	return routes, nil
}

// bare is what a script gets to see of a URL.
func bare(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host + "/"
}

// ask runs the script and then its function.
func (e *engine) ask(program *goja.Program, url, host string) (string, error) {
	if _, err := e.vm.RunProgram(program); err != nil {
		return "", thrown(err)
	}
	entry, err := e.vm.RunProgram(entryPoint())
	if err != nil {
		return "", thrown(err)
	}
	find, ok := goja.AssertFunction(entry)
	if !ok {
		return "", errors.New("it has no function FindProxyForURL")
	}
	value, err := find(goja.Undefined(), e.vm.ToValue(url), e.vm.ToValue(host))
	if err != nil {
		return "", thrown(err)
	}
	text, ok := value.(goja.String)
	switch {
	case !ok && (goja.IsNull(value) || goja.IsUndefined(value)):
		return "", fmt.Errorf("it returned %s for %s", value, host)
	case !ok:
		return "", fmt.Errorf("it returned something that is not text for %s", host)
	case text.Length() > maxResult:
		return "", fmt.Errorf("its result is longer than %d KiB", maxResult>>10)
	}
	return text.String(), nil
}
