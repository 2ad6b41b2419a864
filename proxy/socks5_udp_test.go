package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/proxy"
)

const (
	udpRequest = "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"
	udpHeader  = "\x00\x00\x00\x03\x09edge.test\x01\xbb"
)

// udpRelay is a relay that sends back each datagram with its header, after each
// of others.
func udpRelay(t *testing.T, others ...string) net.Addr {
	t.Helper()
	relay, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { relay.Close(); <-done })
	go func() { // joined by the clean-up
		defer close(done)
		buf := make([]byte, 2000)
		for {
			n, from, err := relay.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, says := range append(others, string(buf[:n])) {
				relay.WriteTo([]byte(says), from)
			}
		}
	}()
	return relay.LocalAddr()
}

// way is one of a single proxy.
func way(t *testing.T, raw, addr string) proxy.Way {
	t.Helper()
	return proxy.Way{Hops: []*proxy.Hop{hop(t, raw, to(addr))}, Source: "test"}
}

func TestDialUDP_SOCKS5(t *testing.T) {
	relay := udpRelay(t, "", "\x00\x00\x01\x03\x00\x00\x00fragment", "\x00\x00\x00\x07\x00\x00\x00\x00", "\x00\x00\x00\x03\xff").(*net.UDPAddr)
	port := string([]byte{byte(relay.Port >> 8), byte(relay.Port)})
	for name, bound := range map[string]string{
		"address":     "\x05\x00\x00\x01\x7f\x00\x00\x01" + port,
		"unspecified": "\x05\x00\x00\x01\x00\x00\x00\x00" + port,
		"name":        "\x05\x00\x00\x03\x09127.0.0.1" + port,
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			at := serve(t, func(c net.Conn, _ int) {
				defer close(gone)
				if (socksServer{method: "\x05\x02", login: "\x01\x00", reply: bound, greeting: "\x05\x02\x00\x02", password: "\x01\x01u\x01p", request: udpRequest}).play(t, c) {
					io.Copy(io.Discard, c)
				}
			})
			conn, err := way(t, "socks5://u:p@127.0.0.1", at).DialUDP(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := conn.Write([]byte("ping")); n != 4 || err != nil {
				t.Errorf("writing: %d, %v", n, err)
			}
			got := make([]byte, 100)
			n, err := conn.Read(got)
			if string(got[:n]) != "ping" || err != nil {
				t.Errorf("got %q, %v", got[:n], err)
			}
			conn.Close()
			<-gone // the association ends with its connection
		})
	}
}

func TestDialUDP_Refused(t *testing.T) {
	refuses := func(reply string) string {
		return serve(t, func(c net.Conn, _ int) {
			socksServer{method: "\x05\x00", reply: reply, greeting: "\x05\x01\x00", request: udpRequest}.play(t, c)
		})
	}
	if _, err := way(t, "http://proxy.test", "").DialUDP(t.Context(), target); !errors.Is(err, proxy.ErrNoUDP) {
		t.Errorf("an HTTP proxy: %v", err)
	}
	if _, err := way(t, "socks5://proxy.test", refuses("\x05\x07\x00\x01")).DialUDP(t.Context(), target); !errors.Is(err, proxy.ErrNoUDP) || asError(t, err).Op != proxy.OpConnect {
		t.Errorf("a command that is not known: %v", err)
	}
	if _, err := way(t, "socks5://proxy.test", refuses("\x05\x02\x00\x01")).DialUDP(t.Context(), target); !errors.Is(err, proxy.Reply(2)) {
		t.Errorf("not allowed: %v", err)
	}
	if _, err := way(t, "socks5://proxy.test", "").DialUDP(t.Context(), strings.Repeat("x", 256)+":1"); err == nil {
		t.Error("a name of 256 bytes goes")
	}
}

// FuzzUDPHeader: whatever a relay sends, no read panics, and what is read is
// the end of what was sent.
func FuzzUDPHeader(f *testing.F) {
	for _, seed := range []string{udpHeader + "payload", "\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x01x", "\x00\x00\x00\x04" + strings.Repeat("\x00", 18), "\x00\x00\x01\x03", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		payload, ok := proxy.CutUDPHeader(datagram)
		if ok && (len(payload) > len(datagram)-7 || !bytes.HasSuffix(datagram, payload)) {
			t.Errorf("%q of %q", payload, datagram)
		}
	})
}
