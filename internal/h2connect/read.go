package h2connect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// A reader turns the bytes of a burst into frames. The payloads of DATA frames
// are never copied: they go to the stream as pieces of the buffer. All other
// frames are parsed by http2.Framer once they are whole.
type reader struct {
	framer *http2.Framer
	frame  oneFrame // what framer reads
	buf    *sock.Buffer
	n      int  // bytes in buf
	bulk   bool // the last burst was large: so may the next be
	seen   bool

	// The DATA frame under way.
	id   uint32
	left int // payload bytes to come
	pad  int // padding bytes after them
	end  bool

	// The pieces gathered for one stream.
	to     *Stream
	pieces [][]byte
	size   int

	credit int // received on the connection and not yet given back
}

// oneFrame hands exactly the bytes of whole frames to the framer.
type oneFrame struct{ b []byte }

func (f *oneFrame) Read(p []byte) (int, error) {
	if len(f.b) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, f.b)
	f.b = f.b[n:]
	return n, nil
}

func (r *reader) init(f *http2.Framer) {
	r.framer = f
	r.framer.SetReuseFrames()
	r.framer.ReadMetaHeaders = hpack.NewDecoder(0, nil)
	r.framer.MaxHeaderListSize = maxHeaderList
}

// run reads until the connection ends.
func (c *Conn) run() {
	defer close(c.done)
	err := c.readAll()
	if errors.Is(err, io.EOF) {
		err = ErrCut
	}
	c.in.buf.Free()
	c.in.buf = nil
	if code := brokenRule(err); code != http2.ErrCodeNo {
		c.goodbye(code)
	}
	c.fail(err)
}

func (c *Conn) readAll() error {
	for { // TLS may have read more than its handshake: look before waiting
		if err := c.burst(); err != nil {
			return err
		}
		if err := c.between(); err != nil {
			return err
		}
		if err := c.under.Wait(); err != nil {
			return err
		}
		c.ping.hear()
		if c.opening.Load() > 0 {
			sock.QuickAck(c.under.Conn)
		}
	}
}

// between does what is due after each piece that has been taken: from a peer
// that sends without a break, a burst has no end.
func (c *Conn) between() error {
	if c.flooded() {
		return errors.New("the peer asks for answers and does not read them")
	}
	return c.pause()
}

// burst takes everything that has arrived, and keeps no buffer unless a frame
// is only half there.
func (c *Conn) burst() error {
	r := &c.in
	if r.buf == nil {
		r.buf = sock.TakeBuffer(r.bulk)
	}
	r.bulk = false
	for {
		piece := r.buf.B
		if r.n < downPiece { // more are header blocks that take many frames
			piece = piece[:min(len(piece), downPiece)]
		}
		n, err := c.top.Read(piece[r.n:])
		r.n += n
		r.bulk = r.bulk || r.n > sock.SmallBuffer/2
		if err == nil && r.n < len(piece) {
			continue // gather: one write to the local end instead of many
		}
		if perr := c.parse(); perr != nil {
			return perr
		}
		if err == sock.ErrWouldBlock {
			break
		}
		if err != nil {
			return err
		}
		c.ping.hear()
		if err := c.between(); err != nil {
			return err
		}
	}
	if r.n == 0 {
		r.buf.Free()
		r.buf = nil
	}
	return nil
}

// parse consumes what is in the buffer and moves an incomplete frame to its
// start.
func (c *Conn) parse() error {
	r := &c.in
	b := r.buf.B[:r.n]
	for len(b) > 0 {
		n, err := c.step(b)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	c.deliver()
	if len(b) == len(r.buf.B) && len(b) < sock.LargeBuffer {
		large := sock.TakeBuffer(true)
		copy(large.B, b)
		r.buf.Free()
		r.buf = large
	} else if len(b) == len(r.buf.B) {
		return &violation{http2.ErrCodeEnhanceYourCalm, "header block too large"}
	} else {
		copy(r.buf.B, b)
	}
	r.n = len(b)
	return nil
}

// step consumes one frame from the start of b, or a piece of a DATA frame, and
// returns its length: 0 when more bytes are needed.
func (c *Conn) step(b []byte) (int, error) {
	r := &c.in
	switch {
	case r.left > 0:
		n := min(r.left, len(b))
		r.gather(b[:n])
		r.left -= n
		c.endOfData()
		return n, nil
	case r.pad > 0:
		n := min(r.pad, len(b))
		r.pad -= n
		c.endOfData()
		return n, nil
	case len(b) < frameHeader:
		return 0, r.sniff(b)
	}
	if err := r.sniff(b); err != nil {
		return 0, err
	}
	length := int(binary.BigEndian.Uint32(b) >> 8)
	if length > 16384 { // the SETTINGS_MAX_FRAME_SIZE that we left alone
		return 0, &violation{http2.ErrCodeFrameSize, fmt.Sprintf("frame of %d bytes", length)}
	}
	if http2.FrameType(b[3]) == http2.FrameData {
		return c.data(b, length)
	}
	return c.other(b)
}

// sniff tells HTTP/1.1 from HTTP/2 at the first bytes: a frame header that
// begins with "HTTP" would announce 4.7 MB.
func (r *reader) sniff(b []byte) error {
	if r.seen || len(b) < 4 {
		return nil
	}
	r.seen = true
	if string(b[:4]) == "HTTP" || http2.FrameType(b[3]) != http2.FrameSettings {
		return ErrNotHTTP2
	}
	return nil
}

// data begins a DATA frame (RFC 9113 section 6.1).
func (c *Conn) data(b []byte, length int) (int, error) {
	r := &c.in
	flags := http2.Flags(b[4])
	head := frameHeader
	pad := 0
	if flags.Has(http2.FlagDataPadded) {
		if len(b) < frameHeader+1 {
			return 0, nil
		}
		head++
		pad = int(b[frameHeader])
		if length < 1+pad {
			return 0, &violation{http2.ErrCodeProtocol, "DATA frame with more padding than payload"}
		}
	}
	id := binary.BigEndian.Uint32(b[5:]) & lastStreamID
	if id == 0 {
		return 0, &violation{http2.ErrCodeProtocol, "DATA frame on stream 0"}
	}
	if r.to == nil || r.to.id != id {
		c.deliver()
		r.to = c.stream(id)
	}
	r.id, r.end, r.pad = id, flags.Has(http2.FlagDataEndStream), pad
	r.left = length - (head - frameHeader) - pad
	if r.to != nil {
		r.to.overhead += length - r.left
	}
	c.giveBack(length)
	c.endOfData()
	return head, nil
}

func (r *reader) gather(p []byte) {
	if r.to == nil {
		return // the stream is gone; its bytes count for the connection only
	}
	r.pieces = append(r.pieces, p)
	r.size += len(p)
}

// endOfData ends the stream after the last byte of its last frame.
func (c *Conn) endOfData() {
	r := &c.in
	if r.left > 0 || r.pad > 0 || !r.end {
		return
	}
	r.end = false
	s := r.to
	c.deliver()
	if s != nil {
		s.endReceived()
	}
}

// deliver hands the gathered pieces to their stream.
func (c *Conn) deliver() {
	r := &c.in
	if r.to != nil && r.size+r.to.overhead > 0 {
		r.to.receive(r.pieces, r.size)
	}
	clear(r.pieces)
	r.pieces = r.pieces[:0]
	r.size = 0
	if r.left == 0 && r.pad == 0 {
		r.to = nil
	}
}

// giveBack returns connection window: always on receipt, also for streams that
// are gone.
func (c *Conn) giveBack(n int) {
	r := &c.in
	r.credit += n
	if r.credit >= connCredit {
		credit := uint32(r.credit)
		r.credit = 0
		c.later(func() { c.framer.WriteWindowUpdate(0, credit) })
	}
}

func (c *Conn) stream(id uint32) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// pause holds the read loop of a solo connection while its local end is
// behind, unless the tunnel's own upload waits for window: the update that it
// waits for is on this socket.
func (c *Conn) pause() error {
	if c.cfg.Shared {
		return nil
	}
	for {
		c.mu.Lock()
		var behind bool
		for _, s := range c.streams {
			behind = behind || s.behind()
		}
		behind = behind && len(c.starved) == 0
		err := c.err
		c.mu.Unlock()
		if err != nil {
			return err
		}
		if !behind {
			return nil
		}
		c.ping.paused.Store(true)
		<-c.nudge
		c.ping.hear()
		c.ping.paused.Store(false)
	}
}
