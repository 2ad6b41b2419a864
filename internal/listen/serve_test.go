package listen_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/internal/relay"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

// started is a server under test.
type started struct {
	addr   string
	stop   context.CancelFunc
	done   chan error
	failed chan error
}

func start(t *testing.T, connect func(context.Context) (relay.Stream, error), grace time.Duration) *started {
	t.Helper()
	ln, err := listen.Open("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &started{addr: ln.Addr().String(), stop: stop, done: make(chan error, 1), failed: make(chan error, 16)}
	srv := &listen.Server{Connect: connect, Grace: grace, Failed: func(err error) { s.failed <- err }}
	go func() { s.done <- srv.Serve(ctx, ln) }() // joined by wait
	t.Cleanup(func() { stop(); <-s.done; close(s.done) })
	return s
}

// wait returns what Serve did.
func (s *started) wait() error {
	err := <-s.done
	s.done <- err
	return err
}

func (s *started) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// wantReset connects and reads a reset, at once or while it still connects.
func (s *started) wantReset(t *testing.T) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, sock.ErrReset) {
		t.Fatalf("the local program sees %v, want a reset", err)
	}
}

// echo is a far end that answers with what it gets, after the end of it.
func echo(context.Context) (relay.Stream, error) {
	c, far, err := nettest.Connect()
	if err != nil {
		return nil, err
	}
	go func() { // ends with the connection, which the relay closes
		defer far.Close()
		b, _ := io.ReadAll(far)
		far.Write(b)
	}()
	return c, nil
}

func TestServeRelays(t *testing.T) {
	s := start(t, echo, 0)
	c := s.dial(t)
	c.Write([]byte("hello"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	s.stop()
	if err := s.wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Fatal("it still listens")
	}
}

func TestServeOutlivesAFailedTunnel(t *testing.T) {
	broken := errors.New("no way")
	var works atomic.Bool
	s := start(t, func(ctx context.Context) (relay.Stream, error) {
		if !works.Load() {
			return nil, broken
		}
		return echo(ctx)
	}, 0)
	s.wantReset(t)
	if err := <-s.failed; !errors.Is(err, broken) {
		t.Fatalf("Failed got %v", err)
	}
	works.Store(true)
	c := s.dial(t)
	c.Write([]byte("again"))
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "again" {
		t.Fatalf("after a failure: %q, %v", got, err)
	}
}

// TestServeForgivesTheLocalProgram: one that goes away early is no failed tunnel.
func TestServeForgivesTheLocalProgram(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"with a reset":                  nettest.Reset,
		"without reading all":           func(c *net.TCPConn) { c.Close() },
		"after the end of its own side": func(c *net.TCPConn) { c.CloseWrite(); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			s := start(t, func(ctx context.Context) (relay.Stream, error) { return endless(ended) }, 0)
			c := s.dial(t)
			if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			leave(c)
			<-ended
			s.stop()
			if err := s.wait(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-s.failed:
				t.Fatalf("told as a failure: %v", err)
			default:
			}
		})
	}
}

// endless is a far end that sends until nobody takes it any more.
func endless(ended chan<- struct{}) (relay.Stream, error) {
	c, far, err := nettest.Connect()
	if err != nil {
		return nil, err
	}
	go func() { // ends with the connection, which the relay closes
		defer close(ended)
		defer far.Close()
		for block := make([]byte, 64<<10); ; {
			if _, err := far.Write(block); err != nil {
				return
			}
		}
	}()
	return c, nil
}

func TestServeStop(t *testing.T) {
	t.Run("running tunnels may end", func(t *testing.T) {
		s := start(t, echo, time.Minute)
		c := s.dial(t)
		c.Write([]byte("x"))
		roundTrip(t, s) // the first one is being served by now
		s.stop()
		c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
			t.Fatalf("got %q, %v", got, err)
		}
		if err := s.wait(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("and are reset when they do not", func(t *testing.T) {
		s := start(t, echo, time.Millisecond)
		c := s.dial(t)
		c.Write([]byte("x"))
		roundTrip(t, s)
		s.stop()
		if _, err := io.ReadAll(c); !errors.Is(err, sock.ErrReset) {
			t.Fatalf("the local program reads %v, want a reset", err)
		}
		if err := s.wait(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("and what is not open yet is not waited for", func(t *testing.T) {
		asked := make(chan struct{})
		s := start(t, func(ctx context.Context) (relay.Stream, error) {
			close(asked)
			<-ctx.Done()
			return nil, ctx.Err()
		}, time.Minute)
		c := s.dial(t)
		<-asked
		s.stop()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, sock.ErrReset) {
			t.Fatalf("the local program reads %v, want a reset", err)
		}
		if err := s.wait(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-s.failed:
			t.Fatalf("the stop is told as a failure: %v", err)
		default:
		}
	})
}

// roundTrip uses a connection of its own: accepted after those before it.
func roundTrip(t *testing.T, s *started) {
	t.Helper()
	c := s.dial(t)
	c.CloseWrite()
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
}

// tired is a listener whose accept fails a few times before it waits.
type tired struct {
	failures int
	tries    []time.Time
	closed   chan struct{}
}

func (l *tired) Accept() (net.Conn, error) {
	l.tries = append(l.tries, time.Now())
	if len(l.tries) <= l.failures {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *tired) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *tired) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func TestServeSurvivesAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &tired{failures: 10, closed: make(chan struct{})}
		var told []error
		s := &listen.Server{Failed: func(err error) { told = append(told, err) }}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln) }() // joined by done
		time.Sleep(time.Minute)                  // the bubble's clock
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(ln.tries) != ln.failures+1 {
			t.Fatalf("accept was called %d times", len(ln.tries))
		}
		if len(told) != 1 || told[0].Error() != "accept on 127.0.0.1:1: too many open files" {
			t.Fatalf("told %q", told)
		}
		if last := ln.tries[10].Sub(ln.tries[9]); last != time.Second {
			t.Fatalf("the last pause was %v", last)
		}
	})
}

func TestServeEndsWithItsListener(t *testing.T) {
	ln, err := listen.Open("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := (&listen.Server{}).Serve(t.Context(), ln); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}
