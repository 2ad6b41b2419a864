//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// TestEdgeCase26_SharedConnection has tunnels to an edge on HTTP/1.1, so that each is a stream, on one connection to a proxy
// that picks h2.
func TestEdgeCase26_SharedConnection(t *testing.T) {
	t.Parallel()
	oneWay(t)
	tun := open(t, arguments(proxy(t, "nghttpx"), "h1", world.Echo, append(goodToken, "--log-level", "debug")...))
	var conns []net.Conn
	for range 5 {
		conn := tun.dial(t)
		io.WriteString(conn, "ping")
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
	if opened, shared := tun.log.lines("proxy connected"), tun.log.lines("alpn=h2.*issuer"); opened < 5 || shared != 1 {
		t.Errorf("%d tunnels through %d connections to the proxy, want one\n%s", opened, shared, tun.log)
	}
}

// TestEdgeCase26_Stalled stops reading one tunnel and sends into it what its destination does not take: those beside it go on,
// memory stays bounded, and nothing is lost.
func TestEdgeCase26_Stalled(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			oneWay(t)
			const size = 64 << 20
			tun := open(t, arguments(proxy(t, "nghttpx"), protocol, world.Target, goodToken...))
			stalled := tun.dial(t)
			fmt.Fprint(stalled, world.Order{Send: size, Take: size, End: world.Digest})
			sent := make(chan error, 1)
			go func() { // joined below
				_, err := io.CopyN(stalled, world.NewPattern(), size)
				sent <- err
			}()
			for range 3 {
				conn := tun.dial(t)
				fmt.Fprint(conn, world.Order{Send: size, End: world.Close})
				if n, sum, err := drain(conn, nil); sum != world.Sum(size) || err != nil {
					t.Fatalf("beside the stalled tunnel: %d bytes of %d, %v", n, size, err)
				}
				bulk(t, tun.Addr)
			}
			if peak := peakMemory(t, tun.cmd.Process.Pid); peak > 96<<20 {
				t.Errorf("memory grew to %d MiB", peak>>20)
			}
			if n, sum, err := drain(io.LimitReader(stalled, size), nil); sum != world.Sum(size) || err != nil {
				t.Errorf("the stalled tunnel: %d bytes of %d, %v", n, size, err)
			}
			if digest, err := io.ReadAll(stalled); string(digest) != world.Sum(size) {
				t.Errorf("the destination took %q, %v; want %s", digest, err, world.Sum(size))
			}
			if err := <-sent; err != nil {
				t.Error("sending:", err)
			}
		})
	}
}
