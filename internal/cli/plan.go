package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/proxy"
)

// plan is a command line of tcp that has been checked: all that can be wrong
// with it was found before anything opened.
type plan struct {
	tcpFlags
	routes      []route
	out         wayOut
	getenv      func(string) string
	edgeCAs     authorities
	proxyCAs    authorities
	clientPair  *tls.Certificate
	proxyPair   *tls.Certificate
	account     *login.ServiceAccount // nil: a person signs in
	proxyUser   *url.Userinfo         // for a proxy without a user in its URL; may be nil
	proxyHeader http.Header
	proxyAuth   []string // nil: all schemes
}

// route is one destination, its edge, and its local end.
type route struct {
	destination string // host:port, as the edge knows it
	edge        *url.URL
	listen      string
}

// check makes a plan of the flags and arguments.
func (f tcpFlags) check(cmd *cobra.Command, args []string, getenv func(string) string) (*plan, error) {
	if err := f.checkNumbers(); err != nil {
		return nil, err
	}
	p := &plan{tcpFlags: f, getenv: getenv}
	var err error
	if p.out, err = f.wayOut(cmd, getenv); err != nil {
		return nil, usagef("%w", err)
	}
	if p.routes, err = f.routes(args); err != nil {
		return nil, err
	}
	if p.account, err = f.findAccount(cmd, getenv); err != nil {
		return nil, err
	}
	if err := p.readCertificates(); err != nil {
		return nil, err
	}
	if err := p.readProxyLogin(cmd.Flags().Changed("forward-proxy-auth")); err != nil {
		return nil, err
	}
	return p, p.checkWays(cmd.Context())
}

// routes understands the destinations and gives each its local end.
func (f *tcpFlags) routes(args []string) ([]route, error) {
	if len(args) == 0 {
		return nil, &usageError{command: "pomerium-cli tcp", err: errors.New("no destination given")}
	}
	specs, err := f.listens(len(args))
	if err != nil {
		return nil, err
	}
	routes := make([]route, len(args))
	for i, arg := range args {
		addr, server, err := edge.ParseDestination(arg, f.pomeriumURL)
		if err != nil {
			return nil, usagef("%w", err)
		}
		routes[i] = route{destination: addr, edge: server, listen: specs[i]}
	}
	return routes, nil
}

func (p *plan) readCertificates() error {
	if err := p.edgeCAs.addFile("--alternate-ca-path", p.caPath); err != nil {
		return err
	}
	if err := p.edgeCAs.addBase64("--ca-cert", p.caBase64); err != nil {
		return err
	}
	if err := p.proxyCAs.addFile("--forward-proxy-ca-path", p.forwardProxyCAPath); err != nil {
		return err
	}
	var err error
	if p.clientPair, err = clientCertificate("--client", p.clientCert, p.clientKey); err != nil {
		return err
	}
	p.proxyPair, err = clientCertificate("--forward-proxy-client", p.forwardProxyCert, p.forwardProxyKey)
	return err
}

// readProxyLogin finds out what the forward proxy may be told.
func (p *plan) readProxyLogin(insist bool) (err error) {
	if p.proxyHeader, err = proxyHeader(p.forwardProxyHeader); err != nil {
		return err
	}
	if p.proxyUser, err = proxyLogin(p.forwardProxyLogin, p.getenv); err != nil {
		return err
	}
	if insist {
		if p.proxyAuth, err = proxy.ParseAuth(p.forwardProxyAuth); err != nil {
			return usagef("--forward-proxy-auth: %w", err)
		}
	}
	return nil
}

// checkWays looks at the way to each edge without dialing: a setting that
// cannot be used is known now, and so is a loop.
func (p *plan) checkWays(ctx context.Context) error {
	s, err := p.out.selector(p.getenv, proxy.Config{})
	if err != nil {
		return usagef("%w", err)
	}
	if plain := p.out.plain(); len(plain.proxies) < len(p.out.proxies) {
		if len(plain.proxies) == 0 {
			return nil // a script will say
		}
		if s, err = plain.selector(p.getenv, proxy.Config{}); err != nil {
			return usagef("%w", err)
		}
	}
	for _, r := range p.routes {
		ways, err := s.Ways(ctx, r.edge)
		if err != nil {
			return usagef("%w", err)
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
