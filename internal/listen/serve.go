package listen

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/internal/relay"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

// Back-off after an error of accept, for instance when the process has no
// descriptors left: doubled from the first to the last.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// defaultGrace is how long running tunnels may go on after a stop.
const defaultGrace = 2 * time.Second

// Server joins each connection that a listener accepts to a stream of its own.
type Server struct {
	// Connect opens the far end for one local connection. Required. Its
	// context ends when the server is told to stop.
	Connect func(ctx context.Context) (relay.Stream, error)

	// Failed is told of each tunnel that could not be opened or that broke, and
	// of trouble with accepting. May be called from many goroutines. nil: nobody is told.
	Failed func(err error)

	// Grace is how long running tunnels may go on after a stop before they are
	// reset. 0: 2 s.
	Grace time.Duration

	// Log gets each tunnel's beginning and end at level Debug. nil: none.
	Log *slog.Logger
}

// Serve accepts connections until ctx ends. Then it closes ln, gives running
// tunnels the time of Grace, resets what is left, and returns nil once all of
// them have ended. A tunnel that fails ends nothing but itself: its local
// program gets a reset. Errors of accept are waited out.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	defer func() { _ = ln.Close() }()
	running, done := s.outlive(ctx)
	defer done()
	var tunnels sync.WaitGroup
	defer tunnels.Wait()
	return s.accept(ctx, ln, func(c net.Conn) {
		tunnels.Go(func() { s.handle(ctx, running, c) }) // joined by Wait
	})
}

// Join serves one local end that is there already, such as a *Stdio, to its
// end. It returns what cut the tunnel or kept it from opening, and nil when
// both directions came to their end or ctx stopped it.
func (s *Server) Join(ctx context.Context, local relay.Stream) error {
	running, done := s.outlive(ctx)
	defer done()
	remote, err := s.Connect(ctx)
	if err != nil {
		_ = local.Close()
		return unless(ctx, err)
	}
	return unless(ctx, s.relay(running, local, remote).Err)
}

// outlive returns the context of running tunnels: it ends later than ctx, by
// the time of Grace.
func (s *Server) outlive(ctx context.Context) (running context.Context, done func()) {
	grace := s.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	running, reset := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		last := time.AfterFunc(grace, reset)
		context.AfterFunc(running, func() { last.Stop() })
	})
	return running, func() { stop(); reset() }
}

// unless drops an error of a time when all was to stop.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept hands each accepted connection to serve, until ctx ends or the
// listener is closed by somebody else, which is an error.
func (s *Server) accept(ctx context.Context, ln net.Listener, serve func(net.Conn)) error {
	pause := time.Duration(0)
	for {
		c, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			serve(c)
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		if pause == 0 {
			s.failed(&AcceptError{Addr: ln.Addr().String(), Err: bare(err)}) // once, not at every try
		}
		pause = min(max(2*pause, firstPause), lastPause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// handle serves one local connection to its end.
func (s *Server) handle(ctx, running context.Context, local net.Conn) {
	remote, err := s.Connect(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.failed(err) // first, so that whoever sees the reset finds the line
		}
		_ = sock.Reset(local)
		return
	}
	r := s.relay(running, local.(relay.Stream), remote) // a *net.TCPConn or *net.UnixConn
	if r.Err != nil && running.Err() == nil && !r.Local && !isWrite(r.Err, local) {
		s.failed(r.Err)
	}
}

func (s *Server) relay(running context.Context, local, remote relay.Stream) relay.Result {
	r := relay.Join(running, local, remote)
	if s.Log != nil {
		s.Log.Debug("local connection ended", "up", r.Up, "down", r.Down, "err", r.Err)
	}
	return r
}

// isWrite reports whether an error comes from writing to the local connection:
// a program that goes away before it has read all has its reasons, and is not
// told of. Nothing else that can fail has its address.
func isWrite(err error, local net.Conn) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if op, ok := err.(*net.OpError); ok && op.Addr != nil && op.Addr.String() == local.RemoteAddr().String() { // each of the chain is looked at
			return true
		}
	}
	return false
}

func (s *Server) failed(err error) {
	if s.Failed != nil {
		s.Failed(err)
	}
}

// AcceptError says that a listener has trouble with accepting. It goes on trying.
type AcceptError struct {
	Addr string
	Err  error
}

func (e *AcceptError) Error() string { return "accept on " + e.Addr + ": " + e.Err.Error() }

func (e *AcceptError) Unwrap() error { return e.Err }
