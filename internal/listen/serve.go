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

	// Running tunnels outlive ctx, by the time of Grace.
	running, reset := context.WithCancel(context.WithoutCancel(ctx))
	defer reset()
	var tunnels sync.WaitGroup

	err := s.accept(ctx, ln, func(c net.Conn) {
		tunnels.Go(func() { s.handle(ctx, running, c) }) // joined below
	})

	grace := s.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	last := time.AfterFunc(grace, reset)
	defer last.Stop()
	tunnels.Wait()
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
		_ = sock.Reset(local)
		if ctx.Err() == nil {
			s.failed(err)
		}
		return
	}
	r := relay.Join(running, local.(relay.Stream), remote) // a *net.TCPConn or *net.UnixConn
	if s.Log != nil {
		s.Log.Debug("local connection ended", "up", r.Up, "down", r.Down, "err", r.Err)
	}
	if r.Err != nil && running.Err() == nil && !isOwn(r.Err, local) {
		s.failed(r.Err)
	}
}

// isOwn reports whether an error comes from the local connection: a program
// that goes away in the middle has its reasons, and is not told.
func isOwn(err error, local net.Conn) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Source != nil && op.Addr != nil &&
		op.Source.String() == local.LocalAddr().String() && op.Addr.String() == local.RemoteAddr().String()
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
