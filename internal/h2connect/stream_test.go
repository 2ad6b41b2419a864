package h2connect_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/nettest"
)

// kinds are the two kinds of connection.
var kinds = []struct {
	name   string
	shared bool
}{{"solo", false}, {"shared", true}}

func eachKind(t *testing.T, test func(t *testing.T, shared bool)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, k.shared) })
	}
}

// delivery is what WriteTo returned.
type delivery struct {
	n   int64
	err error
}

func writeTo(s io.WriterTo, w io.Writer) <-chan delivery {
	ch := make(chan delivery, 1)
	go func() {
		n, err := s.WriteTo(w)
		ch <- delivery{n, err}
	}()
	return ch
}

func isData(f http2.Frame) bool   { _, ok := f.(*http2.DataFrame); return ok }
func isReset(f http2.Frame) bool  { _, ok := f.(*http2.RSTStreamFrame); return ok }
func isEither(f http2.Frame) bool { return isData(f) || isReset(f) }

func TestEdgeCase57_HalfCloseByUs(t *testing.T) {
	eachKind(t, func(t *testing.T, shared bool) {
		c, p := meet(t, h2connect.Config{Shared: shared})
		s, id := p.dial(c)
		if err := nettest.Receive(t, sent(s, []byte("ping")), "the upload"); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if f := want[*http2.DataFrame](p); string(f.Data()) != "ping" || f.StreamEnded() {
			t.Errorf("%v", f)
		}
		if f := want[*http2.DataFrame](p); len(f.Data()) != 0 || !f.StreamEnded() {
			t.Errorf("%v", f)
		}
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("a write after the end")
		}
		s.CloseWrite() // once more says nothing
		p.none("after the end", isEither)
		p.check(p.out.WriteData(id, false, []byte("po")))
		p.check(p.out.WriteData(id, true, []byte("ng")))
		if got := nettest.Receive(t, readAll(s), "the reply"); string(got.b) != "pong" || got.err != nil {
			t.Errorf("got %q and %v", got.b, got.err)
		}
		<-s.Done()
		nettest.Receive(t, p.idle, "idle")
		s.Close()
		p.none("after both ends", isEither)
	})
}

// The peer ends its side, and takes more: the edge does not, but RFC 9113 does.
func TestEdgeCase57_HalfCloseByPeer(t *testing.T) {
	eachKind(t, func(t *testing.T, shared bool) {
		c, p := meet(t, h2connect.Config{Shared: shared})
		s, id := p.dial(c)
		p.check(p.out.WriteData(id, true, []byte("bye")))
		if got := nettest.Receive(t, readAll(s), "the bytes"); string(got.b) != "bye" || got.err != nil {
			t.Errorf("got %q and %v", got.b, got.err)
		}
		if err := nettest.Receive(t, sent(s, []byte("more")), "the upload"); err != nil {
			t.Fatal(err)
		}
		s.CloseWrite()
		if f := want[*http2.DataFrame](p); string(f.Data()) != "more" {
			t.Errorf("%v", f)
		}
		if f := want[*http2.DataFrame](p); !f.StreamEnded() {
			t.Errorf("%v", f)
		}
		nettest.Receive(t, p.idle, "idle")
	})
}

// END_STREAM and then RST_STREAM NO_ERROR, as the edge ends every tunnel: all
// bytes and a clean end; nothing may be sent afterwards, not even our end.
func TestEdgeCase57_EndThenNoError(t *testing.T) {
	eachKind(t, func(t *testing.T, shared bool) {
		c, p := meet(t, h2connect.Config{Shared: shared})
		s, id := p.dial(c)
		p.data(id, 100_000)
		p.check(p.out.WriteData(id, true, nil))
		p.check(p.out.WriteRSTStream(id, http2.ErrCodeNo))
		<-s.Done()
		got := nettest.Receive(t, readAll(s), "the bytes")
		if len(got.b) != 100_000 || got.err != nil {
			t.Errorf("%d bytes and %v", len(got.b), got.err)
		}
		if _, err := s.Write([]byte("x")); err == nil || err == io.EOF {
			t.Errorf("writing after the reset: %v", err)
		}
		s.CloseWrite()
		s.Close()
		p.none("after the peer's reset", isEither)
		nettest.Receive(t, p.idle, "idle")
	})
}

// A reset is no end: what came before it is delivered, then the error.
func TestEdgeCase57_ResetByPeer(t *testing.T) {
	for _, test := range []struct {
		code        http2.ErrCode
		shared, cut bool
	}{
		{http2.ErrCodeConnect, false, false},
		{http2.ErrCodeConnect, true, false},
		{http2.ErrCodeInternal, false, false},
		{http2.ErrCodeInternal, true, true},
		{http2.ErrCodeNo, true, true},
		{http2.ErrCodeNo, false, false},
		{http2.ErrCodeCancel, true, false},
	} {
		c, p := meet(t, h2connect.Config{Shared: test.shared})
		s, id := p.dial(c)
		p.data(id, 50_000)
		p.check(p.out.WriteRSTStream(id, test.code))
		<-s.Done()
		got := nettest.Receive(t, readAll(s), "the bytes")
		var e *h2connect.Error
		if len(got.b) != 50_000 || code(got.err) != test.code || !errors.As(got.err, &e) || e.Cut != test.cut || h2connect.Lost(got.err) {
			t.Errorf("%v shared %t: %d bytes and %#v", test.code, test.shared, len(got.b), got.err)
		}
		if _, err := s.Write([]byte("x")); code(err) != test.code {
			t.Errorf("writing after %v: %v", test.code, err)
		}
		s.Close()
		p.none("after the peer's reset", isEither)
		nettest.Receive(t, p.idle, "idle")
	}
}

func TestEdgeCase57_ResetByUs(t *testing.T) {
	eachKind(t, func(t *testing.T, shared bool) {
		c, p := meet(t, h2connect.Config{Shared: shared})
		s, id := p.dial(c)
		p.data(id, 1000)
		reading := readAll(struct{ io.Reader }{s})
		s.Close()
		s.Close()
		if f := want[*http2.RSTStreamFrame](p); f.StreamID != id || f.ErrCode != http2.ErrCodeCancel {
			t.Errorf("%v", f)
		}
		if got := nettest.Receive(t, reading, "the reader"); got.err == nil {
			t.Error("a clean end")
		}
		if err := nettest.Receive(t, sent(s, []byte("x")), "the writer"); err == nil {
			t.Error("a write after Close")
		}
		p.none("after our reset", isEither)
		p.check(p.out.WriteData(id, true, pattern(100))) // crossed on the way
		p.check(p.out.WriteRSTStream(id, http2.ErrCodeNo))
		p.pong()
	})
}

// The whole connection is lost: every stream gets an error, after its bytes.
func TestEdgeCase56_ConnectionLost(t *testing.T) {
	for name, end := range map[string]func(p *peer){
		"FIN":   func(p *peer) { p.conn.Close() },
		"reset": func(p *peer) { nettest.Reset(p.conn.(*net.TCPConn)) },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := meet(t, h2connect.Config{Shared: true})
			a, idA := p.dial(c)
			b, idB := p.dial(c)
			p.data(idA, 10_000)
			p.data(idB, 20_000)
			p.pong()
			end(p)
			for s, n := range map[*h2connect.Stream]int{a: 10_000, b: 20_000} {
				got := nettest.Receive(t, readAll(s), "the bytes")
				if len(got.b) != n || !h2connect.Lost(got.err) {
					t.Errorf("%d bytes and %v", len(got.b), got.err)
				}
			}
			if n := <-p.lost; n != 2 {
				t.Errorf("%d tunnels lost", n)
			}
			if err := <-p.closed; name == "FIN" && !errors.Is(err, h2connect.ErrCut) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Streams that take turns on a connection get their own bytes each.
func TestInterleaved(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true})
	const streams, rounds = 7, 50
	ids := make([]uint32, streams)
	got := make([]<-chan read, streams)
	wanted := make([]bytes.Buffer, streams)
	for i := range streams {
		var s *h2connect.Stream
		s, ids[i] = p.dial(c)
		got[i] = readAll(s)
	}
	for r := range rounds {
		for i, id := range ids {
			piece := bytes.Repeat([]byte{byte('a' + i)}, 1+(r*131+i*977)%9000)
			wanted[i].Write(piece)
			p.check(p.out.WriteData(id, false, piece))
		}
	}
	for i, id := range ids {
		p.check(p.out.WriteData(id, true, nil))
		if r := nettest.Receive(t, got[i], "the bytes"); r.err != nil || !bytes.Equal(r.b, wanted[i].Bytes()) {
			t.Errorf("stream %d: %d bytes and %v", i, len(r.b), r.err)
		}
	}
}

// WriteTo to a socket whose reader is slow: first the read loop writes, then
// what it cannot place goes through the queue, and nothing changes places.
func TestWriteToSlowSocket(t *testing.T) {
	eachKind(t, func(t *testing.T, shared bool) {
		c, p := meet(t, h2connect.Config{Shared: shared})
		s, id := p.dial(c)
		near, far := nettest.Pair(t)
		over := writeTo(s, near)
		const size = 16<<20 + 1234 // more than sockets hold
		go func() {                // ends with the bytes: the reader below takes them all
			for n := size; n > 0; {
				k := min(n, 16384-n%100)
				p.out.WriteData(id, false, counting(size-n, k))
				n -= k
			}
			p.out.WriteData(id, true, nil)
		}()
		if n, err := far.Write([]byte("x")); n != 1 || err != nil { // the other direction of the local end is nobody's business
			t.Fatal(err)
		}
		check := &checker{}
		if n, err := io.CopyN(check, far, size); err != nil || check.bad {
			t.Fatalf("%d bytes, %v, wrong bytes: %t", n, err, check.bad)
		}
		if d := nettest.Receive(t, over, "WriteTo"); d.n != size || d.err != nil {
			t.Errorf("%+v", d)
		}
	})
}

// counting returns n bytes of a sequence that tells where it is.
func counting(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((from + i) % 251)
	}
	return b
}

type checker struct {
	n   int
	bad bool
}

func (c *checker) Write(p []byte) (int, error) {
	for i, b := range p {
		c.bad = c.bad || b != byte((c.n+i)%251)
	}
	c.n += len(p)
	return len(p), nil
}

// The local end fails: WriteTo says so, whatever else is under way.
func TestWriteToFails(t *testing.T) {
	eachKind(t, func(t *testing.T, shared bool) {
		c, p := meet(t, h2connect.Config{Shared: shared})
		s, id := p.dial(c)
		near, far := nettest.Pair(t)
		over := writeTo(s, near)
		nettest.Reset(far)
		for d := over; d != nil; {
			select {
			case got := <-d:
				if got.err == nil {
					t.Error("no error")
				}
				d = nil
			default:
				p.data(id, 1000)
				p.pong()
			}
		}
		s.Close()
		if f := want[*http2.RSTStreamFrame](p); f.ErrCode != http2.ErrCodeCancel {
			t.Errorf("%v", f)
		}
	})
}

// Frames fit a TLS record, the last byte arrives, and Send needs its headroom
// only.
func TestSend(t *testing.T) {
	c, p := meet(t, h2connect.Config{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	p.check(p.out.WriteWindowUpdate(0, 1<<20))
	s, _ := p.dial(c)
	b := make([]byte, s.Headroom()+200_000)
	copy(b[s.Headroom():], counting(0, 200_000))
	done := make(chan error, 1)
	go func() { done <- s.Send(b) }()
	check := &checker{}
	for check.n < 200_000 {
		f := want[*http2.DataFrame](p)
		if f.Length > 16384-9 || f.StreamEnded() {
			t.Errorf("%v", f)
		}
		check.Write(f.Data())
	}
	if err := nettest.Receive(t, done, "Send"); err != nil || check.bad || check.n != 200_000 {
		t.Errorf("%v, %d bytes, wrong bytes: %t", err, check.n, check.bad)
	}
}

// Close while somebody is blocked, in every place where one can be.
func TestCloseUnblocks(t *testing.T) {
	eachKind(t, func(t *testing.T, shared bool) {
		for name, block := range map[string]func(t *testing.T, c *h2connect.Conn, p *peer) <-chan error{
			"Open": func(t *testing.T, c *h2connect.Conn, p *peer) <-chan error {
				o := ask(t.Context(), c, "d:1")
				want[*http2.MetaHeadersFrame](p)
				ch := make(chan error, 1)
				go func() { ch <- (<-o).err }()
				return ch
			},
			"Read": func(t *testing.T, c *h2connect.Conn, p *peer) <-chan error {
				s, _ := p.dial(c)
				ch := make(chan error, 1)
				go func() { _, err := s.Read(make([]byte, 1)); ch <- err }()
				return ch
			},
			"a silent WriteTo": func(t *testing.T, c *h2connect.Conn, p *peer) <-chan error {
				s, _ := p.dial(c)
				near, _ := nettest.Pair(t)
				ch := make(chan error, 1)
				go func() { _, err := s.WriteTo(near); ch <- err }()
				return ch
			},
			"Write, for window": func(t *testing.T, c *h2connect.Conn, p *peer) <-chan error {
				s, _ := p.dial(c)
				ch := sent(s, pattern(100_000))
				for n := 0; n < 65535; {
					n += len(want[*http2.DataFrame](p).Data())
				}
				return ch
			},
			"Write, for the socket": func(t *testing.T, c *h2connect.Conn, p *peer) <-chan error {
				s, _ := p.dial(c)
				return p.stick(s)
			},
			"the read loop, paused": func(t *testing.T, c *h2connect.Conn, p *peer) <-chan error {
				s, id := p.dial(c)
				p.data(id, 300<<10)
				ch := make(chan error, 1)
				go func() {
					got := <-readAll(s)
					ch <- got.err
				}()
				return ch
			},
		} {
			t.Run(name, func(t *testing.T) {
				c, p := meet(t, h2connect.Config{Shared: shared})
				ch := block(t, c, p)
				c.Close()
				if err := nettest.Receive(t, ch, name); !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v", err)
				}
				if _, _, err := c.Open(t.Context(), "d:1", nil); err == nil {
					t.Error("opened on a closed connection")
				}
			})
		}
	})
}
