// Package nettest is what the tests of several packages share: the two ends of
// a real connection on loopback, and waiting that comes to an end. Tests alone
// import it.
package nettest

import (
	"io"
	"net"
	"testing"
	"time"
)

// Patience bounds what a test waits for. Nothing is expected to take long: it
// ends only a test that hangs.
const Patience = time.Minute

// Connect returns the two ends of a TCP connection on loopback.
func Connect() (near, far *net.TCPConn, err error) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if near, err = net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr)); err != nil {
		return nil, nil, err
	}
	if far, err = ln.AcceptTCP(); err != nil {
		near.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// Pair is Connect for a test: both ends fail after Patience, and are closed
// with the test.
func Pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	near, far, err := Connect()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.TCPConn{near, far} {
		c.SetDeadline(time.Now().Add(Patience))
		t.Cleanup(func() { c.Close() })
	}
	return near, far
}

// Reset closes c so that its peer reads a reset.
func Reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// Say writes text.
func Say(t testing.TB, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); n != len(text) || err != nil {
		t.Fatalf("wrote %d bytes of %d: %v", n, len(text), err)
	}
}

// Hear reads exactly what is wanted.
func Hear(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q and %v, want %q", got[:n], err, want)
	}
}

// Receive waits for a value.
func Receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}
