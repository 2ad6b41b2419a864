package h2connect_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/nettest"
)

// takeData reads DATA frames until n bytes have come.
func (p *peer) takeData(n int) {
	p.t.Helper()
	for n > 0 {
		n -= len(want[*http2.DataFrame](p).Data())
	}
	if n < 0 {
		p.t.Fatalf("%d bytes more than the window allows", -n)
	}
}

func TestSendWindows(t *testing.T) {
	c, p := meet(t, h2connect.Config{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	s, id := p.dial(c)
	done := sent(s, pattern(60))
	p.takeData(10)
	p.none("with a window of 0", isData)

	initial := func(n uint32) {
		p.check(p.out.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}))
	}
	initial(25)
	p.takeData(15)
	initial(5) // the window is -20 now (RFC 9113 section 6.9.2)
	p.check(p.out.WriteWindowUpdate(id, 20))
	p.none("with a window of 0 after a negative one", isData)
	p.check(p.out.WriteWindowUpdate(id, 5))
	p.takeData(5)
	initial(0)
	p.check(p.out.WriteWindowUpdate(id, 4))
	p.none("with a window of -1", isData)
	initial(31)
	p.takeData(30)
	if err := nettest.Receive(t, done, "the upload"); err != nil {
		t.Fatal(err)
	}
	s2, _ := p.dial(c) // a new stream starts with the new value
	done = sent(s2, pattern(40))
	p.takeData(31)
	p.none("with a window of 0", isData)
	s2.Close()
	if err := nettest.Receive(t, done, "the upload"); err == nil {
		t.Error("no error")
	}
}

// The connection's window holds all streams, and an update wakes all of them.
func TestConnectionSendWindow(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	a, _ := p.dial(c)
	b, _ := p.dial(c)
	d, _ := p.dial(c)
	first := sent(a, pattern(65535))
	p.takeData(65535)
	if err := nettest.Receive(t, first, "the first upload"); err != nil {
		t.Fatal(err)
	}
	doneA, doneB, doneD := sent(a, pattern(10)), sent(b, pattern(20)), sent(d, pattern(30))
	p.none("with a connection window of 0", isData)
	d.Close() // who gives up takes nothing along
	if nettest.Receive(t, doneD, "the third upload") == nil {
		t.Error("no error")
	}
	p.check(p.out.WriteWindowUpdate(0, 30))
	p.takeData(30)
	for _, done := range []<-chan error{doneA, doneB} {
		if err := nettest.Receive(t, done, "an upload"); err != nil {
			t.Error(err)
		}
	}
}

// Nothing that came for a stream that is gone may count against the connection
// for ever.
func TestConnectionWindowIsGivenBack(t *testing.T) {
	eachKind(t, func(t *testing.T, shared bool) {
		c, p := meet(t, h2connect.Config{Shared: shared})
		s, id := p.dial(c)
		s.Close()
		want[*http2.RSTStreamFrame](p)
		const size = 130 << 20
		go func() { // ends with the bytes: the connection reads them
			for range size / 16384 {
				if p.out.WriteData(id, false, make([]byte, 16384)) != nil {
					return
				}
			}
		}()
		given := 0
		for given < size/2 {
			f := want[*http2.WindowUpdateFrame](p)
			if f.StreamID != 0 {
				t.Fatalf("window for a dead stream: %v", f)
			}
			given += int(f.Increment)
		}
	})
}

// credit sums up the window that the connection gives back for a stream until
// it has taken all that was sent.
func (p *peer) credit(id uint32) int {
	p.t.Helper()
	given := 0
	p.none("", func(f http2.Frame) bool {
		if f, ok := f.(*http2.WindowUpdateFrame); ok && f.StreamID == id {
			given += int(f.Increment)
		}
		return false
	})
	return given
}

// A shared stream whose local end does not read: its window comes back on
// receipt up to the length of the queue, then as the local end takes it. The
// neighbour does not notice.
func TestEdgeCase55_SharedQueueHoldsCredit(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true})
	s, id := p.dial(c)
	neighbour, other := p.dial(c)
	const size = 40 << 20
	p.data(id, size)
	if got := p.credit(id); got < 8<<20 || got > h2connect.SharedQueue {
		t.Errorf("%d MiB given back for %d received", got>>20, size>>20)
	}
	p.check(p.out.WriteData(other, true, []byte("hello")))
	if got := nettest.Receive(t, readAll(neighbour), "the neighbour's bytes"); string(got.b) != "hello" || got.err != nil {
		t.Errorf("got %q and %v", got.b, got.err)
	}
	if _, err := io.CopyN(io.Discard, s, size); err != nil {
		t.Fatal(err)
	}
	if got := p.credit(id); got < size-h2connect.SharedQueue-8<<20 {
		t.Errorf("%d MiB given back afterwards", got>>20)
	}
}

// A solo stream gives window back as the local end reads, in large steps.
func TestSoloCredit(t *testing.T) {
	c, p := meet(t, h2connect.Config{})
	s, id := p.dial(c)
	got := make(chan error, 1)
	go func() { // joined below
		_, err := io.CopyN(io.Discard, s, 40<<20)
		got <- err
	}()
	p.data(id, 40<<20)
	if err := nettest.Receive(t, got, "the bytes"); err != nil {
		t.Fatal(err)
	}
	if given := p.credit(id); given < 24<<20 || given > 40<<20 {
		t.Errorf("%d MiB given back for 40", given>>20)
	}
}

// Padding counts as much as data does (RFC 9113 section 6.9.1), alone as well.
func TestPaddingIsCredited(t *testing.T) {
	for _, data := range []int{200, 0} {
		t.Run(fmt.Sprintf("%d bytes of data", data), func(t *testing.T) {
			c, p := meet(t, h2connect.Config{})
			s, id := p.dial(c)
			done := readAll(s)
			sent := 0
			for sent < 20<<20 {
				p.check(p.out.WriteDataPadded(id, false, make([]byte, data), make([]byte, 255)))
				sent += data + 1 + 255
			}
			if given := p.credit(id); given < 16<<20 {
				t.Errorf("%d MiB given back for %d", given>>20, sent>>20)
			}
			p.check(p.out.WriteData(id, true, nil))
			nettest.Receive(t, done, "the end")
		})
	}
}

// A solo connection pauses for its slow local end, but not while its upload
// waits for window: the update that it waits for would not be read.
func TestEdgeCase55_StarvingUploadEndsPause(t *testing.T) {
	const down, up = 4 << 20, 100_000
	for name, first := range map[string]bool{"paused first": true, "starved first": false} {
		t.Run(name, func(t *testing.T) {
			c, p := meet(t, h2connect.Config{})
			s, id := p.dial(c)
			wrote := make(chan struct{})
			flood := func() {
				defer close(wrote)
				p.data(id, down)
				p.check(p.out.WriteWindowUpdate(0, up))
				p.check(p.out.WriteWindowUpdate(id, up))
			}
			var done <-chan error
			if first {
				go flood() // joined below
				done = sent(s, pattern(up))
				p.takeData(up)
			} else {
				done = sent(s, pattern(up))
				p.takeData(65535)
				go flood() // joined below
				p.takeData(up - 65535)
			}
			if err := nettest.Receive(t, done, "the upload"); err != nil {
				t.Fatal(err)
			}
			<-wrote
			if n, err := io.CopyN(io.Discard, s, down); err != nil {
				t.Errorf("%d bytes, then %v", n, err)
			}
		})
	}
}

// Past the limit of all queues the longest is reset, says so, and never ends
// cleanly; the others go on.
func TestQueueLimit(t *testing.T) {
	for name, ended := range map[string]bool{"running": false, "ended": true} {
		t.Run(name, func(t *testing.T) {
			limit := &h2connect.Limit{Max: 1 << 20}
			c1, p1 := meet(t, h2connect.Config{Shared: true, Limit: limit})
			c2, p2 := meet(t, h2connect.Config{Shared: true, Limit: limit})
			long, idLong := p1.dial(c1)
			short, idShort := p2.dial(c2)
			p1.data(idLong, 700<<10)
			if ended {
				p1.check(p1.out.WriteData(idLong, true, nil))
			}
			p1.pong()
			p2.data(idShort, 500<<10)
			p2.pong()
			got := nettest.Receive(t, readAll(long), "the longest")
			var e *h2connect.Error
			if !errors.Is(got.err, h2connect.ErrQueueLimit) || !errors.As(got.err, &e) || !e.Cut {
				t.Errorf("%d bytes and %v", len(got.b), got.err)
			}
			if f := want[*http2.RSTStreamFrame](p1); f.StreamID != idLong || f.ErrCode != http2.ErrCodeCancel {
				t.Errorf("%v", f)
			}
			p2.check(p2.out.WriteData(idShort, true, nil))
			if got := nettest.Receive(t, readAll(short), "the other"); len(got.b) != 500<<10 || got.err != nil {
				t.Errorf("%d bytes and %v", len(got.b), got.err)
			}
			long.Close()
		})
	}
}

// What is taken leaves the limit: much passes through a small one.
func TestQueueLimitForgets(t *testing.T) {
	limit := &h2connect.Limit{Max: 600 << 10}
	c, p := meet(t, h2connect.Config{Shared: true, Limit: limit})
	for i := range 40 {
		s, id := p.dial(c)
		p.data(id, 500<<10)
		if i%2 == 0 {
			p.pong()
			s.Close() // dropped with what it holds
			continue
		}
		near, far := nettest.Pair(t)
		over := writeTo(s, near)
		go io.Copy(io.Discard, far) // ends with the pair
		p.check(p.out.WriteData(id, true, nil))
		if d := nettest.Receive(t, over, "the delivery"); d.err != nil || d.n != 500<<10 {
			t.Fatalf("round %d: %+v", i, d)
		}
	}
}

// The victim of the limit is a paused solo connection: it must go on reading.
func TestQueueLimitWakesPaused(t *testing.T) {
	limit := &h2connect.Limit{Max: 450 << 10}
	c1, p1 := meet(t, h2connect.Config{Limit: limit})
	c2, p2 := meet(t, h2connect.Config{Shared: true, Limit: limit})
	paused, id := p1.dial(c1)
	p1.data(id, 250<<10)
	p1.pong()
	p1.data(id, 50<<10) // more than 256 KiB: it pauses
	_, idOther := p2.dial(c2)
	for n := 0; ; n++ {
		p2.data(idOther, 10<<10)
		p2.pong()
		select {
		case <-paused.Done():
		default:
			if n == 20 {
				t.Fatal("no victim")
			}
			continue
		}
		break
	}
	if r := nettest.Receive(t, readAll(paused), "the victim"); !errors.Is(r.err, h2connect.ErrQueueLimit) {
		t.Errorf("%v", r.err)
	}
	p1.pong() // it reads
}

// A solo connection stops reading for a local end that takes nothing, however
// fast the peer sends: what waits here stays small.
func TestEdgeCase55_SoloPausesFastPeer(t *testing.T) {
	limit := &h2connect.Limit{Max: 1 << 20} // more than a paused tunnel may hold
	c, p := meet(t, h2connect.Config{Limit: limit})
	s, id := p.dial(c)
	const size = 64 << 20
	wrote := make(chan struct{})
	go func() { // joined below
		defer close(wrote)
		b := bytes.Repeat(frame(http2.FrameData, 0, id, make([]byte, 16384)...), 64)
		for n := 0; n < size; n += 64 * 16384 {
			if _, err := p.conn.Write(b); err != nil {
				return
			}
		}
	}()
	first := make([]byte, 1)
	for n := 0; n < size; n++ {
		k, err := s.Read(first)
		if err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		n += k - 1
		if len(first) == 1 {
			first = make([]byte, 64<<10)
		}
	}
	<-wrote
}
