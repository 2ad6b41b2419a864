package h2connect_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

func TestWaitRead(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true})
	s, id := p.dial(c)
	b := make([]byte, 10)
	if _, err := s.TryRead(b); err != sock.ErrWouldBlock {
		t.Errorf("nothing is there: %v", err)
	}
	stop := make(chan struct{})
	close(stop)
	if err := s.WaitRead(stop); err != h2connect.ErrStopped {
		t.Errorf("stopped: %v", err)
	}
	p.data(id, 4)
	if err := s.WaitRead(nil); err != nil {
		t.Error(err)
	}
	if n, err := s.TryRead(b); n != 4 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	p.check(p.out.WriteData(id, true, nil))
	if err := s.WaitRead(nil); err != io.EOF {
		t.Errorf("wait at the end: %v", err)
	}
	if _, err := s.TryRead(b); err != io.EOF {
		t.Errorf("read at the end: %v", err)
	}
}

// A stopped write says how much has left, and the rest of the window is there for
// the next.
func TestWriteUntil(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	s, id := p.dial(c)
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		n, err := s.WriteUntil(stop, pattern(25))
		if n != 10 {
			t.Errorf("%d bytes have left, want 10", n)
		}
		done <- err
	}()
	p.takeData(10)
	close(stop)
	if err := nettest.Receive(t, done, "the end of the write"); err != h2connect.ErrStopped {
		t.Error(err)
	}
	p.check(p.out.WriteWindowUpdate(id, 15))
	if n, err := s.Write(pattern(15)); n != 15 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	p.takeData(15)
}

// With a Window, credit is given for what has been read, and for nothing else.
func TestWindow(t *testing.T) {
	const window = 64 << 10
	c, p := start(t, h2connect.Config{Shared: true, Window: window})
	p.preface()
	want[*http2.SettingsFrame](p).ForeachSetting(func(s http2.Setting) error {
		if s.ID == http2.SettingInitialWindowSize && s.Val != window {
			t.Errorf("a window of %d", s.Val)
		}
		return nil
	})
	p.check(p.out.WriteSettings())
	s, id := p.dial(c)
	p.data(id, window)
	p.none("credit for what has not been read", func(f http2.Frame) bool { _, ok := f.(*http2.WindowUpdateFrame); return ok })
	if _, err := io.ReadFull(s, make([]byte, window/2)); err != nil {
		t.Fatal(err)
	}
	if f := want[*http2.WindowUpdateFrame](p); f.StreamID != id || f.Increment > window/2 {
		t.Errorf("credit %v for %d bytes", f, window/2)
	}
}

func TestStalled(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	s, _ := p.dial(c)
	done := sent(s, pattern(65535))
	p.takeData(65535)
	if err := nettest.Receive(t, done, "the upload"); err != nil || !c.Stalled() {
		t.Errorf("stalled %v, %v", c.Stalled(), err)
	}
	p.check(p.out.WriteWindowUpdate(0, 1))
	p.pong()
	if c.Stalled() {
		t.Error("stalled with a window")
	}
}

// Leave sends an end, and a reset only to a peer that does not end its side.
func TestLeave(t *testing.T) {
	for _, ends := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, p := meetPipe(t, h2connect.Config{Shared: true, KeepAlive: -1})
			s, id := p.dial(c)
			start := time.Now()
			s.Leave(time.Second)
			if f := want[*http2.DataFrame](p); !f.StreamEnded() {
				t.Errorf("no end: %v", f)
			}
			p.data(id, 100) // for nobody
			if ends {
				p.check(p.out.WriteData(id, true, nil))
				nettest.Receive(t, p.idle, "the end of the stream")
				p.none("a reset behind an end", func(f http2.Frame) bool { _, ok := f.(*http2.RSTStreamFrame); return ok })
				return
			}
			if f := want[*http2.RSTStreamFrame](p); f.StreamID != id || time.Since(start) != time.Second {
				t.Errorf("%v after %v", f, time.Since(start))
			}
			if _, err := s.Write([]byte("x")); err == nil || errors.Is(err, h2connect.ErrStopped) {
				t.Errorf("write: %v", err)
			}
		})
	}
}
