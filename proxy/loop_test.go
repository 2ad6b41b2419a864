package proxy_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

func TestEdgeCase37_Loops(t *testing.T) {
	for _, tc := range []struct {
		proxy, listen string
		want          bool
	}{
		{"http://127.0.0.1:5432", "127.0.0.1:5432", true},
		{"127.0.0.1:5432", "127.0.0.1:5433", false},
		{"127.0.0.2:5432", "127.0.0.1:5432", false},
		{"localhost:5432", "127.0.0.1:5432", true},
		{"LocalHost.:5432", "[::1]:5432", true},
		{"127.1:5432", "127.0.0.1:5432", true},
		{"socks5://localhost:5432", "0.0.0.0:5432", true},
		{"[::1]:5432", "[::]:5432", true},
		{"[::ffff:127.0.0.1]:5432", "127.0.0.1:5432", true},
		{"0.0.0.0:5432", "127.0.0.1:5432", true},
		{"192.0.2.1:5432", "0.0.0.0:5432", false},
		{"192.0.2.1:5432", "192.0.2.1:5432", true},
		{"proxy.invalid:5433", "127.0.0.1:5432", false},
		{"direct", "127.0.0.1:5432", false},
	} {
		s, err := proxy.Fixed(tc.proxy, "--forward-proxy", proxy.Config{})
		if err != nil {
			t.Fatal(err)
		}
		ways, _ := s.Ways(t.Context(), mustParse(t, "https://edge.test"))
		listen := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(tc.listen))
		if got := ways[0].LoopsTo(t.Context(), listen); got != tc.want {
			t.Errorf("proxy %s, listening on %s: %v", tc.proxy, tc.listen, got)
		}
	}
	way := proxy.Way{Hops: []*proxy.Hop{hop(t, "127.0.0.1:5432", nil)}}
	if way.LoopsTo(t.Context(), &net.UnixAddr{Name: "/run/x", Net: "unix"}) {
		t.Error("a proxy loops to a Unix socket")
	}
}
