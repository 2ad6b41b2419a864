package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/proxy"
)

// plan is a command line of tcp that has been checked: all that can be wrong
// with it was found before anything opened. For a command that opens no tunnel
// it has no routes.
type plan struct {
	reach
	carriageFlags
	routes []route
}

// route is one destination, its edge, and its local end.
type route struct {
	destination string // host:port, as the edge knows it
	edge        *url.URL
	listen      string
}

// check makes a plan of the flags and arguments.
func (f tcpFlags) check(cmd *cobra.Command, args []string, getenv func(string) string) (*plan, error) {
	return f.plan(cmd, getenv, func() ([]route, error) { return f.routes(args, getenv) })
}

// plan makes a plan for the given routes.
func (f tcpFlags) plan(cmd *cobra.Command, getenv func(string) string, routes func() ([]route, error)) (*plan, error) {
	if err := f.carriageFlags.check(); err != nil {
		return nil, err
	}
	r, err := f.reachFlags.check(cmd, getenv)
	if err != nil {
		return nil, err
	}
	p := &plan{reach: *r, carriageFlags: f.carriageFlags}
	if p.routes, err = routes(); err != nil {
		return nil, err
	}
	return p, p.checkWays(cmd.Context())
}

// routes understands the destinations and gives each its local end.
func (f *tcpFlags) routes(args []string, getenv func(string) string) ([]route, error) {
	if len(args) == 0 {
		return nil, &usageError{command: "pomerium-cli tcp", err: errors.New("no destination given")}
	}
	specs, err := f.listens(len(args))
	if err != nil {
		return nil, err
	}
	routes := make([]route, len(args))
	for i, arg := range args {
		addr, server, err := f.destination(arg, getenv)
		if err != nil {
			return nil, usagef("%w", err)
		}
		routes[i] = route{destination: addr, edge: server, listen: specs[i]}
	}
	return routes, nil
}

// destination understands one destination. POMERIUM_URL is the server of one that
// does not name its own, where the flag does not either.
func (f *tcpFlags) destination(arg string, getenv func(string) string) (addr string, server *url.URL, err error) {
	at := f.pomeriumURL
	if at == "" && !edge.NamesEdge(arg) {
		at = getenv(envURL)
	}
	return edge.ParseDestination(arg, at)
}

// checkWays looks at the way to each edge without dialing: a setting that
// cannot be used is known now, and so is a loop.
func (p *plan) checkWays(ctx context.Context) error {
	for _, r := range p.routes {
		ways, err := p.ways(ctx, r.edge)
		if err != nil {
			return err
		}
		for _, way := range ways {
			if err := p.checkLoop(way, r.edge); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkLoop refuses a way whose first stop is one of our own listeners.
func (p *plan) checkLoop(way proxy.Way, server *url.URL) error {
	first, what := server, "the edge "+edge.Host(server)
	if len(way.Hops) > 0 {
		first, what = way.Hops[0].URL, fmt.Sprintf("the forward proxy %s (%s)", way.Hops[0], way.Hops[0].Source)
	}
	for _, r := range p.routes {
		if meets(r.listen, first) {
			return usagef("--listen %s: %s would be this listener itself", r.listen, what)
		}
	}
	return nil
}

// meets reports whether a listener on spec would answer for a URL. It looks up
// no names: localhost is the only one that it knows.
func meets(spec string, u *url.URL) bool {
	host, port, err := net.SplitHostPort(spec)
	if err != nil || port == "0" || port != u.Port() || listen.IsStdio(spec) {
		return false
	}
	at, theirs := loopbackName(host), loopbackName(u.Hostname())
	if host == "" {
		at = netip.IPv6Unspecified()
	}
	return at.IsValid() && theirs.IsValid() && answers(at, theirs)
}

func loopbackName(host string) netip.Addr {
	if name := strings.ToLower(strings.TrimSuffix(host, ".")); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	ip, _ := netip.ParseAddr(host)
	return ip.Unmap()
}

// answers reports whether a listener bound to at takes what is sent to ip.
func answers(at, ip netip.Addr) bool {
	at, ip = at.Unmap(), ip.Unmap()
	if !at.IsUnspecified() {
		return at == ip
	}
	return ip.IsLoopback() || ip.IsUnspecified() || isLocal(ip)
}

// isLocal reports whether an address belongs to this machine.
func isLocal(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip.AsSlice()) {
			return true
		}
	}
	return false
}
