package h2connect_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is the other side of a connection under test, as scripted as the test
// that holds it: it does nothing by itself.
type peer struct {
	t      testing.TB
	conn   net.Conn
	out    *http2.Framer
	in     *http2.Framer
	block  bytes.Buffer
	hpack  *hpack.Encoder
	closed chan error // what OnClose was told
	lost   chan int
	idle   chan struct{}
}

// start returns a connection under test over loopback sockets, and its peer.
// Nothing has been exchanged.
func start(t testing.TB, cfg h2connect.Config) (*h2connect.Conn, *peer) {
	t.Helper()
	near, far := nettest.Pair(t)
	return startOn(t, near, far, cfg)
}

// startPipe is start in memory: each write of the peer is one read here, and
// time is free to be that of a bubble.
func startPipe(t testing.TB, cfg h2connect.Config) (*h2connect.Conn, *peer) {
	near, far := net.Pipe()
	return startOn(t, near, far, cfg)
}

func startOn(t testing.TB, near, far net.Conn, cfg h2connect.Config) (*h2connect.Conn, *peer) {
	p := &peer{
		t: t, conn: far, out: http2.NewFramer(far, nil), in: http2.NewFramer(nil, far),
		closed: make(chan error, 1), lost: make(chan int, 1), idle: make(chan struct{}, 100),
	}
	p.encoder()
	p.in.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.out.AllowIllegalWrites = true
	cfg.OnClose = func(_ *h2connect.Conn, lost int, err error) {
		p.lost <- lost
		p.closed <- err
	}
	cfg.OnIdle = func(*h2connect.Conn) { p.idle <- struct{}{} }
	under := sock.NewConn(near)
	c := h2connect.New(under, under, cfg)
	c.Greet()
	t.Cleanup(func() {
		c.Close()
		far.Close()
	})
	return c, p
}

// encoder makes the encoder of header blocks, without a table, as the SETTINGS
// of the other side ask.
func (p *peer) encoder() {
	p.hpack = hpack.NewEncoder(&p.block)
	p.hpack.SetMaxDynamicTableSizeLimit(0)
}

// meet is start, with the preface read and SETTINGS exchanged.
func meet(t testing.TB, cfg h2connect.Config, settings ...http2.Setting) (*h2connect.Conn, *peer) {
	t.Helper()
	c, p := start(t, cfg)
	p.greet(settings...)
	return c, p
}

func meetPipe(t testing.TB, cfg h2connect.Config, settings ...http2.Setting) (*h2connect.Conn, *peer) {
	t.Helper()
	c, p := startPipe(t, cfg)
	p.greet(settings...)
	return c, p
}

func (p *peer) greet(settings ...http2.Setting) {
	p.t.Helper()
	p.preface()
	want[*http2.SettingsFrame](p)
	p.check(p.out.WriteSettings(settings...))
	for !want[*http2.SettingsFrame](p).IsAck() {
	}
}

func (p *peer) preface() {
	p.t.Helper()
	b := make([]byte, len(http2.ClientPreface))
	p.conn.SetReadDeadline(time.Now().Add(nettest.Patience))
	if _, err := io.ReadFull(p.conn, b); err != nil || string(b) != http2.ClientPreface {
		p.t.Fatalf("preface %q, %v", b, err)
	}
}

func (p *peer) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) next() http2.Frame {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(nettest.Patience))
	f, err := p.in.ReadFrame()
	if err != nil {
		p.t.Fatalf("the peer reads: %v", err)
	}
	return f
}

// want returns the next frame of type F, and passes over others.
func want[F http2.Frame](p *peer) F {
	p.t.Helper()
	for {
		if f, ok := p.next().(F); ok {
			return f
		}
	}
}

// none checks that everything that was caused so far holds no frame for which
// bad is true: it sends a PING, and looks at all that comes before the answer.
func (p *peer) none(what string, bad func(http2.Frame) bool) {
	p.t.Helper()
	p.check(p.out.WritePing(false, [8]byte{'n', 'o', 'n', 'e'}))
	for {
		f := p.next()
		if bad(f) {
			p.t.Fatalf("%s: %v", what, f)
		}
		if ping, ok := f.(*http2.PingFrame); ok && ping.IsAck() {
			return
		}
	}
}

// pong waits until the connection has taken all that was sent to it.
func (p *peer) pong() {
	p.t.Helper()
	p.none("", func(http2.Frame) bool { return false })
}

// fields encodes a header block: pairs of name and value.
func (p *peer) fields(pairs ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.hpack.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return p.block.Bytes()
}

// answer sends HEADERS with a status.
func (p *peer) answer(id uint32, status int, end bool, pairs ...string) {
	p.t.Helper()
	pairs = append([]string{":status", strconv.Itoa(status)}, pairs...)
	p.check(p.out.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.fields(pairs...), EndHeaders: true, EndStream: end}))
}

// opened is what Open returned.
type opened struct {
	s    *h2connect.Stream
	resp *h2connect.Response
	err  error
}

// ask calls Open on a goroutine of its own, which ends with it.
func ask(ctx context.Context, c *h2connect.Conn, authority string) <-chan opened {
	ch := make(chan opened, 1)
	go func() {
		s, resp, err := c.Open(ctx, authority, http.Header{"Authorization": {"Pomerium token"}, "Accept": {"application/json"}})
		ch <- opened{s, resp, err}
	}()
	return ch
}

// dial opens a stream, and returns it with its id.
func (p *peer) dial(c *h2connect.Conn) (*h2connect.Stream, uint32) {
	p.t.Helper()
	ch := ask(context.Background(), c, "db.internal:5432")
	id := want[*http2.MetaHeadersFrame](p).StreamID
	p.answer(id, 200, false)
	got := nettest.Receive(p.t, ch, "the stream")
	if got.err != nil {
		p.t.Fatal(got.err)
	}
	return got.s, id
}

// readAll reads a stream to its end on a goroutine of its own.
func readAll(r io.Reader) <-chan read {
	ch := make(chan read, 1)
	go func() {
		b, err := io.ReadAll(r)
		ch <- read{b, err}
	}()
	return ch
}

type read struct {
	b   []byte
	err error
}

// sent sends bytes on a stream on a goroutine of its own.
func sent(s *h2connect.Stream, b []byte) <-chan error {
	ch := make(chan error, 1)
	go func() {
		_, err := s.Write(b)
		ch <- err
	}()
	return ch
}

// stick uploads, with all the window there is, to a peer that reads nothing from
// now on: soon the upload waits for the socket. The channel gets its error.
func (p *peer) stick(s *h2connect.Stream) <-chan error {
	p.t.Helper()
	p.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	p.check(p.out.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}))
	p.check(p.out.WriteWindowUpdate(0, 1<<30))
	started := make(chan struct{})
	ch := make(chan error, 1)
	go func() {
		b := pattern(128 << 10)
		for i := 0; ; i++ {
			if _, err := s.Write(b); err != nil {
				ch <- err
				return
			}
			if i == 0 {
				close(started)
			}
		}
	}()
	<-started
	return ch
}

// data sends n bytes of pattern on a stream in full frames.
func (p *peer) data(id uint32, n int) {
	p.t.Helper()
	for n > 0 {
		k := min(n, 16384)
		p.check(p.out.WriteData(id, false, pattern(k)))
		n -= k
	}
}

func pattern(n int) []byte {
	return bytes.Repeat([]byte("0123456789abcdef"), n/16+1)[:n]
}

// code returns the code of a reset by the peer.
func code(err error) http2.ErrCode {
	var e *h2connect.Error
	if !errors.As(err, &e) {
		return 1 << 31
	}
	return e.Code
}
