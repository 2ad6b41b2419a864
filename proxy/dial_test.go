package proxy_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/proxy"
)

// lookup resolves every name to ips.
func lookup(ips ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(context.Context, string) ([]netip.Addr, error) {
		all := make([]netip.Addr, len(ips))
		for i, ip := range ips {
			all[i] = netip.MustParseAddr(ip)
		}
		return all, nil
	}
}

// never is a dial into a black hole.
func never(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestEdgeCase24_AddressesInTurn(t *testing.T) {
	type attempt struct {
		Addr string
		At   time.Duration
	}
	for _, tc := range []struct {
		name   string
		ips    []string
		dead   string // refuses at once
		silent string // never answers
		want   []attempt
		err    string
	}{
		{name: "first answers", ips: []string{"2001:db8::1", "192.0.2.1"}, want: []attempt{{"[2001:db8::1]:80", 0}}},
		{name: "first is dead", ips: []string{"192.0.2.1", "192.0.2.2"}, dead: "192.0.2.1",
			want: []attempt{{"192.0.2.1:80", 0}, {"192.0.2.2:80", 0}}},
		{name: "first is silent", ips: []string{"192.0.2.1", "192.0.2.2"}, silent: "192.0.2.1",
			want: []attempt{{"192.0.2.1:80", 0}, {"192.0.2.2:80", 250 * time.Millisecond}}},
		{name: "families in turn", ips: []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "::ffff:192.0.2.2"},
			silent: "2001:db8::1 2001:db8::2 2001:db8::3 192.0.2.1",
			want: []attempt{{"[2001:db8::1]:80", 0}, {"192.0.2.1:80", 250 * time.Millisecond}, {"[2001:db8::2]:80", 500 * time.Millisecond},
				{"192.0.2.2:80", 750 * time.Millisecond}}},
		{name: "silent, dead, alive", ips: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, silent: "192.0.2.1", dead: "192.0.2.2",
			want: []attempt{{"192.0.2.1:80", 0}, {"192.0.2.2:80", 250 * time.Millisecond}, {"192.0.2.3:80", 250 * time.Millisecond}}},
		{name: "all dead", ips: []string{"192.0.2.1", "2001:db8::1"}, dead: "192.0.2.1 2001:db8::1",
			want: []attempt{{"192.0.2.1:80", 0}, {"[2001:db8::1]:80", 0}}, err: "192.0.2.1:80 refused; [2001:db8::1]:80 refused"},
		{name: "all silent", ips: []string{"192.0.2.1", "192.0.2.2"}, silent: "192.0.2.1 192.0.2.2",
			want: []attempt{{"192.0.2.1:80", 0}, {"192.0.2.2:80", 250 * time.Millisecond}}, err: "dial tcp proxy.test:80: no connection within 15s"},
		{name: "no address", err: "lookup proxy.test: no addresses"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var mu sync.Mutex
				var attempts []attempt
				d := proxy.Dialer{Lookup: lookup(tc.ips...), Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					mu.Lock()
					attempts = append(attempts, attempt{addr, time.Since(start)})
					mu.Unlock()
					host, _, _ := net.SplitHostPort(addr)
					switch {
					case strings.Contains(tc.silent, host):
						return never(ctx, network, addr)
					case strings.Contains(tc.dead, host):
						return nil, errors.New(addr + " refused")
					}
					client, server := net.Pipe()
					server.Close()
					return client, nil
				}}
				conn, err := d.DialContext(t.Context(), "tcp", "proxy.test:80")
				if got := text(err); got != tc.err {
					t.Errorf("error %q, want %q", got, tc.err)
				}
				if err == nil {
					conn.Close()
				}
				if diff := cmp.Diff(tc.want, attempts); diff != "" {
					t.Errorf("attempts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestEdgeCase24_DeadAddressOfTheProxy(t *testing.T) {
	p := answer(t, func(int, string) (string, bool) { return "HTTP/1.1 200 OK\r\n\r\n", true })
	_, port, _ := net.SplitHostPort(p.addr)
	h := hop(t, "http://proxy.test:"+port, proxy.Dialer{Lookup: lookup("127.0.0.2", "::1", "127.0.0.1")}.DialContext)
	conn, err := h.DialContext(t.Context(), "tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exchangeEcho(t, conn, "")
	if _, ok := conn.(*net.TCPConn); !ok {
		t.Errorf("the tunnel is a %T, want the bare *net.TCPConn", conn)
	}
}

func TestDialerLateWinnersAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var peers []net.Conn
		d := proxy.Dialer{Lookup: lookup("192.0.2.1", "192.0.2.2"), Dial: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			mu.Lock()
			peers = append(peers, server)
			mu.Unlock()
			time.Sleep(time.Second) // of the bubble's clock; deaf to the context
			return client, nil
		}}
		conn, err := d.DialContext(t.Context(), "tcp", "proxy.test:80")
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		for i, peer := range peers {
			if _, err := peer.Read(make([]byte, 1)); err == nil {
				t.Errorf("connection %d is open", i)
			}
		}
	})
}

func TestDialerRefusesNonsense(t *testing.T) {
	for _, tc := range []struct{ network, addr, err string }{
		{"udp", "a.test:80", `dialing a.test:80: network "udp" is not tcp`},
		{"tcp", "a.test", "dialing: address a.test: missing port in address"},
		{"tcp", ":80", `dialing: address ":80" has no host`},
		{"tcp", "a.test:0", `dialing: address "a.test:0": the port is 0`},
		{"tcp", "a.test:65536", `dialing: address "a.test:65536": the port is over 65535`},
		{"tcp", "a.test:http", `dialing: address "a.test:http": the port is not a number`},
		{"tcp", "a b:80", "the host name has a character that no host name has"},
	} {
		if _, err := (proxy.Dialer{Dial: never}).DialContext(t.Context(), tc.network, tc.addr); text(err) != tc.err {
			t.Errorf("DialContext(%s, %s): %v, want %s", tc.network, tc.addr, err, tc.err)
		}
	}
}

func TestEdgeCase35_LoopbackNamesNeedNoResolver(t *testing.T) {
	addr := serve(t, func(c net.Conn, _ int) { echo(c) })
	_, port, _ := net.SplitHostPort(addr)
	d := proxy.Dialer{Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		t.Errorf("looked up %s", host)
		return nil, errors.New("no")
	}}
	for _, host := range []string{"localhost", "LOCALHOST", "localhost.", "foo.localhost", "127.0.0.1", "127.1", "127.0.1"} {
		conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		exchangeEcho(t, conn, "")
		conn.Close()
	}
}
