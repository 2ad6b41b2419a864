package cli

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/proxy"
)

// reach is how an edge is reached and who asks it, as the flags and the
// environment say: checked, and nothing opened yet.
type reach struct {
	reachFlags
	out         wayOut
	getenv      func(string) string
	edgeCAs     authorities
	proxyCAs    authorities
	clientPair  *tls.Certificate
	proxyPair   *tls.Certificate
	account     *login.ServiceAccount // nil: a person signs in
	browser     []string              // the words of --browser-cmd
	command     string                // "pomerium-cli tcp"
	proxyUser   *url.Userinfo         // for a proxy without a user in its URL; may be nil
	proxyUserOf string                // the setting that has it
	proxyHeader http.Header
	proxyAuth   []string // nil: all schemes
}

// check makes a reach of the flags.
func (f reachFlags) check(cmd *cobra.Command, getenv func(string) string) (*reach, error) {
	r := &reach{reachFlags: f, getenv: getenv, command: cmd.CommandPath()}
	var err error
	if r.out, err = f.wayOut(cmd, getenv); err != nil {
		return nil, usagef("%w", err)
	}
	if r.account, err = f.findAccount(cmd, getenv); err != nil {
		return nil, err
	}
	if r.browser, err = f.signInFlags.check(); err != nil {
		return nil, err
	}
	if err := r.readCertificates(); err != nil {
		return nil, err
	}
	return r, r.readProxyLogin(cmd.Flags().Changed("forward-proxy-auth"))
}

func (r *reach) readCertificates() error {
	if err := r.edgeCAs.addFile("--alternate-ca-path", r.caPath); err != nil {
		return err
	}
	if err := r.edgeCAs.addBase64("--ca-cert", r.caBase64); err != nil {
		return err
	}
	if err := r.proxyCAs.addFile("--forward-proxy-ca-path", r.forwardProxyCAPath); err != nil {
		return err
	}
	var err error
	if r.clientPair, err = clientCertificate("--client", r.clientCert, r.clientKey); err != nil {
		return err
	}
	r.proxyPair, err = clientCertificate("--forward-proxy-client", r.forwardProxyCert, r.forwardProxyKey)
	return err
}

// readProxyLogin finds out what the forward proxy may be told.
func (r *reach) readProxyLogin(insist bool) (err error) {
	if r.proxyHeader, err = proxyHeader(r.forwardProxyHeader); err != nil {
		return err
	}
	if r.proxyUser, r.proxyUserOf, err = proxyLogin(r.forwardProxyLogin, r.getenv); err != nil {
		return err
	}
	if spn := r.forwardProxySPN; spn != "" && !isSPN(spn) {
		return usagef("--forward-proxy-spn %q: not of the form HTTP/proxy.internal", spn)
	}
	if name := r.forwardProxyName; name != "" && !isHost(name) {
		return usagef("--forward-proxy-tls-server-name %q: not a host name alone, without scheme and port", name)
	}
	if insist {
		if r.proxyAuth, err = proxy.ParseAuth(r.forwardProxyAuth); err != nil {
			return usagef("--forward-proxy-auth: %w", err)
		}
	}
	return nil
}

func isSPN(s string) bool {
	service, host, ok := strings.Cut(s, "/")
	return ok && service != "" && host != "" && !strings.ContainsFunc(s, unicode.IsSpace)
}

func isHost(s string) bool {
	_, _, err := net.SplitHostPort(s)
	return err != nil && !strings.ContainsAny(s, "/@[]") && !strings.ContainsFunc(s, unicode.IsSpace)
}

// ways returns the ways to an edge, as far as they are known without fetching
// anything; an error is a setting that cannot be used.
func (r *reach) ways(ctx context.Context, server *url.URL) ([]proxy.Way, error) {
	s, err := r.out.selector(r.getenv, proxy.Config{})
	if err != nil {
		return nil, usagef("%w", err)
	}
	if plain := r.out.plain(); len(plain.proxies) < len(r.out.proxies) {
		if len(plain.proxies) == 0 {
			return nil, nil // a script or the system will say
		}
		if s, err = plain.selector(r.getenv, proxy.Config{}); err != nil {
			return nil, usagef("%w", err)
		}
	}
	ways, err := s.Ways(ctx, server)
	if err != nil {
		return nil, usagef("%w", err)
	}
	return ways, nil
}
