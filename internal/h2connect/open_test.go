package h2connect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/nettest"
)

func TestPreface(t *testing.T) {
	for _, test := range []struct {
		shared bool
		window uint32
	}{{false, h2connect.SoloWindow}, {true, h2connect.SharedWindow}} {
		c, p := start(t, h2connect.Config{Shared: test.shared})
		if c.Shared() != test.shared {
			t.Errorf("shared: %t", c.Shared())
		}
		p.preface()
		settings := want[*http2.SettingsFrame](p)
		got := map[http2.SettingID]uint32{}
		settings.ForeachSetting(func(s http2.Setting) error {
			got[s.ID] = s.Val
			return nil
		})
		wanted := map[http2.SettingID]uint32{
			http2.SettingHeaderTableSize: 0, http2.SettingEnablePush: 0, http2.SettingInitialWindowSize: test.window, http2.SettingMaxHeaderListSize: 64 << 10,
		}
		if d := cmp.Diff(wanted, got); d != "" {
			t.Errorf("SETTINGS (-want +got)\n%s", d)
		}
		if f := want[*http2.WindowUpdateFrame](p); f.StreamID != 0 || f.Increment != 1<<31-1-65535 {
			t.Errorf("connection window: %v", f)
		}
	}
}

func TestRequest(t *testing.T) {
	c, p := meet(t, h2connect.Config{})
	ch := ask(t.Context(), c, "db.internal:5432")
	f := want[*http2.MetaHeadersFrame](p)
	got := map[string]hpack.HeaderField{}
	for _, field := range f.Fields {
		got[field.Name] = field
	}
	wanted := map[string]hpack.HeaderField{
		":method":       {Name: ":method", Value: "CONNECT"},
		":authority":    {Name: ":authority", Value: "db.internal:5432"},
		"authorization": {Name: "authorization", Value: "Pomerium token", Sensitive: true},
		"accept":        {Name: "accept", Value: "application/json"},
	}
	if d := cmp.Diff(wanted, got); d != "" {
		t.Errorf("header (-want +got)\n%s", d)
	}
	if f.StreamID != 1 || f.StreamEnded() {
		t.Errorf("stream %d, ended %t", f.StreamID, f.StreamEnded())
	}
	p.answer(1, 200, false, "x-request-id", "abc")
	o := nettest.Receive(t, ch, "the answer")
	if o.err != nil || o.resp.Status != 200 || o.resp.Header.Get("X-Request-Id") != "abc" {
		t.Errorf("answer %+v, %v", o.resp, o.err)
	}
}

// A header block of more than one frame goes out as HEADERS and CONTINUATION.
func TestLongRequest(t *testing.T) {
	c, p := meet(t, h2connect.Config{})
	long := strings.Repeat("token", 10_000)
	go c.Open(t.Context(), long, nil) // ends with the connection
	if got := want[*http2.MetaHeadersFrame](p).PseudoValue("authority"); got != long {
		t.Errorf("authority of %d bytes", len(got))
	}
}

// script is a server's whole side: SETTINGS, an interim answer, the answer with
// padding and CONTINUATION, DATA, END_STREAM and RST_STREAM NO_ERROR.
func script(p *peer, w io.Writer) {
	out := http2.NewFramer(w, nil)
	out.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
	out.WriteWindowUpdate(0, 1<<20)
	out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fields(":status", "103", "link", "x"), EndHeaders: true})
	block := bytes.Clone(p.fields(":status", "200", "server", "envoy", "x-request-id", "77"))
	out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1], PadLength: 3})
	out.WriteContinuation(1, false, block[1:4])
	out.WriteContinuation(1, true, block[4:])
	out.WriteData(1, false, []byte("hello"))
	out.WriteDataPadded(1, false, []byte(" world"), make([]byte, 7))
	out.WritePing(false, [8]byte{})
	out.WriteDataPadded(1, false, nil, make([]byte, 2))
	out.WriteRawFrame(0xbe, 0, 0, []byte("of a type that nobody knows"))
	out.WriteDataPadded(1, true, []byte("!"), make([]byte, 1))
	out.WriteRSTStream(1, http2.ErrCodeNo)
}

// The answer arrives in pieces that end at every byte.
func TestEdgeCase05_SplitAnswer(t *testing.T) {
	var size int
	{
		p := &peer{}
		p.encoder()
		var b bytes.Buffer
		script(p, &b)
		size = b.Len()
	}
	run := func(t *testing.T, write func(p *peer, b []byte)) {
		c, p := startPipe(t, h2connect.Config{Shared: true})
		discard := make(chan struct{})
		var b bytes.Buffer
		script(p, &b)
		ch := ask(t.Context(), c, "d:1")
		p.preface()
		if want[*http2.MetaHeadersFrame](p).StreamID != 1 {
			t.Fatal("not stream 1")
		}
		go func() { // ends with the pipe
			defer close(discard)
			io.Copy(io.Discard, p.conn)
		}()
		write(p, b.Bytes())
		o := nettest.Receive(t, ch, "the answer")
		if o.err != nil || o.resp.Status != 200 || o.resp.Header.Get("X-Request-Id") != "77" || o.resp.Header.Get("Link") != "" {
			t.Fatalf("answer %+v, %v", o.resp, o.err)
		}
		got := nettest.Receive(t, readAll(o.s), "the bytes")
		if got.err != nil || string(got.b) != "hello world!" {
			t.Errorf("got %q and %v", got.b, got.err)
		}
		<-o.s.Done()
		c.Close()
		<-discard
	}
	for i := 1; i < size; i++ {
		run(t, func(p *peer, b []byte) {
			p.conn.Write(b[:i])
			p.conn.Write(b[i:])
		})
	}
	t.Run("bytes", func(t *testing.T) {
		run(t, func(p *peer, b []byte) {
			for i := range b {
				p.conn.Write(b[i : i+1])
			}
		})
	})
}

func TestEdgeCase01_InterimAnswers(t *testing.T) {
	c, p := meet(t, h2connect.Config{})
	ch := ask(t.Context(), c, "d:1")
	id := want[*http2.MetaHeadersFrame](p).StreamID
	for _, status := range []int{100, 103, 103, 199} {
		p.answer(id, status, false)
	}
	p.answer(id, 204, false)
	if o := nettest.Receive(t, ch, "the answer"); o.err != nil || o.s == nil || o.resp.Status != 204 {
		t.Errorf("%+v", o)
	}
}

func TestRefusal(t *testing.T) {
	body := `{"error":"Forbidden"}`
	for name, rest := range map[string]func(p *peer, id uint32){
		"body, end, NO_ERROR": func(p *peer, id uint32) {
			p.check(p.out.WriteData(id, false, []byte(body)))
			p.check(p.out.WriteData(id, true, nil))
			p.check(p.out.WriteRSTStream(id, http2.ErrCodeNo))
		},
		"body with the end": func(p *peer, id uint32) { p.check(p.out.WriteData(id, true, []byte(body))) },
		"body, then a reset": func(p *peer, id uint32) {
			p.check(p.out.WriteData(id, false, []byte(body)))
			p.check(p.out.WriteRSTStream(id, http2.ErrCodeInternal))
		},
		"body, then trailers": func(p *peer, id uint32) {
			p.check(p.out.WriteData(id, false, []byte(body)))
			p.check(p.out.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.fields("grpc-status", "7"), EndHeaders: true, EndStream: true}))
		},
	} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, shared %t", name, shared), func(t *testing.T) {
				c, p := meet(t, h2connect.Config{Shared: shared})
				ch := ask(t.Context(), c, "d:1")
				id := want[*http2.MetaHeadersFrame](p).StreamID
				p.answer(id, 403, false, "x-request-id", "5")
				rest(p, id)
				o := nettest.Receive(t, ch, "the refusal")
				if o.err != nil || o.s != nil || o.resp.Status != 403 || o.resp.Header.Get("X-Request-Id") != "5" || string(o.resp.Body) != body {
					t.Errorf("%+v %+v", o, o.resp)
				}
				nettest.Receive(t, p.idle, "idle")
				if c.Streams() != 0 || !c.Room() {
					t.Error("the connection is not free")
				}
				s, _ := p.dial(c) // and goes on
				s.Close()
			})
		}
	}
}

// A refusal whose body is endless, or never comes, is cut short.
func TestRefusalIsBounded(t *testing.T) {
	t.Run("endless", func(t *testing.T) {
		c, p := meet(t, h2connect.Config{})
		ch := ask(t.Context(), c, "d:1")
		id := want[*http2.MetaHeadersFrame](p).StreamID
		p.answer(id, 502, false)
		p.data(id, 100<<10)
		if o := nettest.Receive(t, ch, "the refusal"); o.err != nil || len(o.resp.Body) != 16<<10 {
			t.Errorf("body of %d bytes, %v", len(o.resp.Body), o.err)
		}
		if f := want[*http2.RSTStreamFrame](p); f.ErrCode != http2.ErrCodeCancel {
			t.Errorf("reset with %v", f.ErrCode)
		}
	})
	t.Run("silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := meetPipe(t, h2connect.Config{})
			ch := ask(context.Background(), c, "d:1")
			id := want[*http2.MetaHeadersFrame](p).StreamID
			p.answer(id, 502, false)
			if f := want[*http2.RSTStreamFrame](p); f.ErrCode != http2.ErrCodeCancel {
				t.Errorf("reset with %v", f.ErrCode)
			}
			if o := <-ch; o.err != nil || o.resp.Status != 502 {
				t.Errorf("%+v", o)
			}
			c.Close()
		})
	})
}

func TestOpenCancelled(t *testing.T) {
	c, p := meet(t, h2connect.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ch := ask(ctx, c, "d:1")
	id := want[*http2.MetaHeadersFrame](p).StreamID
	cancel()
	if o := nettest.Receive(t, ch, "Open"); !errors.Is(o.err, context.Canceled) || o.s != nil {
		t.Errorf("%+v", o)
	}
	if f := want[*http2.RSTStreamFrame](p); f.StreamID != id || f.ErrCode != http2.ErrCodeCancel {
		t.Errorf("%v", f)
	}
	p.answer(id, 200, false) // crossed on the way
	p.check(p.out.WriteData(id, true, []byte("x")))
	s, id := p.dial(c)
	p.check(p.out.WriteData(id, true, []byte("y")))
	if got := nettest.Receive(t, readAll(s), "bytes"); string(got.b) != "y" || got.err != nil {
		t.Errorf("got %q and %v", got.b, got.err)
	}
}

func TestResetBeforeAnswer(t *testing.T) {
	for _, test := range []struct {
		code                            http2.ErrCode
		unprocessed, wants11, malformed bool
	}{
		{code: http2.ErrCodeRefusedStream, unprocessed: true},
		{code: http2.ErrCodeHTTP11Required, wants11: true},
		{code: http2.ErrCodeProtocol, malformed: true},
		{code: http2.ErrCodeInternal},
		{code: http2.ErrCodeNo},
		{code: http2.ErrCodeConnect},
	} {
		t.Run(test.code.String(), func(t *testing.T) {
			c, p := meet(t, h2connect.Config{Shared: true})
			ch := ask(t.Context(), c, "d:1")
			p.check(p.out.WriteRSTStream(want[*http2.MetaHeadersFrame](p).StreamID, test.code))
			o := nettest.Receive(t, ch, "Open")
			if o.s != nil || code(o.err) != test.code || h2connect.Unprocessed(o.err) != test.unprocessed ||
				h2connect.Wants11(o.err) != test.wants11 || h2connect.Malformed(o.err) != test.malformed || h2connect.Lost(o.err) {
				t.Errorf("%v", o.err)
			}
			if !strings.Contains(o.err.Error(), test.code.String()) {
				t.Errorf("the text hides the code: %v", o.err)
			}
			nettest.Receive(t, p.idle, "idle")
			s, _ := p.dial(c)
			s.Close()
		})
	}
}

// The peer ends a stream before it has answered: that is no answer.
func TestEndWithoutAnswer(t *testing.T) {
	for name, end := range map[string]func(p *peer, id uint32){
		"DATA":    func(p *peer, id uint32) { p.check(p.out.WriteData(id, true, nil)) },
		"interim": func(p *peer, id uint32) { p.answer(id, 103, true) },
		"without :status": func(p *peer, id uint32) {
			p.check(p.out.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.fields("a", "b"), EndHeaders: true, EndStream: true}))
		},
		"status in letters": func(p *peer, id uint32) {
			p.check(p.out.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.fields(":status", "fine"), EndHeaders: true, EndStream: true}))
		},
		"upper case name": func(p *peer, id uint32) { p.answer(id, 200, false, "Server", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := meet(t, h2connect.Config{})
			ch := ask(t.Context(), c, "d:1")
			id := want[*http2.MetaHeadersFrame](p).StreamID
			end(p, id)
			if o := nettest.Receive(t, ch, "Open"); o.err == nil || o.s != nil || h2connect.Unprocessed(o.err) {
				t.Errorf("%+v", o)
			}
			if f := want[*http2.RSTStreamFrame](p); f.StreamID != id || f.ErrCode != http2.ErrCodeProtocol {
				t.Errorf("%v", f)
			}
			s, _ := p.dial(c) // the connection goes on
			s.Close()
		})
	}
}

func TestEdgeCase54_StreamLimit(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	s, id := p.dial(c)
	if c.Room() || c.MaxStreams() != 1 {
		t.Errorf("room with a limit of %d", c.MaxStreams())
	}
	_, _, err := c.Open(t.Context(), "d:1", nil)
	if !h2connect.Full(err) || !h2connect.Unprocessed(err) {
		t.Errorf("got %v", err)
	}
	p.check(p.out.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2}))
	p.pong()
	s2, _ := p.dial(c)
	p.check(p.out.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}))
	p.pong()
	if c.Room() {
		t.Error("room after the limit fell to 0")
	}
	p.check(p.out.WriteData(id, true, []byte("x"))) // streams above a lowered limit go on
	if got := nettest.Receive(t, readAll(s), "bytes"); string(got.b) != "x" || got.err != nil {
		t.Errorf("got %q and %v", got.b, got.err)
	}
	s.Close()
	s2.Close()
	nettest.Receive(t, p.idle, "idle")
	if _, _, err := c.Open(t.Context(), "d:1", nil); !h2connect.Full(err) {
		t.Errorf("got %v", err)
	}
	nettest.Receive(t, p.idle, "idle, after a stream that did not get in")
}

func TestMaxStreamsBeforeSettings(t *testing.T) {
	c, p := start(t, h2connect.Config{Shared: true, MaxStreams: 1})
	ch := ask(t.Context(), c, "d:1")
	p.preface()
	want[*http2.MetaHeadersFrame](p)
	if _, _, err := c.Open(t.Context(), "d:1", nil); !h2connect.Full(err) {
		t.Errorf("got %v", err)
	}
	c.Close()
	<-ch
}

func TestEdgeCase53_GoAway(t *testing.T) {
	c, p := meet(t, h2connect.Config{Shared: true})
	running, id := p.dial(c)
	pending := ask(t.Context(), c, "d:1")
	id2 := want[*http2.MetaHeadersFrame](p).StreamID
	refused := ask(t.Context(), c, "d:2")
	want[*http2.MetaHeadersFrame](p)

	p.check(p.out.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil)) // a first warning (RFC 9113 section 6.8)
	p.pong()
	if c.Room() {
		t.Error("room after GOAWAY")
	}
	if _, _, err := c.Open(t.Context(), "d:3", nil); !h2connect.Unprocessed(err) || h2connect.Full(err) {
		t.Errorf("got %v", err)
	}
	p.check(p.out.WriteGoAway(id2, http2.ErrCodeNo, nil))
	if o := nettest.Receive(t, refused, "the refused stream"); !h2connect.Unprocessed(o.err) {
		t.Errorf("got %v", o.err)
	}
	p.answer(id2, 200, false)
	o := nettest.Receive(t, pending, "the pending stream")
	if o.err != nil {
		t.Fatal(o.err)
	}
	if err := nettest.Receive(t, sent(running, []byte("up")), "the upload"); err != nil {
		t.Fatal(err)
	}
	if f := want[*http2.DataFrame](p); string(f.Data()) != "up" {
		t.Errorf("got %q", f.Data())
	}
	for _, s := range []struct {
		*h2connect.Stream
		id uint32
	}{{running, id}, {o.s, id2}} {
		p.check(p.out.WriteData(s.id, true, []byte("down")))
		if got := nettest.Receive(t, readAll(s), "bytes"); string(got.b) != "down" || got.err != nil {
			t.Errorf("got %q and %v", got.b, got.err)
		}
		s.CloseWrite()
	}
	if err := nettest.Receive(t, p.closed, "the end of the connection"); <-p.lost != 0 || err == nil {
		t.Errorf("lost tunnels, %v", err)
	}
}

func TestGoAwayOnIdleConnection(t *testing.T) {
	c, p := meet(t, h2connect.Config{})
	p.check(p.out.WriteGoAway(0, http2.ErrCodeNo, nil))
	nettest.Receive(t, p.closed, "the end of the connection")
	if _, _, err := c.Open(t.Context(), "d:1", nil); !h2connect.Unprocessed(err) {
		t.Errorf("got %v", err)
	}
}

func TestRetire(t *testing.T) {
	c, p := meet(t, h2connect.Config{})
	s, _ := p.dial(c)
	c.Retire()
	if _, _, err := c.Open(t.Context(), "d:1", nil); !h2connect.Unprocessed(err) {
		t.Errorf("got %v", err)
	}
	s.Close()
	nettest.Receive(t, p.closed, "the end of the connection")
}

// The connection is gone while a CONNECT waits.
func TestLostBeforeAnswer(t *testing.T) {
	for name, end := range map[string]func(p *peer){
		"FIN":   func(p *peer) { p.conn.Close() },
		"reset": func(p *peer) { nettest.Reset(p.conn.(*net.TCPConn)) },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := meet(t, h2connect.Config{})
			ch := ask(t.Context(), c, "d:1")
			want[*http2.MetaHeadersFrame](p)
			end(p)
			o := nettest.Receive(t, ch, "Open")
			if !h2connect.Lost(o.err) || h2connect.Unprocessed(o.err) {
				t.Errorf("got %v", o.err)
			}
			if n := <-p.lost; n != 0 {
				t.Errorf("lost %d tunnels that were never open", n)
			}
		})
	}
}
