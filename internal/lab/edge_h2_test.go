package lab_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pomerium/pomerium-cli/internal/lab"
)

// h2client speaks HTTP/2 frame by frame.
type h2client struct {
	*http2.Framer
	t   *testing.T
	l   *lab.Lab
	buf bytes.Buffer
	enc *hpack.Encoder
}

// speakH2 opens an HTTP/2 connection to the edge whose streams have the given receive window; that
// of the connection stays 65535.
func speakH2(t *testing.T, l *lab.Lab, window uint32) *h2client {
	t.Helper()
	var conn net.Conn = through(t, l)
	if l.EdgeURL().Scheme == "https" {
		conn = secure(t, l, conn, "h2")
	}
	return speakH2Over(t, l, conn, window)
}

func speakH2Over(t *testing.T, l *lab.Lab, conn net.Conn, window uint32) *h2client {
	t.Helper()
	c := &h2client{t: t, l: l, Framer: http2.NewFramer(conn, conn)}
	c.enc = hpack.NewEncoder(&c.buf)
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	io.WriteString(conn, http2.ClientPreface)
	c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	return c
}

// open sends a CONNECT with a good token, and the extra fields.
func (c *h2client) open(id uint32, destination string, fields ...hpack.HeaderField) {
	c.connect(id, destination, append(fields, hpack.HeaderField{Name: "authorization", Value: "Pomerium " + c.l.Token()})...)
}

func (c *h2client) connect(id uint32, destination string, fields ...hpack.HeaderField) {
	c.buf.Reset()
	c.enc.WriteField(hpack.HeaderField{Name: ":method", Value: "CONNECT"})
	c.enc.WriteField(hpack.HeaderField{Name: ":authority", Value: destination})
	for _, f := range fields {
		c.enc.WriteField(f)
	}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.buf.Bytes(), EndHeaders: true})
}

// stream is what came on a stream.
type stream struct {
	Status string
	Data   int
	End    bool
	Reset  string // of the RST_STREAM
	body   bytes.Buffer
	header http.Header
}

// seen is what came on a connection.
type seen struct {
	Streams map[uint32]*stream
	GoAway  string // last stream and code
	EOF     bool
	Pongs   int
}

// until reads frames, acknowledging SETTINGS, until done or the end of the connection.
func (c *h2client) until(s *seen, done func(*seen) bool) *seen {
	c.t.Helper()
	if s == nil {
		s = &seen{Streams: make(map[uint32]*stream)}
	}
	at := func(id uint32) *stream {
		if s.Streams[id] == nil {
			s.Streams[id] = &stream{header: make(http.Header)}
		}
		return s.Streams[id]
	}
	for !done(s) {
		f, err := c.ReadFrame()
		if errors.Is(err, io.EOF) {
			s.EOF = true
			return s
		}
		if err != nil {
			c.t.Fatalf("after %+v: %v", s, err)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			at(f.StreamID).Status = f.PseudoValue("status")
			at(f.StreamID).End = f.StreamEnded()
			for _, field := range f.RegularFields() {
				at(f.StreamID).header.Add(field.Name, field.Value)
			}
		case *http2.DataFrame:
			at(f.StreamID).Data += len(f.Data())
			at(f.StreamID).body.Write(f.Data())
			at(f.StreamID).End = f.StreamEnded()
		case *http2.RSTStreamFrame:
			at(f.StreamID).Reset = f.ErrCode.String()
		case *http2.GoAwayFrame:
			s.GoAway = fmt.Sprint(f.LastStreamID, " ", f.ErrCode)
		case *http2.PingFrame:
			s.Pongs++
		}
	}
	return s
}

func reset(id uint32) func(*seen) bool {
	return func(s *seen) bool { return s.Streams[id] != nil && s.Streams[id].Reset != "" }
}

func opened(id uint32) func(*seen) bool {
	return func(s *seen) bool { return s.Streams[id] != nil && s.Streams[id].Status != "" }
}

func ended(id uint32) func(*seen) bool {
	return func(s *seen) bool { return s.Streams[id] != nil && s.Streams[id].End }
}

func atEOF(s *seen) bool { return false }

func (c *h2client) want(s *seen, id uint32, want stream) {
	c.t.Helper()
	if diff := cmp.Diff(&want, s.Streams[id], cmp.FilterPath(func(p cmp.Path) bool {
		return p.Last().String() == ".body" || p.Last().String() == ".header"
	}, cmp.Ignore()), cmp.AllowUnexported(stream{})); diff != "" {
		c.t.Errorf("stream %d: %s", id, diff)
	}
}

func TestH2Settings(t *testing.T) {
	l := start(t, lab.Config{MaxStreams: 77})
	c := speakH2(t, l, 65535)
	f, err := c.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[http2.SettingID]uint32)
	f.(*http2.SettingsFrame).ForeachSetting(func(s http2.Setting) error { got[s.ID] = s.Val; return nil })
	want := map[http2.SettingID]uint32{http2.SettingHeaderTableSize: 4096, http2.SettingEnableConnectProtocol: 0,
		http2.SettingMaxConcurrentStreams: 77, http2.SettingInitialWindowSize: 16 << 20}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f, err = c.ReadFrame(); err != nil || f.(*http2.WindowUpdateFrame).Increment != 25_100_289 {
		t.Error(f, err)
	}
}

func TestH2Ends(t *testing.T) {
	for _, config := range []lab.Config{{}, {PlainEdge: true}} {
		l := start(t, config)
		got := make(chan error, 1)
		l.Handle("reads.lab:1", func(c net.Conn) { _, err := io.Copy(io.Discard, c); got <- err })
		c := speakH2(t, l, 65535)

		c.open(1, "Half-Close.lab:1")
		s := c.until(nil, opened(1))
		c.WriteData(1, true, []byte("hello"))
		s = c.until(s, ended(1))
		sum := sha256.Sum256([]byte("hello"))
		if answer := s.Streams[1].body.String(); answer != lab.Digest(5, sum[:]) {
			t.Errorf("answer %q", answer)
		}

		c.open(3, "bulk-1k.lab:1")
		s = c.until(s, reset(3))
		c.want(s, 3, stream{Status: "200", Data: 1 << 10, End: true, Reset: "NO_ERROR"})

		c.open(5, "reset-1k.lab:1")
		s = c.until(s, reset(5))
		c.want(s, 5, stream{Status: "200", Data: 1 << 10, Reset: "CONNECT_ERROR"})

		c.open(7, "reads.lab:1")
		s = c.until(s, opened(7))
		c.WriteRSTStream(7, http2.ErrCodeCancel)
		if err := <-got; err != nil {
			t.Errorf("destination read %v after a reset, want an end", err)
		}
		if s.Streams[1].Reset != "" {
			t.Errorf("reset after both ends: %v", s.Streams[1].Reset)
		}
		want := map[string][]http2.ErrCode{"reads.lab:1": {http2.ErrCodeCancel}}
		if diff := cmp.Diff(want, l.Stats().Resets); diff != "" {
			t.Error(diff)
		}
	}
}

// What a window holds back when the destination closes is lost, to the byte.
func TestH2Cut(t *testing.T) {
	l := start(t, lab.Config{})
	for _, window := range []uint32{1, 10_000, 65535, 1 << 20} { // the connection's is 65535
		c := speakH2(t, l, window)
		c.open(1, "bulk-256k.lab:1")
		s := c.until(nil, reset(1))
		c.want(s, 1, stream{Status: "200", Data: int(min(window, 65535)), Reset: "INTERNAL_ERROR"})
		c.WritePing(false, [8]byte{}) // the connection lives
		c.until(s, func(s *seen) bool { return s.Pongs == 1 })
	}
}

// Nothing is cut while the edge cannot hold all of it, nor after the client's own end.
func TestH2NoCut(t *testing.T) {
	want, _ := io.ReadAll(lab.BulkReader(1 << 20))
	t.Run("window in time", func(t *testing.T) {
		c := speakH2(t, start(t, lab.Config{Buffer: 32 << 10}), 65535)
		c.open(1, "bulk-1m.lab:1")
		s := c.until(nil, func(s *seen) bool { return opened(1)(s) && s.Streams[1].Data == 65535 })
		c.WriteWindowUpdate(0, 1<<20)
		c.WriteWindowUpdate(1, 1<<20)
		s = c.until(s, reset(1))
		c.want(s, 1, stream{Status: "200", Data: 1 << 20, End: true, Reset: "NO_ERROR"})
		if !bytes.Equal(s.Streams[1].body.Bytes(), want) {
			t.Error("other bytes")
		}
	})
	t.Run("client ended", func(t *testing.T) {
		l := start(t, lab.Config{})
		closed := make(chan struct{})
		l.Handle("late.lab:1", func(c net.Conn) {
			io.Copy(io.Discard, c)
			c.Write(want)
			c.Close()
			close(closed)
		})
		c := speakH2(t, l, 65535)
		c.open(1, "late.lab:1")
		c.WriteData(1, true, nil)
		s := c.until(nil, func(s *seen) bool { return opened(1)(s) && s.Streams[1].Data == 65535 })
		<-closed
		c.WriteWindowUpdate(0, 1<<20)
		c.WriteWindowUpdate(1, 1<<20)
		c.want(c.until(s, ended(1)), 1, stream{Status: "200", Data: 1 << 20, End: true})
	})
	t.Run("socket not read", func(t *testing.T) {
		l := start(t, lab.Config{})
		closed := make(chan struct{})
		l.Handle("late.lab:1", func(c net.Conn) {
			io.Copy(c, lab.BulkReader(64<<20))
			c.Close()
			close(closed)
		})
		c := speakH2(t, l, 1<<30)
		c.WriteWindowUpdate(0, 1<<30)
		c.open(1, "late.lab:1")
		s := c.until(nil, func(s *seen) bool { return opened(1)(s) && s.Streams[1].Data > 0 })
		select {
		case <-closed:
			t.Error("nothing held the destination")
		default: // TCP does; only now do we read on
		}
		c.want(c.until(s, reset(1)), 1, stream{Status: "200", Data: 64 << 20, End: true, Reset: "NO_ERROR"})
	})
}

func TestH2Upload(t *testing.T) {
	const size, window = 40 << 20, 16 << 20
	l := start(t, lab.Config{})
	c := speakH2(t, l, 65535)
	c.open(1, "half-close.lab:1")
	data, _ := io.ReadAll(lab.BulkReader(16 << 10))
	left, sent, sum := window, 0, sha256.New()
	for sent < size {
		for left < len(data) {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f, ok := f.(*http2.WindowUpdateFrame); ok && f.StreamID == 1 {
				left += int(f.Increment)
			}
		}
		sum.Write(data)
		sent, left = sent+len(data), left-len(data)
		c.WriteData(1, sent == size, data)
	}
	s := c.until(nil, ended(1))
	if got := s.Streams[1].body.String(); got != lab.Digest(size, sum.Sum(nil)) {
		t.Errorf("answer %q", got)
	}
}

func TestH2WindowOverrun(t *testing.T) {
	l := start(t, lab.Config{})
	l.Handle("stuck.lab:1", func(net.Conn) { <-t.Context().Done() }) // takes what sockets hold
	c := speakH2(t, l, 65535)
	c.open(1, "stuck.lab:1")
	c.until(nil, opened(1))
	for range 16<<20/16384 + 1 {
		c.WriteData(1, false, make([]byte, 16384))
	}
	if s := c.until(nil, atEOF); s.GoAway != "1 FLOW_CONTROL_ERROR" {
		t.Errorf("%+v", s)
	}
	c = speakH2(t, start(t, lab.Config{}), 65535)
	c.WriteWindowUpdate(0, 1<<31-1)
	if s := c.until(nil, atEOF); s.GoAway != "0 FLOW_CONTROL_ERROR" {
		t.Errorf("%+v", s)
	}
}

func TestH2WrongKind(t *testing.T) {
	l := start(t, lab.Config{})
	c := speakH2(t, l, 65535)
	c.open(1, "echo.lab:7")
	c.open(3, "udp.lab:53")
	s := c.until(nil, func(s *seen) bool { return reset(3)(s) && opened(1)(s) })
	c.want(s, 3, stream{Status: "403", End: true, Reset: "NO_ERROR"})
	if s.GoAway != "3 NO_ERROR" {
		t.Errorf("GOAWAY %q", s.GoAway)
	}
	c.open(5, "echo.lab:7")
	c.WriteData(1, true, []byte("on"))
	s = c.until(s, atEOF)
	c.want(s, 1, stream{Status: "200", Data: 2, End: true})
	if s.Streams[5] != nil {
		t.Errorf("a stream above GOAWAY was answered: %+v", s.Streams[5])
	}
}

func TestH2GoAway(t *testing.T) {
	l := start(t, lab.Config{})
	c := speakH2(t, l, 65535)
	c.open(1, "echo.lab:7")
	s := c.until(nil, opened(1))
	l.GoAway()
	c.WriteData(1, true, []byte("on"))
	s = c.until(s, atEOF)
	c.want(s, 1, stream{Status: "200", Data: 2, End: true})
	if s.GoAway != "1 NO_ERROR" {
		t.Errorf("GOAWAY %q", s.GoAway)
	}
}

func TestH2StreamLimit(t *testing.T) {
	l := start(t, lab.Config{})
	c := speakH2(t, l, 65535)
	for i := range 1124 {
		c.open(uint32(2*i+1), "echo.lab:7")
	}
	got := make(map[string]int)
	c.until(nil, func(s *seen) bool {
		clear(got)
		for _, st := range s.Streams {
			got[st.Status+st.Reset]++
		}
		return got["200"]+got["REFUSED_STREAM"] == 1124
	})
	if diff := cmp.Diff(map[string]int{"200": 1024, "REFUSED_STREAM": 100}, got); diff != "" {
		t.Error(diff)
	}
	if s := l.Stats(); s.Connections != 1 || s.H2 != 1 || s.Tunnels["echo.lab:7"] != 1024 {
		t.Errorf("%+v", s)
	}
}

func TestH2ExtendedConnect(t *testing.T) {
	c := speakH2(t, start(t, lab.Config{}), 65535)
	c.open(1, "echo.lab:7", hpack.HeaderField{Name: ":protocol", Value: "connect-udp"})
	if s := c.until(nil, atEOF); !s.EOF || len(s.Streams) > 0 || s.GoAway != "" {
		t.Errorf("%+v", s)
	}
}

func TestH2Ping(t *testing.T) {
	l := start(t, lab.Config{})
	c := speakH2(t, l, 65535)
	c.WritePing(false, [8]byte{1})
	c.until(nil, func(s *seen) bool { return s.Pongs == 1 })
	if n := l.Stats().Pings; n != 1 {
		t.Errorf("%d pings", n)
	}
}

func TestH2CutConnections(t *testing.T) {
	l := start(t, lab.Config{})
	spy := &eofSpy{Conn: through(t, l)}
	c := speakH2Over(t, l, secure(t, l, spy, "h2"), 65535)
	c.open(1, "echo.lab:7")
	s := c.until(nil, opened(1))
	l.Cut(false)
	if s = c.until(s, atEOF); !spy.eof || s.Streams[1].End || s.Streams[1].Reset != "" {
		t.Errorf("%+v", s.Streams[1])
	}
}

func TestH2Refusals(t *testing.T) {
	for _, version := range []string{"0.33", "0.32"} {
		l := start(t, lab.Config{Version: version})
		for _, r := range refusals(l, version) {
			t.Run(version+" "+r.name, func(t *testing.T) {
				c := speakH2(t, l, 65535)
				c.connect(1, r.destination, hpack.HeaderField{Name: "authorization", Value: r.token},
					hpack.HeaderField{Name: "accept", Value: r.accept})
				s := c.until(nil, reset(1))
				c.want(s, 1, stream{Status: fmt.Sprint(r.want), Data: s.Streams[1].Data, End: true, Reset: "NO_ERROR"})
				r.check(t, r.want, s.Streams[1].header, s.Streams[1].body.Bytes())
			})
		}
	}
}

func TestH2Get(t *testing.T) {
	l := start(t, lab.Config{})
	resp, body := get(t, edgeClient(t, l, true), l.EdgeURL().String()+"/healthz", "")
	if resp.ProtoMajor != 2 || resp.StatusCode != 200 || body == "" {
		t.Error(resp.Proto, resp.Status, body)
	}
}

func TestALPN(t *testing.T) {
	for _, c := range []struct {
		config lab.Config
		alpn   string
		h1     int
	}{
		{lab.Config{}, "h2", 0},
		{lab.Config{ALPN: []string{"http/1.1"}}, "http/1.1", 1},
		{lab.Config{ALPN: []string{}}, "", 1},
		{lab.Config{SpeakH1: true}, "h2", 1},
	} {
		l := start(t, c.config)
		conn := edgeTLS(t, l, "h2", "http/1.1")
		io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: edge.lab\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, conn)
		if alpn := conn.ConnectionState().NegotiatedProtocol; alpn != c.alpn || l.Stats().H1 != c.h1 {
			t.Errorf("%+v: ALPN %q, %d on HTTP/1.1", c.config, alpn, l.Stats().H1)
		}
	}
}
