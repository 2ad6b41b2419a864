package h2connect_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

// frame encodes a frame of any kind, however wrong.
func frame(kind http2.FrameType, flags http2.Flags, id uint32, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = append(b, byte(flags))
	b = binary.BigEndian.AppendUint32(b, id)
	return append(b, payload...)
}

var settingsFrame = frame(http2.FrameSettings, 0, 0)

// Frames that end a connection with an error, each after SETTINGS and with a
// CONNECT waiting on stream 1, and the code that the peer is told.
var fatal = map[string]struct {
	b    []byte
	code http2.ErrCode
}{
	"DATA on stream 0":                  {frame(http2.FrameData, 0, 0, 'x'), http2.ErrCodeProtocol},
	"DATA with too much padding":        {frame(http2.FrameData, http2.FlagDataPadded, 1, 2, 'x'), http2.ErrCodeProtocol},
	"padded DATA without a length":      {append(frame(http2.FrameData, http2.FlagDataPadded, 1), settingsFrame...), http2.ErrCodeProtocol},
	"HEADERS on stream 0":               {frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 0, 0x88), http2.ErrCodeProtocol},
	"HEADERS with a broken block":       {frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), http2.ErrCodeCompression},
	"HEADERS with a table size update":  {frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0x88, 0x3f, 0xe1, 0xff, 0x7f), http2.ErrCodeCompression},
	"HEADERS, then another frame":       {append(frame(http2.FrameHeaders, 0, 1, 0x88), frame(http2.FramePing, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)...), http2.ErrCodeProtocol},
	"HEADERS, CONTINUATION of another":  {append(frame(http2.FrameHeaders, 0, 1, 0x88), frame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 3)...), http2.ErrCodeProtocol},
	"CONTINUATION alone":                {frame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, 0x88), http2.ErrCodeProtocol},
	"a header block without end":        {append(frame(http2.FrameHeaders, 0, 1, 0x88), bytes.Repeat(frame(http2.FrameContinuation, 0, 1, pattern(16000)...), 20)...), http2.ErrCodeEnhanceYourCalm},
	"PUSH_PROMISE":                      {frame(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, 0, 0, 0, 2, 0x88), http2.ErrCodeProtocol},
	"SETTINGS on a stream":              {frame(http2.FrameSettings, 0, 1), http2.ErrCodeProtocol},
	"SETTINGS of five bytes":            {frame(http2.FrameSettings, 0, 0, 0, 3, 0, 0, 0), http2.ErrCodeFrameSize},
	"SETTINGS ACK with a payload":       {frame(http2.FrameSettings, http2.FlagSettingsAck, 0, 0, 3, 0, 0, 0, 1), http2.ErrCodeFrameSize},
	"SETTINGS with a window of 2^31":    {frame(http2.FrameSettings, 0, 0, 0, 4, 0x80, 0, 0, 0), http2.ErrCodeFlowControl},
	"SETTINGS with a push of 2":         {frame(http2.FrameSettings, 0, 0, 0, 2, 0, 0, 0, 2), http2.ErrCodeProtocol},
	"SETTINGS with frames of one byte":  {frame(http2.FrameSettings, 0, 0, 0, 5, 0, 0, 0, 1), http2.ErrCodeProtocol},
	"PING of seven bytes":               {frame(http2.FramePing, 0, 0, 1, 2, 3, 4, 5, 6, 7), http2.ErrCodeFrameSize},
	"PING on a stream":                  {frame(http2.FramePing, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8), http2.ErrCodeProtocol},
	"WINDOW_UPDATE of three bytes":      {frame(http2.FrameWindowUpdate, 0, 0, 0, 0, 1), http2.ErrCodeFrameSize},
	"WINDOW_UPDATE by 0":                {frame(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 0), http2.ErrCodeProtocol},
	"WINDOW_UPDATE past 2^31-1":         {frame(http2.FrameWindowUpdate, 0, 0, 0x7f, 0xff, 0xff, 0xff), http2.ErrCodeFlowControl},
	"RST_STREAM on stream 0":            {frame(http2.FrameRSTStream, 0, 0, 0, 0, 0, 0), http2.ErrCodeProtocol},
	"RST_STREAM of five bytes":          {frame(http2.FrameRSTStream, 0, 1, 0, 0, 0, 0, 0), http2.ErrCodeFrameSize},
	"GOAWAY on a stream":                {frame(http2.FrameGoAway, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0), http2.ErrCodeProtocol},
	"GOAWAY of two bytes":               {frame(http2.FrameGoAway, 0, 0, 0, 0), http2.ErrCodeFrameSize},
	"PRIORITY of two bytes":             {frame(http2.FramePriority, 0, 1, 0, 0), http2.ErrCodeFrameSize},
	"a frame longer than allowed":       {frame(0xbe, 0, 0, make([]byte, 16385)...), http2.ErrCodeFrameSize},
	"DATA longer than allowed":          {frame(http2.FrameData, 0, 1, make([]byte, 16385)...), http2.ErrCodeFrameSize},
	"HTTP/1.1 later":                    {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), http2.ErrCodeFrameSize},
	"nothing more":                      {nil, http2.ErrCodeNo},
	"half a frame":                      {frame(http2.FramePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)[:12], http2.ErrCodeNo},
	"half a DATA frame":                 {frame(http2.FrameData, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8)[:12], http2.ErrCodeNo},
	"HEADERS with a long, broken block": {frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, bytes.Repeat([]byte{0x7f}, 16000)...), http2.ErrCodeCompression},
}

func TestWrongFrames(t *testing.T) {
	for name, test := range fatal {
		t.Run(name, func(t *testing.T) {
			c, p := meet(t, h2connect.Config{})
			ch := ask(t.Context(), c, "d:1")
			want[*http2.MetaHeadersFrame](p)
			p.conn.Write(test.b)
			p.conn.(*net.TCPConn).CloseWrite() // for those that wait for more
			if o := nettest.Receive(t, ch, "Open"); o.s != nil || !h2connect.Lost(o.err) {
				t.Errorf("got %v", o.err)
			}
			if err := nettest.Receive(t, p.closed, "the end of the connection"); err == nil {
				t.Error("no error")
			}
			if test.code == http2.ErrCodeNo {
				return
			}
			if f := want[*http2.GoAwayFrame](p); f.ErrCode != test.code || f.LastStreamID != 0 {
				t.Errorf("%v", f)
			}
		})
	}
}

// A peer that breaks a rule and reads nothing does not keep the connection.
func TestWrongFrameFromStuckPeer(t *testing.T) {
	c, p := meet(t, h2connect.Config{KeepAlive: -1})
	s, id := p.dial(c)
	stuck := p.stick(s)
	p.check(p.out.WriteRawFrame(http2.FramePing, 0, id, make([]byte, 8)))
	if err := nettest.Receive(t, p.closed, "the end of the connection"); err == nil {
		t.Error("no error")
	}
	if err := nettest.Receive(t, stuck, "the upload"); err == nil {
		t.Error("no error for the upload")
	}
}

// Frames that end one stream, or mean nothing: the connection goes on.
func TestOddFrames(t *testing.T) {
	for name, test := range map[string]struct {
		b     []byte
		reset bool // our stream, with PROTOCOL_ERROR
	}{
		"WINDOW_UPDATE by 0":              {frame(http2.FrameWindowUpdate, 0, 1, 0, 0, 0, 0), true},
		"DATA on a stream that never was": {frame(http2.FrameData, http2.FlagDataEndStream, 77, 'x'), false},
		"HEADERS on another":              {frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 77, 0x88), false},
		"RST_STREAM on another":           {frame(http2.FrameRSTStream, 0, 77, 0, 0, 0, 2), false},
		"WINDOW_UPDATE on another":        {frame(http2.FrameWindowUpdate, 0, 77, 0, 0, 0, 9), false},
		"PRIORITY":                        {frame(http2.FramePriority, 0, 1, 0, 0, 0, 0, 1), false},
		"an unknown type":                 {frame(0xbe, 0xff, 1, 1, 2, 3), false},
		"an unknown type, empty":          {frame(0xbe, 0xff, 0), false},
		"an unknown setting":              {frame(http2.FrameSettings, 0, 0, 0xbe, 0xef, 1, 2, 3, 4), false},
		"PING answer to nothing":          {frame(http2.FramePing, http2.FlagPingAck, 0, 1, 2, 3, 4, 5, 6, 7, 8), false},
		"empty DATA":                      {frame(http2.FrameData, 0, 1), false},
		"padding alone":                   {frame(http2.FrameData, http2.FlagDataPadded, 1, 3, 0, 0, 0), false},
		"a header table of 0":             {frame(http2.FrameSettings, 0, 0, 0, 1, 0, 0, 0, 0), false},
		"a header table of 4 GiB":         {frame(http2.FrameSettings, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff), false},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := meet(t, h2connect.Config{Shared: true})
			s, id := p.dial(c)
			if _, err := p.conn.Write(test.b); err != nil {
				t.Fatal(err)
			}
			if test.reset {
				if f := want[*http2.RSTStreamFrame](p); f.StreamID != id || f.ErrCode != http2.ErrCodeProtocol {
					t.Errorf("%v", f)
				}
				if got := nettest.Receive(t, readAll(s), "the end"); got.err == nil {
					t.Error("no error")
				}
			} else {
				p.check(p.out.WriteData(id, true, []byte("x")))
				if got := nettest.Receive(t, readAll(s), "the bytes"); string(got.b) != "x" || got.err != nil {
					t.Errorf("got %q and %v", got.b, got.err)
				}
			}
			s2, _ := p.dial(c)
			s2.Close()
		})
	}
}

func TestEdgeCase60_NotHTTP2(t *testing.T) {
	for name, b := range map[string]string{
		"HTTP/1.1":        "HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n",
		"a banner":        "SSH-2.0-OpenSSH_9.2\r\n",
		"a TLS alert":     "\x15\x03\x01\x00\x02\x02\x0a",
		"another frame":   string(frame(http2.FramePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)),
		"only four bytes": "HTTP",
	} {
		t.Run(name, func(t *testing.T) {
			c, p := start(t, h2connect.Config{})
			ch := ask(t.Context(), c, "d:1")
			p.conn.Write([]byte(b))
			o := nettest.Receive(t, ch, "Open")
			if !errors.Is(o.err, h2connect.ErrNotHTTP2) || !h2connect.Wants11(o.err) {
				t.Errorf("got %v", o.err)
			}
		})
	}
}

func TestPingIsAnswered(t *testing.T) {
	_, p := meet(t, h2connect.Config{KeepAlive: -1})
	data := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	p.check(p.out.WritePing(false, data))
	if f := want[*http2.PingFrame](p); !f.IsAck() || f.Data != data {
		t.Errorf("%v", f)
	}
}

// A peer that asks and asks, and reads no answer, does not fill the memory.
func TestFlood(t *testing.T) {
	_, p := meet(t, h2connect.Config{})
	for p.out.WritePing(false, [8]byte{}) == nil {
	}
	if err := nettest.Receive(t, p.closed, "the end of the connection"); err == nil {
		t.Error("no error")
	}
}

// A smaller header table is announced before the next block uses it.
func TestHeaderTableSize(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true})
	first, _ := p.dial(c)
	defer first.Close()
	p.check(p.out.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}))
	p.pong()
	p.in.ReadMetaHeaders.SetAllowedMaxDynamicTableSize(0)
	for range 3 {
		s, _ := p.dial(c)
		s.Close()
	}
}

// bubble runs a test with a connection in memory, in time of its own: to sleep
// there is to let that pass, which is what such a test is about.
func bubble(t *testing.T, cfg h2connect.Config, test func(t *testing.T, c *h2connect.Conn, p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		c, p := startPipe(t, cfg)
		p.greet()
		test(t, c, p)
		c.Close()
		p.conn.Close()
	})
}

// reading has the peer read on, and returns how many PINGs have come when it
// has ended.
func (p *peer) reading(answer bool) (pings func() int) {
	n := 0
	done := make(chan struct{})
	p.conn.SetReadDeadline(time.Time{})
	go func() {
		defer close(done)
		for {
			f, err := p.in.ReadFrame()
			if err != nil {
				return
			}
			if ping, ok := f.(*http2.PingFrame); ok && !ping.IsAck() {
				n++
				if answer {
					p.out.WritePing(true, ping.Data)
				}
			}
		}
	}()
	return func() int {
		<-done
		return n
	}
}

func TestEdgeCase58_KeepAlive(t *testing.T) {
	for name, test := range map[string]struct {
		every time.Duration
		pings int
	}{"default": {0, 30}, "10 s": {10 * time.Second, 60}, "never": {-1, 0}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, h2connect.Config{KeepAlive: test.every}, func(t *testing.T, c *h2connect.Conn, p *peer) {
				s, _ := p.dial(c)
				pings := p.reading(true)
				time.Sleep(10*time.Minute + time.Second) // of the bubble
				s.Close()
				synctest.Wait()
				time.Sleep(10 * time.Minute) // without a tunnel there is nothing to keep open
				c.Close()
				if got := pings(); got != test.pings {
					t.Errorf("%d PINGs in 10 minutes, want %d", got, test.pings)
				}
			})
		})
	}
}

// While bytes come there is nothing to ask.
func TestEdgeCase58_NoPingWhileBytesCome(t *testing.T) {
	bubble(t, h2connect.Config{}, func(t *testing.T, c *h2connect.Conn, p *peer) {
		s, id := p.dial(c)
		pings := p.reading(true)
		go io.Copy(io.Discard, s)
		for range 100 {
			time.Sleep(15 * time.Second)
			p.check(p.out.WriteData(id, false, []byte("x")))
		}
		c.Close()
		if got := pings(); got != 0 {
			t.Errorf("%d PINGs", got)
		}
	})
}

func TestEdgeCase59_DeadPath(t *testing.T) {
	bubble(t, h2connect.Config{}, func(t *testing.T, c *h2connect.Conn, p *peer) {
		s, _ := p.dial(c)
		start := time.Now()
		p.reading(false)
		_, err := s.Read(make([]byte, 1))
		if !errors.Is(err, h2connect.ErrDeadPath) || !h2connect.Lost(err) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 35*time.Second {
			t.Errorf("found after %v", took)
		}
		if n := <-p.lost; n != 1 {
			t.Errorf("%d tunnels lost", n)
		}
	})
}

// A connection that was idle may be dead: the next CONNECT finds out in
// seconds, also on a spare that was never used.
func TestEdgeCase59_StaleSpare(t *testing.T) {
	for name, used := range map[string]bool{"used": true, "never used": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, h2connect.Config{}, func(t *testing.T, c *h2connect.Conn, p *peer) {
				if used {
					s, _ := p.dial(c)
					s.Close()
					want[*http2.RSTStreamFrame](p)
				}
				time.Sleep(time.Minute)
				start := time.Now()
				ch := ask(t.Context(), c, "d:1")
				p.reading(false)
				o := <-ch
				if !errors.Is(o.err, h2connect.ErrDeadPath) || !h2connect.Lost(o.err) {
					t.Errorf("got %v", o.err)
				}
				if took := time.Since(start); took != 5*time.Second {
					t.Errorf("found after %v", took)
				}
			})
		})
	}
}

// A tunnel is open and silent. The next CONNECT does not wait for its clock, and
// a machine that wakes up does not wait for the next CONNECT.
func TestEdgeCase59_StaleTunnel(t *testing.T) {
	for name, tc := range map[string]struct {
		silence, sleep time.Duration // the monotonic clock goes on in the first, and stands still in the second
		another        bool          // there is another CONNECT
		found          time.Duration
	}{
		"silent":            {11 * time.Second, 0, true, 5 * time.Second},
		"heard of just now": {9 * time.Second, 0, true, 26 * time.Second},
		"asleep":            {time.Second, time.Hour, true, 5 * time.Second},
		"asleep, and alone": {time.Second, time.Hour, false, 24 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, h2connect.Config{}, func(t *testing.T, c *h2connect.Conn, p *peer) {
				first, _ := p.dial(c)
				p.reading(false)
				time.Sleep(tc.silence)
				h2connect.Sleep(c, tc.sleep)
				start := time.Now()
				if tc.another {
					if o := <-ask(t.Context(), c, "d:1"); !errors.Is(o.err, h2connect.ErrDeadPath) {
						t.Errorf("got %v", o.err)
					}
				}
				if _, err := first.Read(make([]byte, 1)); !errors.Is(err, h2connect.ErrDeadPath) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(start); took != tc.found {
					t.Errorf("found after %v, want %v", took, tc.found)
				}
			})
		})
	}
}

// A spare that lives answers its PING, and all is well.
func TestStaleSpareLives(t *testing.T) {
	bubble(t, h2connect.Config{}, func(t *testing.T, c *h2connect.Conn, p *peer) {
		time.Sleep(time.Minute)
		ch := ask(t.Context(), c, "d:1")
		want[*http2.PingFrame](p)
		p.check(p.out.WritePing(true, [8]byte{'p', 'o', 'm'}))
		id := uint32(1)
		p.answer(id, 200, false)
		if o := <-ch; o.err != nil {
			t.Fatal(o.err)
		}
		p.reading(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.Streams() != 1 {
			t.Error("the tunnel is gone")
		}
	})
}

// gate is a local end that takes nothing until it is opened.
type gate struct {
	open chan struct{}
	n    int
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.n += len(p)
	return len(p), nil
}

// A solo tunnel whose local end stops for an hour is not dead, and loses
// nothing; the socket is left alone meanwhile.
func TestEdgeCase55_PausedIsNotDead(t *testing.T) {
	bubble(t, h2connect.Config{}, func(t *testing.T, c *h2connect.Conn, p *peer) {
		s, id := p.dial(c)
		p.reading(false)
		g := &gate{open: make(chan struct{})}
		over := writeTo(s, g)
		const size = 2 << 20
		wrote := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			for wrote < size {
				if p.out.WriteData(id, false, pattern(16384)) != nil {
					return
				}
				wrote += 16384
			}
			p.out.WriteData(id, true, nil)
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.Streams() != 1 {
			t.Fatal("the tunnel is gone")
		}
		close(g.open)
		<-done
		if d := <-over; d.err != nil || d.n != size || g.n != size {
			t.Errorf("%+v, %d bytes", d, g.n)
		}
	})
}

// After a pause the clock starts afresh, and a dead path is still found.
func TestEdgeCase59_DeadAfterPause(t *testing.T) {
	bubble(t, h2connect.Config{}, func(t *testing.T, c *h2connect.Conn, p *peer) {
		s, id := p.dial(c)
		g := &gate{open: make(chan struct{})}
		over := writeTo(s, g)
		go p.data(id, 17*16384) // joined by the delivery; one frame past 256 KiB: it pauses
		p.reading(false)
		time.Sleep(time.Hour)
		start := time.Now()
		close(g.open)
		if d := <-over; !errors.Is(d.err, h2connect.ErrDeadPath) || d.n != 17*16384 {
			t.Errorf("%+v", d)
		}
		if took := time.Since(start); took < 15*time.Second || took > 75*time.Second {
			t.Errorf("found after %v", took)
		}
	})
}

// FuzzPeer feeds the bytes of a peer to a connection on which a CONNECT waits:
// whatever they are, nothing panics, nobody hangs.
func FuzzPeer(f *testing.F) {
	for _, test := range fatal {
		f.Add(append(bytes.Clone(settingsFrame), test.b...), false)
	}
	p := &peer{}
	p.encoder()
	var b bytes.Buffer
	script(p, &b)
	f.Add(b.Bytes(), true)
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, shared bool) {
		near, far := net.Pipe()
		under := sock.NewConn(near)
		c := h2connect.New(under, under, h2connect.Config{Shared: shared, Limit: &h2connect.Limit{Max: 64 << 10}})
		ch := ask(t.Context(), c, "d:1")
		drained := make(chan struct{})
		go func() { // joined below
			defer close(drained)
			io.Copy(io.Discard, far)
		}()
		wrote := make(chan struct{})
		go func() { // joined below
			defer close(wrote)
			far.Write(b)
			far.Close()
		}()
		o := nettest.Receive(t, ch, "Open")
		if o.s != nil {
			if got := nettest.Receive(t, readAll(o.s), "the end"); got.err == nil && len(got.b) > len(b) {
				t.Errorf("%d bytes of %d", len(got.b), len(b))
			}
			o.s.Close()
		}
		c.Close()
		<-wrote
		<-drained
	})
}
