package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/pomerium/pomerium-cli/proxy"
)

// udp looks for a QUIC server at the edge: on the port that the edge advertises
// for HTTP/3, else on its own. No tunnel depends on it.
func (w *Walk) udp(ctx context.Context, way proxy.Way, altSvc string) Step {
	defer w.waiting(StepUDP)()
	port, advertised := http3Port(altSvc)
	if !advertised {
		port = w.Edge.Port()
	}
	s := Step{Name: StepUDP, State: OK, At: w.at(), Target: net.JoinHostPort(w.Edge.Hostname(), port)}
	if advertised {
		s.AltSvc = "h3=:" + port
	}
	start := time.Now()
	conn, err := way.DialUDP(ctx, s.Target)
	if err == nil {
		defer conn.Close()
		var versions []uint32
		versions, err = knock(ctx, conn)
		for _, v := range versions {
			s.Versions = append(s.Versions, versionName(v))
		}
	}
	switch {
	case errors.Is(err, proxy.ErrNoUDP):
		s.State, s.Error, s.Err = Skipped, err.Error(), err
	case err != nil:
		s = w.noted(s, err)
	default:
		s.took(time.Since(start))
	}
	return s
}

// http3Port finds the port of HTTP/3 in a field Alt-Svc (RFC 7838 3).
func http3Port(altSvc string) (port string, ok bool) {
	for entry := range strings.SplitSeq(altSvc, ",") {
		entry, _, _ = strings.Cut(entry, ";")
		authority, ok := strings.CutPrefix(strings.TrimSpace(entry), "h3=")
		if !ok {
			continue
		}
		// Another host would be another server: its name is not looked at.
		_, port, err := net.SplitHostPort(strings.Trim(authority, `"`))
		if _, bad := netip.ParseAddrPort("[::]:" + port); err == nil && bad == nil {
			return port, true
		}
	}
	return "", false
}
