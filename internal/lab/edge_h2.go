package lab

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	defaultWindow    = 65535 // RFC 9113 6.9.2
	maxWindow        = 1<<31 - 1
	connWindow       = 24 << 20 // what a client may send on a connection
	streamWindow     = 16 << 20 // and on a stream
	headerTableSize  = 4096
	maxFrameSize     = 16384     // of the frames that the edge sends
	socketWatermark  = 64 << 10  // bytes for the socket above which destinations are not read
	maxHeaderList    = 128 << 10 // request header limit of v0.33
	destinationChunk = 16 << 10  // read from a destination at once
)

// h2conn is an HTTP/2 connection. Frames are encoded into out under mu, which never blocks, and a
// goroutine of its own writes them to the socket. So the edge reads on while its client does not,
// as Envoy does, and bytes that a window holds back are told from bytes that the socket does.
type h2conn struct {
	edge  *edge
	conn  net.Conn
	br    *bufio.Reader
	input *http2.Framer // used by serve alone

	mu       sync.Mutex
	work     sync.Cond    // for write: out has bytes, or the connection ends
	room     sync.Cond    // for the readers of destinations: out or a stream's hold went down
	out      bytes.Buffer // for the socket
	frames   *http2.Framer
	fields   bytes.Buffer
	hpack    *hpack.Encoder
	streams  map[uint32]*h2stream
	lastID   uint32 // highest stream that the client opened
	goneAway bool   // GOAWAY is out: later streams are ignored
	ending   bool   // close once out is written
	dead     bool
	send     int64 // bytes that we may send
	initial  int64 // send of a new stream
	receive  window
}

func newH2Conn(e *edge, conn net.Conn, br *bufio.Reader) *h2conn {
	c := &h2conn{edge: e, conn: conn, br: br, streams: make(map[uint32]*h2stream),
		send: defaultWindow, initial: defaultWindow, receive: newWindow(connWindow)}
	c.work.L, c.room.L = &c.mu, &c.mu
	c.input = http2.NewFramer(io.Discard, br)
	c.input.ReadMetaHeaders = hpack.NewDecoder(headerTableSize, nil)
	c.input.MaxHeaderListSize = maxHeaderList
	c.input.SetReuseFrames()
	c.hpack = hpack.NewEncoder(&c.fields)
	c.frames = http2.NewFramer(&c.out, nil)
	c.frames.WriteSettings(
		http2.Setting{ID: http2.SettingHeaderTableSize, Val: headerTableSize},
		http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 0},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: e.lab.config.MaxStreams},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow})
	c.frames.WriteWindowUpdate(0, connWindow-defaultWindow)
	return c
}

// serve reads frames until the connection ends, and takes its streams down with it.
func (c *h2conn) serve() {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.fail()
	wg.Go(c.write)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.br, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	for {
		f, err := c.input.ReadFrame()
		c.mu.Lock()
		if err == nil {
			err = c.handle(f, &wg)
		}
		var broken http2.ConnectionError
		var streamBroken http2.StreamError
		switch {
		case errors.As(err, &streamBroken):
			c.reset(streamBroken.StreamID, streamBroken.Code)
			err = nil
		case errors.As(err, &broken):
			c.frames.WriteGoAway(c.lastID, http2.ErrCode(broken), nil)
			c.goneAway, c.ending = true, true
			c.conn.SetDeadline(time.Now().Add(lingering))
		}
		c.work.Signal()
		c.mu.Unlock()
		if broken != 0 {
			c.edge.lab.log.Debug("edge: broken by client", "error", err)
			io.Copy(io.Discard, c.br)
		}
		if err != nil {
			return
		}
	}
}

// fail ends the connection at once.
func (c *h2conn) fail() {
	c.mu.Lock()
	c.dead = true
	for _, s := range c.streams {
		c.drop(s)
	}
	c.work.Signal()
	c.mu.Unlock()
	c.conn.Close()
}

// write carries out to the socket, and says goodbye when nothing is left to say.
func (c *h2conn) write() {
	var batch bytes.Buffer
	for {
		c.mu.Lock()
		for c.out.Len() == 0 && !c.ending && !c.dead {
			c.work.Wait()
		}
		if c.dead {
			c.mu.Unlock()
			return
		}
		batch.Reset()
		batch, c.out = c.out, batch
		c.room.Broadcast()
		c.mu.Unlock()
		if batch.Len() == 0 {
			finish(c.conn) // serve reads on until the client ends too, or for as long as we linger
			return
		}
		if _, err := c.conn.Write(batch.Bytes()); err != nil {
			c.fail()
			return
		}
	}
}

// goAway retires the connection: its streams go on, later ones are ignored.
func (c *h2conn) goAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goAwayLocked()
}

func (c *h2conn) goAwayLocked() {
	if c.goneAway {
		return
	}
	c.goneAway = true
	c.ending = len(c.streams) == 0
	c.frames.WriteGoAway(c.lastID, http2.ErrCodeNo, nil)
	c.work.Signal()
}

// The methods below are called with mu held.

// handle acts on a frame. An error ends the connection, unless it is an http2.StreamError.
func (c *h2conn) handle(f http2.Frame, wg *sync.WaitGroup) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.edge.counted(func(s *Stats) { s.Pings++ })
			return c.frames.WritePing(true, f.Data)
		}
	case *http2.MetaHeadersFrame:
		return c.headers(f, wg)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.RSTStreamFrame:
		if s := c.streams[f.StreamID]; s != nil {
			c.edge.counted(func(st *Stats) {
				st.Resets[s.request.authority] = append(st.Resets[s.request.authority], f.ErrCode)
			})
			c.drop(s)
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

func (c *h2conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if size, ok := f.Value(http2.SettingHeaderTableSize); ok {
		c.hpack.SetMaxDynamicTableSizeLimit(size)
	}
	if size, ok := f.Value(http2.SettingInitialWindowSize); ok {
		delta := int64(size) - c.initial
		c.initial = int64(size)
		for _, s := range c.streams {
			s.send += delta
		}
		c.pump(slices.Collect(maps.Values(c.streams))...)
	}
	return c.frames.WriteSettingsAck()
}

func (c *h2conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	n := int64(f.Increment)
	if f.StreamID == 0 {
		if c.send += n; c.send > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		if c.send == n { // it was shut
			c.pump(slices.Collect(maps.Values(c.streams))...)
		}
	} else if s := c.streams[f.StreamID]; s != nil {
		if s.send += n; s.send > maxWindow {
			return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
		}
		c.pump(s)
	}
	return nil
}

// headers opens a stream.
func (c *h2conn) headers(f *http2.MetaHeadersFrame, wg *sync.WaitGroup) error {
	id := f.StreamID
	if s := c.streams[id]; s != nil { // trailers
		s.inEnded = s.inEnded || f.StreamEnded()
		s.changed.Signal()
		return nil
	}
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if c.goneAway || id <= c.lastID {
		return nil
	}
	c.lastID = id
	if f.PseudoValue("protocol") != "" {
		return io.EOF // extended CONNECT without our SETTINGS for it: not a word more
	}
	if len(c.streams) >= int(c.edge.lab.config.MaxStreams) {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	header := make(http.Header)
	for _, field := range f.RegularFields() {
		header.Add(field.Name, field.Value)
	}
	authority := f.PseudoValue("authority")
	if authority == "" {
		authority = header.Get("Host")
	}
	s := &h2stream{c: c, id: id, send: c.initial, inEnded: f.StreamEnded(),
		receive: newWindow(streamWindow),
		request: newRequest(f.PseudoValue("method"), strings.ToLower(authority), f.PseudoValue("path"), header)}
	s.changed.L = &c.mu
	c.streams[id] = s
	wg.Go(func() { s.run(wg) })
	return nil
}

func (c *h2conn) data(f *http2.DataFrame) error {
	n := int(f.Length) // with the padding
	if !c.receive.take(n) {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s := c.streams[f.StreamID]
	switch {
	case s == nil: // gone; what was under way still counts for the connection
		c.credit(nil, n)
		return nil
	case s.inEnded:
		c.credit(nil, n)
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeStreamClosed}
	case !s.receive.take(n):
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s.in.Write(f.Data())
	s.inEnded = f.StreamEnded()
	c.credit(s, n-len(f.Data()))
	s.changed.Signal()
	return nil
}

// credit gives a client window back, for the connection and, when it is still of use there, for
// the stream.
func (c *h2conn) credit(s *h2stream, n int) {
	if due := c.receive.give(n); due > 0 {
		c.frames.WriteWindowUpdate(0, due)
	}
	if s != nil && !s.gone && !s.inEnded {
		if due := s.receive.give(n); due > 0 {
			c.frames.WriteWindowUpdate(s.id, due)
		}
	}
	c.work.Signal()
}

// pump moves held bytes of streams to the socket as far as the windows let it, a frame of each in
// turn, and then ends the streams that have nothing more to come.
func (c *h2conn) pump(streams ...*h2stream) {
	for moved := true; moved; {
		moved = false
		for _, s := range streams {
			n := int(min(int64(s.hold.Len()), s.send, c.send, maxFrameSize))
			if n <= 0 || s.gone {
				continue
			}
			c.frames.WriteData(s.id, false, s.hold.Next(n))
			s.send -= int64(n)
			c.send -= int64(n)
			moved = true
		}
	}
	for _, s := range streams {
		c.settle(s)
	}
	c.work.Signal()
	c.room.Broadcast()
}

// settle ends a stream whose source has ended. This is the cut (PROTOCOL.md 13): what a window
// holds back at this moment is dropped, unless the client has ended its own side.
func (c *h2conn) settle(s *h2stream) {
	switch {
	case s.gone || !s.outEnded:
	case s.hold.Len() == 0:
		c.frames.WriteData(s.id, true, nil)
		if s.inEnded {
			c.drop(s)
		} else {
			c.reset(s.id, http2.ErrCodeNo)
		}
	case !s.inEnded:
		c.reset(s.id, http2.ErrCodeInternal)
	}
}

// reset sends RST_STREAM and forgets the stream.
func (c *h2conn) reset(id uint32, code http2.ErrCode) {
	c.frames.WriteRSTStream(id, code)
	if s := c.streams[id]; s != nil {
		c.drop(s)
	}
	c.work.Signal()
}

// drop forgets a stream and lets go of its destination.
func (c *h2conn) drop(s *h2stream) {
	if s.gone {
		return
	}
	s.gone = true
	delete(c.streams, s.id)
	c.credit(nil, s.in.Len())
	if s.up != nil {
		s.up.Close()
	}
	if c.goneAway && len(c.streams) == 0 {
		c.ending = true
	}
	s.changed.Signal()
	c.room.Broadcast()
}
