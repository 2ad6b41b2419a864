package tunnel

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/pomerium/pomerium-cli/internal/h2connect"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

const (
	maxAnswer      = 64 << 10        // header block of the edge's answer, in bytes
	maxRefusal     = 16 << 10        // body of a refusal, in bytes
	refusalTimeout = 2 * time.Second // for that body
	// downPiece is how much goes to the local end in one write, in bytes: what TLS
	// has just decrypted is still in the processor's cache. 128 KiB cost a tenth
	// more.
	downPiece = 32 << 10
	// silence is how long an HTTP/1.1 tunnel waits for more after the local
	// program has ended its side, which the edge never hears of.
	silence = 5 * time.Minute
	// idleAfter is the silence in both directions that is told when a tunnel is
	// cut: shorter ones are the pauses of any conversation.
	idleAfter = 3 * time.Second
)

// connectH1 sends CONNECT on a link and reads the answer (RFC 9110 section
// 9.3.6). After 2xx the link is the tunnel; otherwise it is closed.
func connectH1(ctx context.Context, l *link, destination string, h http.Header) (*h1Stream, *h2connect.Response, error) {
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	s := &h1Stream{link: l, gone: make(chan struct{})}
	resp, err := s.request(destination, h)
	if err != nil {
		l.close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, nil, err
	}
	if resp.Status/100 != 2 {
		l.close()
		return nil, resp, nil
	}
	if !stop() {
		return nil, nil, context.Cause(ctx)
	}
	l.under.Poll()
	return s, nil, nil
}

// An h1Stream is a tunnel on a connection of its own. It never passes on a
// half-close: the edge takes one for a close and drops the reply.
type h1Stream struct {
	*link
	early   []byte // came with the answer
	gone    chan struct{}
	ended   bool
	why     error                      // what every read says after the end
	bulk    bool                       // the last burst was large: so may the next be
	quiet   time.Duration              // how long the reading side has last waited for bytes
	sent    atomic.Int64               // UnixNano of the last bytes up
	closed  func()                     // told at Close
	since   atomic.Int64               // UnixNano since when it waits for the edge; 0: it does not, -1: it waited too long
	silence atomic.Pointer[time.Timer] // runs once the local end is done
}

func (s *h1Stream) request(destination string, h http.Header) (*h2connect.Response, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", destination, destination)
	h.Write(&b)
	b.WriteString("\r\n")
	if _, err := s.top.Write(b.Bytes()); err != nil {
		return nil, err
	}
	if err := s.under.Flush(); err != nil {
		return nil, err
	}
	for {
		head, err := s.answer()
		if err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
		if err != nil {
			return nil, fmt.Errorf("not an HTTP answer: %w", err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 == 1 {
			continue // RFC 9110 section 15.2
		}
		r := &h2connect.Response{Status: resp.StatusCode, Header: resp.Header}
		if resp.StatusCode/100 != 2 {
			r.Body = s.refusal(head)
		}
		return r, nil
	}
}

// answer reads one header block, and keeps what comes behind it in early.
func (s *h1Stream) answer() ([]byte, error) {
	buf := s.early
	for {
		if end := bytes.Index(buf, []byte("\r\n\r\n")); end >= 0 {
			s.early = buf[end+4:]
			return buf[: end+4 : end+4], nil
		}
		if len(buf) > maxAnswer {
			return nil, errors.New("the header block of the answer is too large")
		}
		piece := make([]byte, 2048)
		n, err := s.top.Read(piece)
		buf = append(buf, piece[:n]...)
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) && len(buf) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// refusal reads the body of an answer that is not 2xx, for a short time.
func (s *h1Stream) refusal(head []byte) []byte {
	s.top.SetReadDeadline(time.Now().Add(refusalTimeout))
	rest := io.MultiReader(bytes.NewReader(head), bytes.NewReader(s.early), s.top)
	resp, err := http.ReadResponse(bufio.NewReader(rest), nil)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	return body
}

func (s *h1Stream) protocol() string { return "http/1.1" }

// Done is closed when the edge has ended the connection.
func (s *h1Stream) Done() <-chan struct{} { return s.gone }

// Read implements io.Reader.
func (s *h1Stream) Read(p []byte) (int, error) {
	if len(s.early) > 0 {
		n := copy(p, s.early)
		s.early = s.early[n:]
		return n, nil
	}
	for {
		n, err := s.top.Read(p)
		if n > 0 {
			return n, nil
		}
		if err != sock.ErrWouldBlock {
			return 0, s.end(err)
		}
		if err := s.wait(); err != nil {
			return 0, s.end(err)
		}
	}
}

// WriteTo writes what arrives to w until the edge ends the tunnel: then the
// error is nil. It holds a buffer only while bytes flow.
func (s *h1Stream) WriteTo(w io.Writer) (n int64, err error) {
	if len(s.early) > 0 {
		k, err := w.Write(s.early)
		if n += int64(k); err != nil {
			return n, err
		}
		s.early = nil
	}
	for {
		k, err := s.burst(w)
		n += k
		if err != nil {
			return n, err
		}
		if s.ended {
			return n, nil
		}
		if err := s.wait(); err != nil {
			if err = s.end(err); err == io.EOF {
				err = nil
			}
			return n, err
		}
	}
}

// burst writes what has arrived to w, many TLS records at a time.
func (s *h1Stream) burst(w io.Writer) (int64, error) {
	buf := sock.TakeBuffer(s.bulk)
	defer buf.Free()
	s.bulk = false
	piece := buf.B[:min(len(buf.B), downPiece)]
	var written int64
	for n := 0; ; {
		k, err := s.top.Read(piece[n:])
		n += k
		s.bulk = s.bulk || n > sock.SmallBuffer/2
		if err == nil && n < len(piece) {
			continue
		}
		if n > 0 {
			k, werr := w.Write(buf.B[:n])
			if written += int64(k); werr != nil {
				return written, werr
			}
			n = 0
		}
		if err == sock.ErrWouldBlock {
			return written, nil
		}
		if err != nil {
			if err = s.end(err); err == io.EOF {
				err = nil
			}
			return written, err
		}
	}
}

func (s *h1Stream) wait() error {
	began := time.Now()
	s.since.Store(began.UnixNano())
	err := s.under.Wait()
	s.since.CompareAndSwap(began.UnixNano(), 0)
	s.quiet = time.Since(began)
	return err
}

// end turns the reading side's last error into what it means. Only a
// close_notify is an end; a plain-text edge cannot tell an end from a cut.
func (s *h1Stream) end(err error) error {
	if !s.ended {
		s.ended = true
		s.why = s.meaning(err)
		close(s.gone)
	}
	return s.why
}

func (s *h1Stream) meaning(err error) error {
	switch {
	case err != io.EOF && s.since.Load() < 0:
		return ErrSilent
	case errors.Is(err, net.ErrClosed): // by us
		return err
	case err != io.EOF:
	case net.Conn(s.under) == s.top || !s.under.Ended(): // TLS says EOF by itself after a close_notify only
		return io.EOF
	default:
		err = ErrCut
	}
	if quiet := min(s.quiet, time.Since(time.Unix(0, s.sent.Load()))); quiet >= idleAfter {
		return &IdleError{quiet, err}
	}
	return err
}

// Send implements the relay's way to write without a copy.
func (s *h1Stream) Send(b []byte) error {
	s.sent.Store(time.Now().UnixNano())
	if _, err := s.top.Write(b); err != nil {
		return err
	}
	return s.under.Flush()
}

// Headroom is 0: HTTP/1.1 frames nothing.
func (s *h1Stream) Headroom() int { return 0 }

// Write implements io.Writer.
func (s *h1Stream) Write(p []byte) (int, error) {
	if err := s.Send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite sends nothing: the edge would take it for a close. From here on
// minutes of silence end the tunnel.
func (s *h1Stream) CloseWrite() error {
	s.silence.Store(time.AfterFunc(silence, s.checkSilence))
	return nil
}

// checkSilence ends the tunnel if the edge has been silent for too long. While
// the local end takes its time for what has come, nobody listens to the edge.
func (s *h1Stream) checkSilence() {
	left := silence
	if since := s.since.Load(); since > 0 {
		left -= time.Since(time.Unix(0, since))
		if left <= 0 && s.since.CompareAndSwap(since, -1) {
			s.link.close()
			return
		}
	}
	if left <= 0 { // something has come just now
		left = silence
	}
	if t := s.silence.Load(); t != nil {
		t.Reset(left)
	}
}

// Close closes the connection, with a close_notify if the edge has ended the
// tunnel.
func (s *h1Stream) Close() error {
	if t := s.silence.Load(); t != nil {
		t.Stop()
	}
	defer s.closed()
	select {
	case <-s.gone:
		return s.top.Close()
	default:
		return s.under.Close()
	}
}
