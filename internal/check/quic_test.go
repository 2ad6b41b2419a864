package check_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomerium/pomerium-cli/internal/check"
)

// ours is a connection ID of ours, as it stands in packets.
const ours = "\x08abcdefgh"

// theirs is one of the other side.
const theirs = "\x08ABCDEFGH"

func TestParseVersions(t *testing.T) {
	for _, tc := range []struct {
		name, packet string
		want         []uint32 // nil: none
	}{
		{"one", "\x80\x00\x00\x00\x00" + ours + theirs + "\x00\x00\x00\x01", []uint32{1}},
		{"greased among others", "\xcf\x00\x00\x00\x00" + ours + theirs + "\x1a\xaa\x0a\x2a\x6b\x33\x43\xcf\x00\x00\x00\x01", []uint32{0x6b3343cf, 1}},
		{"longer ids", "\x80\x00\x00\x00\x00" + ours + "\x14" + "01234567890123456789" + "\xff\x00\x00\x1d", []uint32{0xff00001d}},
		{"id of length 0", "\x80\x00\x00\x00\x00" + ours + "\x00" + "\x00\x00\x00\x01", []uint32{1}},
		{"another's id", "\x80\x00\x00\x00\x00" + theirs + ours + "\x00\x00\x00\x01", nil},
		{"another version", "\x80\x00\x00\x00\x01" + ours + theirs + "\x00\x00\x00\x01", nil},
		{"short header", "\x40\x00\x00\x00\x00" + ours + theirs + "\x00\x00\x00\x01", nil},
		{"no versions", "\x80\x00\x00\x00\x00" + ours + theirs, nil},
		{"half a version", "\x80\x00\x00\x00\x00" + ours + theirs + "\x00\x00\x00\x01\x00", nil},
		{"cut in an id", "\x80\x00\x00\x00\x00" + ours + "\x08ABC", nil},
		{"cut before the ids", "\x80\x00\x00\x00\x00", nil},
		{"empty", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := check.ParseVersions([]byte(tc.packet), []byte(ours[1:]))
			if !slices.Equal(got, tc.want) || (err == nil) != (tc.want != nil) {
				t.Errorf("got %x, %v", got, err)
			}
		})
	}
}

func FuzzParseVersions(f *testing.F) {
	f.Add([]byte("\x80\x00\x00\x00\x00"+ours+theirs+"\x00\x00\x00\x01"), []byte(ours[1:]))
	f.Add([]byte("\xff\x00\x00\x00\x00\x00\xff"), []byte(""))
	f.Add([]byte("\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"), []byte(""))
	f.Fuzz(func(t *testing.T, packet, id []byte) {
		versions, err := check.ParseVersions(packet, id)
		if 4*len(versions) > len(packet) || err == nil && !bytes.Contains(packet, id) {
			t.Errorf("%x of %x", versions, packet)
		}
	})
}

func TestVersionProbe(t *testing.T) {
	packet, id := check.VersionProbe()
	if len(packet) != 1200 || packet[0]&0xc0 != 0xc0 || !bytes.Equal(packet[1:5], []byte{0x1a, 0x2a, 0x3a, 0x4a}) {
		t.Errorf("%d bytes, beginning with %x", len(packet), packet[:5])
	}
	if len(id) != 8 || !bytes.Equal(packet[15:23], id) {
		t.Errorf("the answer would be for %x, the packet has %x", id, packet[:24])
	}
}

// quicServer answers each datagram that is a probe with what answer makes of the
// connection ID to answer to, "" for nothing; n counts from 1.
func quicServer(t *testing.T, answer func(n int, id string) []string) (addr string) {
	t.Helper()
	ln, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-done })
	go func() { // joined by the clean-up
		defer close(done)
		buf := make([]byte, 2000)
		for n := 1; ; n++ {
			size, from, err := ln.ReadFrom(buf)
			if err != nil {
				return
			}
			if size != 1200 {
				t.Errorf("a datagram of %d bytes", size)
			}
			for _, says := range answer(n, string(buf[14:23])) {
				ln.WriteTo([]byte(says), from)
			}
		}
	}()
	return ln.LocalAddr().String()
}

func TestKnock(t *testing.T) {
	addr := quicServer(t, func(n int, id string) []string {
		if n == 1 {
			return nil // lost
		}
		return []string{"", "\x80", "\x80\x00\x00\x00\x00" + theirs + ours + "\x00\x00\x00\x02", "\x80\x00\x00\x00\x00" + id + theirs + "\x00\x00\x00\x01"}
	})
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	versions, err := check.Knock(t.Context(), conn)
	if err != nil || len(versions) != 1 || check.VersionName(versions[0]) != "QUIC 1" {
		t.Errorf("got %x, %v", versions, err)
	}
}

func TestKnock_Silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := net.Pipe()
		defer conn.Close()
		defer peer.Close()
		packets := make(chan int)
		go func() { // joined below
			n, buf := 0, make([]byte, 1200)
			for ; ; n++ {
				if _, err := io.ReadFull(peer, buf); err != nil {
					packets <- n
					return
				}
			}
		}()
		start := time.Now()
		_, err := check.Knock(t.Context(), conn)
		conn.Close()
		if n := <-packets; err == nil || n != 5 || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %d packets and %s", err, n, time.Since(start))
		}
	})
}

func TestKnock_Cancelled(t *testing.T) {
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	conn, err := net.Dial("udp", quicServer(t, func(int, string) []string { cancel(gone); return nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := check.Knock(ctx, conn); err != gone {
		t.Error(err)
	}
}

func TestHTTP3Port(t *testing.T) {
	for field, want := range map[string]string{
		`h3=":443"; ma=86400`:               "443",
		`h2=":1", h3=":8443";ma=1, h3=":1"`: "8443",
		`h3-29=":443"`:                      "",
		`h3="other.example:4433"`:           "4433",
		`h3=":0x"`:                          "",
		`h3=":65536"`:                       "",
		`clear`:                             "",
		``:                                  "",
		`h3=`:                               "",
	} {
		if got, ok := check.HTTP3Port(field); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %t", field, got, ok)
		}
	}
}
