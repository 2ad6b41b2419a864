package h2connect

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A Response is what the peer answered to a CONNECT. Body is read for refusals
// only, and bounded.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Open sends CONNECT for authority and waits for the answer, as long as ctx
// allows. Any 2xx opens the stream; for every other status the stream is nil
// and the response has the refusal's body. An error for which Unprocessed is
// true says that the peer did not act on the request: it may go elsewhere.
func (c *Conn) Open(ctx context.Context, authority string, header http.Header) (*Stream, *Response, error) {
	s := newStream(c)
	c.opening.Add(1)
	defer c.opening.Add(-1)
	if err := c.request(s, authority, header); err != nil {
		s.finish()
		return nil, nil, err
	}
	select {
	case <-s.answered:
	case <-ctx.Done():
		s.Close()
		return nil, nil, ctx.Err()
	}
	if s.answer.Status == 0 {
		err := s.failure()
		s.Close()
		return nil, nil, err
	}
	answer := s.answer
	s.answer.Header = nil // an idle tunnel keeps little
	if answer.Status/100 == 2 {
		return s, &answer, nil
	}
	answer.Body = s.refusal(ctx)
	s.Close()
	return nil, &answer, nil
}

// request writes the HEADERS of a CONNECT: stream ids must go out in order, so
// the id is taken under the write lock.
func (c *Conn) request(s *Stream, authority string, header http.Header) error {
	err := c.write(func() error {
		if err := c.admit(s); err != nil {
			return err
		}
		c.block.Reset()
		c.hpack.WriteField(hpack.HeaderField{Name: ":method", Value: http.MethodConnect})
		c.hpack.WriteField(hpack.HeaderField{Name: ":authority", Value: authority})
		for name, values := range header {
			for _, v := range values {
				name := strings.ToLower(name)
				c.hpack.WriteField(hpack.HeaderField{Name: name, Value: v, Sensitive: name == "authorization" || name == "proxy-authorization"})
			}
		}
		return c.writeBlock(s.id, c.block.Bytes())
	})
	if e := (*Error)(nil); err == nil || errors.As(err, &e) {
		return err
	}
	c.fail(err) // at once: who comes next must not be sent here
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Error{Op: "connection", Err: c.err} // the first reason, which may be another
}

func (c *Conn) writeBlock(id uint32, block []byte) error {
	first := block[:min(len(block), maxPayload)]
	rest := block[len(first):]
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(rest) == 0})
	for err == nil && len(rest) > 0 {
		next := rest[:min(len(rest), maxPayload)]
		rest = rest[len(next):]
		err = c.framer.WriteContinuation(id, len(rest) == 0, next)
	}
	return err
}

// admit gives s its id, unless the connection takes no more.
func (c *Conn) admit(s *Stream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return &Error{Op: "open", Err: c.err, unprocessed: true}
	case c.retired || c.nextID > lastStreamID:
		return &Error{Op: "open", Err: errRetired, unprocessed: true}
	case uint32(len(c.streams)) >= c.maxStreams:
		return &Error{Op: "open", Err: errFull, unprocessed: true}
	}
	s.id = c.nextID
	s.window = c.peerWindow
	c.nextID += 2
	c.streams[s.id] = s
	c.ping.start()
	return nil
}
