package sock_test

import (
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// stream is no socket, and says itself what is there.
type stream struct {
	net.Conn // nil
	pieces   chan string
	there    string
	quick    int
}

func (s *stream) QuickAck() { s.quick++ }

func (s *stream) TryRead(p []byte) (int, error) {
	if s.there == "" {
		return 0, sock.ErrWouldBlock
	}
	n := copy(p, s.there)
	s.there = s.there[n:]
	return n, nil
}

func (s *stream) WaitRead() error {
	if s.there != "" {
		return nil
	}
	var ok bool
	if s.there, ok = <-s.pieces; !ok {
		return io.EOF
	}
	return nil
}

// A Conn polls what can be polled, and adds no buffer.
func TestPollable(t *testing.T) {
	s := &stream{pieces: make(chan string, 2)}
	c := sock.NewConn(s)
	c.Poll()
	b := make([]byte, 3)
	if _, err := c.Read(b); err != sock.ErrWouldBlock {
		t.Errorf("nothing is there: %v", err)
	}
	s.pieces <- "hello"
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"hel", "lo"} {
		if n, err := c.Read(b); string(b[:n]) != want || err != nil {
			t.Errorf("got %q, %v, want %q", b[:n], err, want)
		}
	}
	if _, err := c.Read(b); err != sock.ErrWouldBlock {
		t.Errorf("nothing is left: %v", err)
	}
	close(s.pieces)
	if err := c.Wait(); err != io.EOF || !c.Ended() {
		t.Errorf("at the end: %v, ended %v", err, c.Ended())
	}
	if sock.QuickAck(c); runtime.GOOS == "linux" && s.quick != 1 {
		t.Errorf("asked %d times for quick acknowledgements", s.quick)
	}
}
