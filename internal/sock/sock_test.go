package sock_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opaque hides that a connection is a socket.
type opaque struct{ net.Conn }

// sources are the two ways of reading: with and without asking the system.
var sources = map[string]func(c *net.TCPConn) io.Reader{
	"socket": func(c *net.TCPConn) io.Reader { return c },
	"other":  func(c *net.TCPConn) io.Reader { return opaque{c} },
}

func eachSource(t *testing.T, test func(t *testing.T, s *sock.Source, near, far *net.TCPConn)) {
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			near, far := nettest.Pair(t)
			s := sock.NewSource(source(near))
			defer s.Release()
			test(t, s, near, far)
		})
	}
}

func TestSourceHeadroom(t *testing.T) {
	eachSource(t, func(t *testing.T, s *sock.Source, _, far *net.TCPConn) {
		for _, headroom := range []int{0, 9, 100} {
			nettest.Say(t, far, "hello")
			b, err := s.Next(headroom)
			if err != nil || string(b[headroom:]) != "hello" {
				t.Errorf("headroom %d: %q, %v", headroom, b, err)
			}
			s.Release()
			s.Release() // once more does nothing
		}
		far.CloseWrite()
		for range 2 {
			if b, err := s.Next(9); b != nil || err != io.EOF {
				t.Errorf("at the end: %q, %v", b, err)
			}
		}
	})
}

// Pieces grow while much flows, and shrink again.
func TestSourceTiers(t *testing.T) {
	eachSource(t, func(t *testing.T, s *sock.Source, near, far *net.TCPConn) {
		near.SetReadBuffer(1 << 20)
		const size = 4 << 20
		go far.Write(make([]byte, size)) // ends with the bytes, which are read below
		got, largest := 0, 0
		for got < size {
			b, err := s.Next(9) // as for DATA frames
			if err != nil {
				t.Fatal(err)
			}
			got += len(b) - 9
			largest = max(largest, len(b))
		}
		if got != size || largest <= sock.SmallBuffer || largest > sock.LargeBuffer {
			t.Errorf("%d bytes, %d at most at once", got, largest)
		}
		const record = 16<<10 - 9 // with the headroom in front, what fills a TLS record
		if rest := (largest - 9) % record; rest != 0 {
			t.Errorf("%d bytes at once leave %d for a record of their own", largest-9, rest)
		}
		for range 2 {
			nettest.Say(t, far, "x")
			b, err := s.Next(0)
			if err != nil || string(b) != "x" {
				t.Fatalf("%q, %v", b, err)
			}
		}
	})
}

func TestSourceErrors(t *testing.T) {
	eachSource(t, func(t *testing.T, s *sock.Source, near, far *net.TCPConn) {
		nettest.Reset(far)
		if _, err := s.Next(0); !errors.Is(err, sock.ErrReset) {
			t.Errorf("after a reset: %v", err)
		}
		near.Close()
		if _, err := s.Next(0); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
	if _, err := sock.NewSource(iotest.ErrReader(io.ErrNoProgress)).Next(3); err != io.ErrNoProgress {
		t.Errorf("got %v", err)
	}
	s := sock.NewSource(iotest.DataErrReader(strings.NewReader("last"))) // bytes and the end in one call
	if b, err := s.Next(2); err != nil || string(b[2:]) != "last" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := s.Next(2); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestSourceCloseWhileWaiting(t *testing.T) {
	eachSource(t, func(t *testing.T, s *sock.Source, near, _ *net.TCPConn) {
		got := make(chan error, 1)
		go func() {
			_, err := s.Next(0)
			got <- err
		}()
		near.Close()
		if err := <-got; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSink(t *testing.T) {
	near, far := nettest.Pair(t)
	s := sock.NewSink(near)
	hello := [][]byte{[]byte("hel"), []byte("lo"), []byte("!")}
	n := s.Try(hello)
	if runtime.GOOS == "linux" && n != 6 {
		t.Errorf("took %d bytes", n)
	}
	if n == 0 {
		nettest.Say(t, near, "hello!")
	}
	nettest.Hear(t, far, "hello!")
	if n, err := s.Write([][]byte{[]byte("wor"), []byte("ld")}); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	nettest.Hear(t, far, "world")
}

// Try takes what fits and nothing twice; Write brings the rest.
func TestSinkPartial(t *testing.T) {
	near, far := nettest.Pair(t)
	s := sock.NewSink(near)
	var all []byte
	var pieces [][]byte
	for i := range 3000 { // more than one writev
		p := bytes.Repeat([]byte{byte(i)}, 5000+i%7)
		pieces, all = append(pieces, p), append(all, p...)
	}
	taken := s.Try(pieces)
	if taken < 0 || taken >= len(all) {
		t.Fatalf("took %d of %d bytes", taken, len(all))
	}
	if again := s.Try([][]byte{all[taken : taken+1]}); again != 0 {
		taken++ // the kernel found room meanwhile
	}
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(far)
		got <- b
	}()
	if n, err := s.Write([][]byte{all[taken:]}); n != int64(len(all)-taken) || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	near.CloseWrite()
	if !bytes.Equal(<-got, all) {
		t.Error("other bytes arrived")
	}
}

func TestSinkErrors(t *testing.T) {
	near, far := nettest.Pair(t)
	s := sock.NewSink(near)
	nettest.Reset(far)
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, sock.ErrReset) {
		t.Fatal(err)
	}
	if n := s.Try([][]byte{[]byte("x")}); n != 0 {
		t.Errorf("took %d bytes", n)
	}
	if _, err := s.Write([][]byte{[]byte("x")}); err == nil {
		t.Error("no error")
	}
	var b bytes.Buffer
	other := sock.NewSink(&b)
	if n := other.Try([][]byte{[]byte("x")}); n != 0 {
		t.Errorf("took %d bytes", n)
	}
	if n, err := other.Write([][]byte{[]byte("x"), []byte("y")}); n != 2 || err != nil || b.String() != "xy" {
		t.Errorf("%d, %v, %q", n, err, b.String())
	}
}

// nothing checks that nothing has been sent to far so far: what is sent now
// comes first.
func nothing(t *testing.T, near *net.TCPConn, far io.Reader) {
	t.Helper()
	nettest.Say(t, near, "|")
	nettest.Hear(t, far, "|")
}

func TestConnHoldsBack(t *testing.T) {
	near, far := nettest.Pair(t)
	c := sock.NewConn(near)
	nettest.Say(t, c, "a")
	nettest.Say(t, c, "b")
	nothing(t, near, far)
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	nettest.Hear(t, far, "ab")

	nettest.Say(t, c, "c")
	nothing(t, near, far)
	nettest.Say(t, far, "x")
	nettest.Hear(t, c, "x") // a read that waits sends first
	nettest.Hear(t, far, "c")

	nettest.Say(t, c, "d")
	c.SetWriteDeadline(time.Now().Add(nettest.Patience))
	nettest.Hear(t, far, "d")
	nettest.Say(t, c, "e")
	c.SetDeadline(time.Now().Add(nettest.Patience))
	nettest.Hear(t, far, "e")
	nettest.Say(t, c, "f")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	nettest.Hear(t, far, "f")
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v", err)
	}
	if c.NetConn() != near {
		t.Error("another connection below")
	}
}

// Bytes of every size come out as they went in.
func TestConnSizes(t *testing.T) {
	near, far := nettest.Pair(t)
	c := sock.NewConn(near)
	var want bytes.Buffer
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(far)
		got <- b
	}()
	for i, n := range []int{1, 0, sock.SmallBuffer - 1, 1, sock.SmallBuffer, sock.SmallBuffer + 1, 5, sock.LargeBuffer, 3*sock.LargeBuffer + 7, 9, sock.LargeBuffer - 3} {
		p := bytes.Repeat([]byte{byte('a' + i)}, n)
		want.Write(p)
		nettest.Say(t, c, string(p))
		if i%4 == 3 {
			c.Flush()
		}
	}
	c.Close() // sends what is held back
	if !bytes.Equal(<-got, want.Bytes()) {
		t.Error("other bytes arrived")
	}
	if _, err := c.Write(make([]byte, 1<<20)); err == nil {
		t.Error("a write after Close")
	}
	if err := c.Flush(); err == nil {
		t.Error("the error is forgotten")
	}
}

// A poller is not held up by a writer that waits for the socket, nor by what is
// held back.
func TestConnPollsBesideStuckWriter(t *testing.T) {
	near, far := nettest.Pair(t)
	c := sock.NewConn(near)
	c.Poll()
	stuck := make(chan error, 1)
	started := make(chan struct{})
	go func() { // joined below
		b := make([]byte, 1<<20)
		for first := true; ; first = false {
			if _, err := c.Write(b); err != nil {
				stuck <- err
				return
			}
			if first {
				close(started)
			}
		}
	}()
	<-started
	for range 3 {
		nettest.Say(t, far, "x")
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		nettest.Hear(t, c, "x")
		if _, err := c.Read(make([]byte, 1)); err != sock.ErrWouldBlock {
			t.Fatalf("got %v", err)
		}
	}
	c.Close() // frees the writer
	if err := <-stuck; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := c.Wait(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Polling, over a socket and over what cannot be asked: every byte once, then
// the end.
func TestConnPolls(t *testing.T) {
	for name, over := range map[string]func(c *net.TCPConn) net.Conn{
		"socket": func(c *net.TCPConn) net.Conn { return c },
		"other":  func(c *net.TCPConn) net.Conn { return opaque{c} },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := nettest.Pair(t)
			c := sock.NewConn(over(near))
			nettest.Say(t, far, "hand")
			nettest.Hear(t, c, "hand") // blocking, as in a handshake
			c.Poll()
			if _, err := c.Read(make([]byte, 1)); err != sock.ErrWouldBlock {
				t.Errorf("got %v", err)
			}
			nettest.Say(t, far, "hello world")
			far.CloseWrite()
			var got []byte
			for {
				err := c.Wait()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				for b := make([]byte, 3); ; {
					n, err := c.Read(b)
					got = append(got, b[:n]...)
					if err != nil {
						break // ErrWouldBlock, or the end, which Wait tells as well
					}
				}
			}
			if string(got) != "hello world" || !c.Ended() {
				t.Errorf("got %q, ended %t", got, c.Ended())
			}
		})
	}
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"edge.test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TLS over a polling Conn: records that come in pieces are kept between polls,
// and a close_notify goes out although it is held back when TLS sets its
// deadline.
func TestConnUnderTLS(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			cert, pool := certificate(t)
			near, far := nettest.Pair(t)
			middle, end := nettest.Pair(t) // far <-> middle by hand, so that records can be cut
			server := tls.Server(end, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version})
			upDone := make(chan struct{})
			go func() { // joined below
				defer close(upDone)
				io.Copy(middle, far)
				middle.CloseWrite()
			}()
			serverDone := make(chan error, 1)
			go func() { // joined below
				_, err := server.Write(bytes.Repeat([]byte("down"), 20_000))
				if err == nil {
					_, err = io.ReadAll(server) // nil only after close_notify
				}
				server.CloseWrite()
				end.CloseWrite()
				serverDone <- err
			}()
			downDone := make(chan struct{})
			go func() { // joined below; one byte of each 100 comes alone
				defer close(downDone)
				defer far.CloseWrite()
				buf := make([]byte, 101)
				for {
					n, err := middle.Read(buf)
					for _, p := range [][]byte{buf[:n/2], buf[n/2 : n]} {
						if _, werr := far.Write(p); werr != nil {
							return
						}
					}
					if err != nil {
						return
					}
				}
			}()
			under := sock.NewConn(near)
			c := tls.Client(under, &tls.Config{RootCAs: pool, ServerName: "edge.test"})
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			under.Flush()
			under.Poll()
			var got []byte
			buf := make([]byte, 5000)
			for len(got) < 80_000 {
				n, err := c.Read(buf)
				got = append(got, buf[:n]...)
				if err == sock.ErrWouldBlock {
					err = under.Wait()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if want := bytes.Repeat([]byte("down"), 20_000); !bytes.Equal(got, want) {
				t.Error("other bytes arrived")
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if err := <-serverDone; err != nil {
				t.Errorf("the server reads: %v", err)
			}
			for {
				_, err := c.Read(buf)
				if err == sock.ErrWouldBlock {
					err = under.Wait()
				}
				if err != nil {
					if err != io.EOF {
						t.Errorf("got %v", err)
					}
					break
				}
			}
			c.Close()
			<-upDone
			<-downDone
		})
	}
}

// The peer of a reset reads every byte, then the reset.
func TestEdgeCase57_ResetAfterAllBytes(t *testing.T) {
	near, far := nettest.Pair(t)
	const size = 1 << 20
	got := make(chan []byte, 1)
	errs := make(chan error, 1)
	started := make(chan struct{})
	go func() { // joined below
		close(started)
		b, err := io.ReadAll(far)
		got <- b
		errs <- err
	}()
	<-started
	nettest.Say(t, near, strings.Repeat("x", size))
	if err := sock.Reset(sock.NewConn(near)); err != nil { // through a wrapper, too
		t.Error(err)
	}
	if b := <-got; len(b) != size {
		t.Errorf("%d bytes of %d", len(b), size)
	}
	if err := <-errs; !errors.Is(err, sock.ErrReset) {
		t.Errorf("got %v", err)
	}
}

func TestResetOfOthers(t *testing.T) {
	near, far := net.Pipe()
	if err := sock.Reset(near); err != nil {
		t.Error(err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

func TestSettle(t *testing.T) {
	near, far := nettest.Pair(t)
	sock.Settle(near, nettest.Patience, nil) // nothing to wait for
	near.SetWriteDeadline(time.Now().Add(nettest.Patience))
	done := make(chan struct{})
	over := make(chan struct{})
	filled := make(chan struct{})
	go func() { // joined below
		defer close(over)
		sink := sock.NewSink(near)
		for sink.Try([][]byte{make([]byte, 1<<20)}) > 0 {
		}
		close(filled)
		sock.Settle(near, time.Hour, done)
	}()
	<-filled
	close(done) // a full queue, and nobody reads: only this ends it
	<-over
	go io.Copy(io.Discard, far) // ends with the pair
	sock.Settle(near, nettest.Patience, nil)
	a, _ := net.Pipe()
	defer a.Close()
	sock.Settle(a, time.Hour, nil)
}

func TestQuickAck(t *testing.T) {
	near, _ := nettest.Pair(t)
	sock.QuickAck(sock.NewConn(near))
	sock.QuickAck(opaque{near})
	a, _ := net.Pipe()
	defer a.Close()
	sock.QuickAck(a)
}

// Buffers are not mixed up when they go back and forth.
func TestBuffers(t *testing.T) {
	for range 100 {
		small, large := sock.TakeBuffer(false), sock.TakeBuffer(true)
		if len(small.B) != sock.SmallBuffer || len(large.B) != sock.LargeBuffer {
			t.Fatalf("%d and %d bytes", len(small.B), len(large.B))
		}
		small.B = small.B[:0]
		large.B = large.B[:7]
		small.Free()
		large.Free()
	}
	(*sock.Buffer)(nil).Free()
}
