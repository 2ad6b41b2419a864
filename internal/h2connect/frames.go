package h2connect

import (
	"encoding/binary"
	"errors"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"
)

// other parses a frame that is not DATA, with its CONTINUATIONs, once it is
// whole.
func (c *Conn) other(b []byte) (int, error) {
	n := wholeLen(b)
	if n == 0 {
		return 0, nil
	}
	c.deliver()
	r := &c.in
	r.frame.b = b[:n]
	f, err := r.framer.ReadFrame()
	r.frame.b = nil
	if err != nil {
		var se http2.StreamError
		if errors.As(err, &se) {
			c.resetStream(se.StreamID, se.Code)
			return n, nil
		}
		return 0, err
	}
	return n, c.handle(f)
}

// wholeLen returns the length of the frame at the start of b, with the
// CONTINUATION frames that belong to it, or 0 when it is not all there.
func wholeLen(b []byte) int {
	total := 0
	for {
		if len(b) < frameHeader {
			return 0
		}
		n := frameHeader + int(binary.BigEndian.Uint32(b)>>8)
		if len(b) < n {
			return 0
		}
		total += n
		t, flags := http2.FrameType(b[3]), http2.Flags(b[4])
		if (t != http2.FrameHeaders && t != http2.FrameContinuation) || flags.Has(http2.FlagHeadersEndHeaders) {
			return total
		}
		b = b[n:]
	}
}

func (c *Conn) handle(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		c.headers(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f.StreamID, int64(f.Increment))
	case *http2.PingFrame:
		if !f.IsAck() {
			data := f.Data
			c.later(func() { c.framer.WritePing(true, data) })
		}
	case *http2.RSTStreamFrame:
		if s := c.stream(f.StreamID); s != nil {
			s.resetReceived(f.ErrCode)
		}
	case *http2.GoAwayFrame:
		c.goAway(f.LastStreamID, f.ErrCode)
	case *http2.PushPromiseFrame:
		return &violation{http2.ErrCodeProtocol, "PUSH_PROMISE although push is off"}
	}
	return nil
}

func (c *Conn) headers(f *http2.MetaHeadersFrame) {
	s := c.stream(f.StreamID)
	if s == nil {
		return
	}
	status, _ := strconv.Atoi(f.PseudoValue("status"))
	if status >= 200 { // 1xx announce the answer (RFC 9110 section 15.2)
		h := http.Header{}
		for _, field := range f.RegularFields() {
			h.Add(field.Name, field.Value)
		}
		s.answerReceived(Response{Status: status, Header: h})
	}
	if f.StreamEnded() {
		s.endReceived()
	}
}

func (c *Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if err := f.ForeachSetting(c.setting); err != nil {
		return err
	}
	c.later(func() { c.framer.WriteSettingsAck() })
	return nil
}

func (c *Conn) setting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s.ID {
	case http2.SettingMaxConcurrentStreams:
		c.maxStreams = s.Val
	case http2.SettingInitialWindowSize: // RFC 9113 section 6.9.2: also for streams that are open
		delta := int64(s.Val) - c.peerWindow
		c.peerWindow = int64(s.Val)
		for _, st := range c.streams {
			st.window += delta
			st.wakeSender()
		}
	case http2.SettingHeaderTableSize:
		if c.cfg.Shared {
			c.laterLocked(func() { c.hpack.SetMaxDynamicTableSizeLimit(s.Val) })
		}
	}
	return nil
}

func (c *Conn) windowUpdate(id uint32, n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 {
		c.sendWindow += n
		if c.sendWindow > connWindow {
			return &violation{http2.ErrCodeFlowControl, "connection window overflow"}
		}
		for s := range c.starved {
			s.wakeSender()
		}
		return nil
	}
	if s := c.streams[id]; s != nil {
		s.window += n
		s.wakeSender()
	}
	return nil
}

// goAway retires the connection: streams above last were not processed (RFC
// 9113 section 6.8), the others go on.
func (c *Conn) goAway(last uint32, code http2.ErrCode) {
	c.mu.Lock()
	c.retired = true
	var refused []*Stream
	for id, s := range c.streams {
		if id > last {
			refused = append(refused, s)
		}
	}
	idle := len(c.streams) == 0
	c.mu.Unlock()
	if c.cfg.Log != nil {
		c.cfg.Log.Debug("goaway", "code", code.String(), "last", last)
	}
	for _, s := range refused {
		s.fail(&Error{Op: "open", Code: code, Err: errRetired, unprocessed: true})
		c.remove(s)
	}
	if idle {
		c.fail(errRetired)
	}
}

// resetStream answers a frame that broke the rules of one stream.
func (c *Conn) resetStream(id uint32, code http2.ErrCode) {
	c.later(func() { c.framer.WriteRSTStream(id, code) })
	if s := c.stream(id); s != nil {
		s.fail(&Error{Op: "stream", Code: code, Err: errors.New("the peer broke the protocol")})
		c.remove(s)
	}
}
