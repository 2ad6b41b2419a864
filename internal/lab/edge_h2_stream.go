package lab

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2stream is a request on an HTTP/2 connection. Its fields are guarded by the connection's mu.
type h2stream struct {
	c        *h2conn
	id       uint32
	request  *request
	up       *net.TCPConn // to the destination; nil: not yet
	changed  sync.Cond    // for uplink: in or inEnded grew, or the stream is gone
	in       bytes.Buffer // from the client, not yet taken by the destination
	inEnded  bool         // END_STREAM came
	hold     bytes.Buffer // for the client, held back by a window
	outEnded bool         // nothing follows what is in hold
	gone     bool
	send     int64 // bytes that we may send
	receive  window
}

// window is what a client may send. Credit goes out once it is worth half of the whole, as nghttp2
// does it.
type window struct{ left, owed, size int64 }

func newWindow(size int64) window { return window{left: size, size: size} }

// take counts n bytes received, and reports whether the client had the right to send them.
func (w *window) take(n int) bool {
	w.left -= int64(n)
	return w.left >= 0
}

// give counts n bytes as consumed, and returns the credit that is due now.
func (w *window) give(n int) uint32 {
	w.owed += int64(n)
	if w.owed < (w.size+1)/2 {
		return 0
	}
	credit := w.owed
	w.left, w.owed = w.left+credit, 0
	return uint32(credit)
}

// respond writes the head of an answer and, unless it opens a tunnel, the rest of it. mu is held.
func (s *h2stream) respond(a *answer) {
	c := s.c
	c.fields.Reset()
	c.hpack.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(a.status)})
	for _, f := range a.fields(s.request) {
		c.hpack.WriteField(hpack.HeaderField{Name: f.name, Value: f.value})
	}
	c.frames.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: c.fields.Bytes(), EndHeaders: true})
	if s.up == nil {
		s.hold.WriteString(a.body)
		s.outEnded = true
		c.pump(s)
	}
	c.work.Signal()
}

// run answers the request, and carries what the client sends if it opened a tunnel. serve joins it.
func (s *h2stream) run(wg *sync.WaitGroup) {
	c, r := s.c, s.request
	a := &answer{status: http.StatusOK}
	var up *net.TCPConn
	if r.method == http.MethodConnect {
		var refusal *answer
		if up, _, refusal = c.edge.open(r); refusal != nil {
			a = refusal
		}
	} else {
		a = c.edge.get(r)
	}
	c.edge.answered(r, a)
	c.mu.Lock()
	if s.gone {
		c.mu.Unlock()
		if up != nil {
			up.Close()
		}
		return
	}
	if a.drain {
		c.goAwayLocked()
	}
	s.up = up
	s.respond(a)
	c.mu.Unlock()
	if up != nil {
		wg.Go(s.downlink)
		s.uplink()
	}
}

// uplink writes what the client sends to the destination, and gives window as that takes it. It ends
// with the stream.
func (s *h2stream) uplink() {
	c := s.c
	chunk := make([]byte, 0, destinationChunk)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for s.in.Len() == 0 && !s.inEnded && !s.gone {
			s.changed.Wait()
		}
		if s.gone {
			return
		}
		if s.in.Len() == 0 {
			s.up.CloseWrite()
			return
		}
		chunk = append(chunk[:0], s.in.Next(destinationChunk)...)
		c.mu.Unlock()
		_, err := s.up.Write(chunk)
		c.mu.Lock()
		c.credit(s, len(chunk))
		if err != nil {
			return // downlink sees how it ended
		}
	}
}

// downlink reads from the destination while the socket takes bytes and the hold has room, whatever
// the client's window is: so a destination can finish and go while its client is slow. serve
// joins it.
func (s *h2stream) downlink() {
	c := s.c
	chunk := make([]byte, destinationChunk)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for !s.gone && (c.out.Len() >= socketWatermark || s.hold.Len() >= c.edge.lab.config.Buffer) {
			c.room.Wait()
		}
		if s.gone {
			return
		}
		c.mu.Unlock()
		n, err := s.up.Read(chunk)
		c.mu.Lock()
		if s.gone {
			return
		}
		s.hold.Write(chunk[:n])
		s.outEnded = errors.Is(err, io.EOF)
		c.pump(s)
		if err != nil && !s.outEnded {
			c.reset(s.id, http2.ErrCodeConnect)
			return
		}
	}
}
