package tunnel_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// memory is an edge in memory, whose time is that of a bubble. It opens every
// tunnel and echoes.
type memory struct {
	mu     sync.Mutex
	dials  int
	open   int
	silent map[net.Conn]bool        // says nothing more, as behind a dead path
	mute   bool                     // never answers a CONNECT
	resets map[string]http2.ErrCode // CONNECTs that are reset, by destination
	wait   chan struct{}            // gets a value when late:1 is asked for, and is closed to have it answered
	h1     chan string              // what HTTP/1.1 tunnels say, until it is closed
}

func (e *memory) dial(context.Context, string, string) (net.Conn, error) {
	near, pipe := net.Pipe()
	far := newBuffered(pipe)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dials++
	e.open++
	e.silent[far] = false
	serve := e.serveH2
	if e.h1 != nil {
		serve = e.serveH1
	}
	go func() { // ends with the connection, which the client closes
		serve(far)
		far.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		e.open--
		delete(e.silent, far)
	}()
	return near, nil
}

// buffered is a connection that takes what is written at once, as a socket
// does: who closes a pipe would wait for a peer that writes, and reads later.
type buffered struct {
	net.Conn
	out  chan []byte
	done chan struct{}
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c, out: make(chan []byte, 1000), done: make(chan struct{})}
	go func() { // joined by Close
		defer close(b.done)
		for p := range b.out {
			c.Write(p)
		}
	}()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	b.out <- bytes.Clone(p)
	return len(p), nil
}

func (b *buffered) Close() error {
	err := b.Conn.Close()
	close(b.out)
	<-b.done
	return err
}

// dies makes a dead path of every connection that is open.
func (e *memory) dies() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.silent {
		e.silent[c] = true
	}
}

func (e *memory) count() (dials, open int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dials, e.open
}

func (e *memory) isSilent(c net.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.silent[c]
}

func (e *memory) serveH2(c net.Conn) {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if e.isSilent(c) {
			continue
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			f.WritePing(true, frame.Data)
		case *http2.MetaHeadersFrame:
			destination := frame.PseudoValue("authority")
			if destination == "late:1" {
				e.wait <- struct{}{}
				<-e.wait
			}
			if code, bad := e.resets[destination]; bad {
				f.WriteRSTStream(frame.StreamID, code)
			} else if !e.mute {
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true})
			}
		case *http2.DataFrame:
			f.WriteData(frame.StreamID, frame.StreamEnded(), bytes.Clone(frame.Data()))
		}
	}
}

func (e *memory) serveH1(c net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
		return
	}
	io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		io.Copy(io.Discard, c)
	}()
	for {
		select {
		case text, more := <-e.h1:
			if !more {
				return
			}
			io.WriteString(c, text)
		case <-gone:
			return
		}
	}
}

// inMemory runs test with a client of an edge in memory: to sleep there is to
// let the bubble's time pass, which is what such a test is about.
func inMemory(t *testing.T, test func(t *testing.T, e *memory, c *tunnel.Client)) {
	synctest.Test(t, func(t *testing.T) {
		e := &memory{silent: map[net.Conn]bool{}}
		c := &tunnel.Client{Edge: &url.URL{Scheme: "http", Host: "edge.test"}, Dial: e.dial, Protocol: "h2"}
		test(t, e, c)
		c.Close()
		synctest.Wait()
		if _, open := e.count(); open != 0 {
			t.Errorf("%d connections left", open)
		}
	})
}

func connect(t *testing.T, c *tunnel.Client) tunnel.Stream {
	t.Helper()
	s, err := c.Connect(t.Context(), "echo:7")
	if err != nil {
		t.Fatal(err)
	}
	works(t, s)
	return s
}

// A tunnel on a path that dies is reset, and the next one finds another path.
func TestEdgeCase59_DeadPath(t *testing.T) {
	inMemory(t, func(t *testing.T, e *memory, c *tunnel.Client) {
		s := connect(t, c)
		time.Sleep(time.Hour)
		works(t, s)
		e.dies()
		start := time.Now()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, tunnel.ErrDeadPath) || !tunnel.Lost(err) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > 60*time.Second {
			t.Errorf("found after %v", took)
		}
		works(t, connect(t, c))
	})
}

// A laptop sleeps with many idle connections: the next tunnel waits for one of
// them at most.
func TestEdgeCase59_ManyDeadSpares(t *testing.T) {
	inMemory(t, func(t *testing.T, e *memory, c *tunnel.Client) {
		var streams []tunnel.Stream
		for range 10 {
			streams = append(streams, connect(t, c))
		}
		for _, s := range streams {
			s.Close()
		}
		synctest.Wait()
		e.dies()
		time.Sleep(time.Minute)
		start := time.Now()
		works(t, connect(t, c))
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("the next tunnel took %v", took)
		}
	})
}

// A listener that nobody uses holds no socket open; one that is used keeps its
// own.
func TestIdleClose(t *testing.T) {
	inMemory(t, func(t *testing.T, e *memory, c *tunnel.Client) {
		c.Spare = true
		s := connect(t, c)
		time.Sleep(10 * time.Minute)
		if _, open := e.count(); open != 1 {
			t.Errorf("%d connections for one tunnel", open)
		}
		works(t, s)
		s.Close()
		time.Sleep(2 * time.Minute)
		s = connect(t, c) // on the same connection
		time.Sleep(2 * time.Minute)
		works(t, s)
		s.Close()
		time.Sleep(10 * time.Minute)
		if _, open := e.count(); open != 0 {
			t.Errorf("%d connections for nobody", open)
		}
		connect(t, c).Close()
	})
}

// The edge takes a CONNECT and never answers.
func TestNoAnswer(t *testing.T) {
	inMemory(t, func(t *testing.T, e *memory, c *tunnel.Client) {
		e.mute = true
		start := time.Now()
		_, err := c.Connect(t.Context(), "echo:7")
		var failure *tunnel.Error
		if !errors.As(err, &failure) || failure.Destination != "echo:7" || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 35*time.Second {
			t.Errorf("gave up after %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Connect(ctx, "echo:7"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// On HTTP/1.1 a local end is not passed on: minutes of silence end the tunnel,
// and not before.
func TestHTTP11Silence(t *testing.T) {
	inMemory(t, func(t *testing.T, e *memory, c *tunnel.Client) {
		c.Protocol = "h1"
		e.h1 = make(chan string)
		s, err := c.Connect(t.Context(), "echo:7")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // a tunnel may be silent as long as it likes
		e.h1 <- "a"
		nettest.Hear(t, s, "a")
		s.CloseWrite()
		for range 3 {
			time.Sleep(4 * time.Minute)
			e.h1 <- "b"
			nettest.Hear(t, s, "b")
		}
		start := time.Now()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, tunnel.ErrSilent) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 5*time.Minute {
			t.Errorf("ended after %v", took)
		}
		s.Close()
	})
}

// resetting is a connection whose end is a reset, as of a proxy that cuts it.
type resetting struct{ net.Conn }

func (r resetting) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = syscall.ECONNRESET
	}
	return n, err
}

// A tunnel that is cut after a silence says for how long it was silent; one that
// is cut in the middle of a talk was not idle.
func TestEdgeCase51_CutWhileIdle(t *testing.T) {
	for silence, want := range map[time.Duration]string{
		time.Minute:      "closed by something on the way after 1m0s idle: connection reset by peer",
		90 * time.Minute: "closed by something on the way after 1h30m0s idle: connection reset by peer",
		time.Second:      "connection reset by peer",
	} {
		t.Run(silence.String(), func(t *testing.T) {
			inMemory(t, func(t *testing.T, e *memory, c *tunnel.Client) {
				c.Protocol = "h1"
				c.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := e.dial(ctx, network, addr)
					return resetting{conn}, err
				}
				e.h1 = make(chan string)
				s, err := c.Connect(t.Context(), "echo:7")
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute) // before the talk, which does not count
				e.h1 <- "a"
				nettest.Hear(t, s, "a")
				go func() { // ends with the silence
					time.Sleep(silence)
					close(e.h1)
				}()
				_, err = s.Read(make([]byte, 1))
				var idle *tunnel.IdleError
				if err == nil || err.Error() != want || errors.As(err, &idle) != (silence > 3*time.Second) || idle != nil && idle.Quiet != silence {
					t.Errorf("got %v, want %s", err, want)
				}
				s.Close()
			})
		})
	}
}

// A local program that takes minutes for what has come is no silence of the
// edge's: the rest of the answer still arrives.
func TestHTTP11SlowReaderIsNoSilence(t *testing.T) {
	inMemory(t, func(t *testing.T, e *memory, c *tunnel.Client) {
		c.Protocol = "h1"
		e.h1 = make(chan string)
		s, err := c.Connect(t.Context(), "echo:7")
		if err != nil {
			t.Fatal(err)
		}
		s.CloseWrite()
		var got slowly
		copied := make(chan error)
		go func() { // joined below
			_, err := io.Copy(&got, s)
			copied <- err
		}()
		e.h1 <- "a"
		synctest.Wait() // the local program has it, and takes its time
		e.h1 <- "b"
		if err := <-copied; got.String() != "ab" || !errors.Is(err, tunnel.ErrSilent) {
			t.Errorf("got %q, %v", got.String(), err)
		}
		s.Close()
	})
}

// slowly is a local program that takes longer for a write than a tunnel may be
// silent.
type slowly struct{ bytes.Buffer }

func (s *slowly) Write(p []byte) (int, error) {
	time.Sleep(7 * time.Minute)
	return s.Buffer.Write(p)
}

// A spare over HTTP/1.1 is not kept for ever either.
func TestHTTP11IdleSpare(t *testing.T) {
	inMemory(t, func(t *testing.T, e *memory, c *tunnel.Client) {
		c.Protocol, c.Spare = "h1", true
		e.h1 = make(chan string)
		s, err := c.Connect(t.Context(), "echo:7")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, open := e.count(); open != 2 {
			t.Errorf("%d connections", open)
		}
		time.Sleep(4 * time.Minute)
		if _, open := e.count(); open != 1 {
			t.Errorf("%d connections", open)
		}
		s.Close()
	})
}
