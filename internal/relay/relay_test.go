package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/internal/relay"
	"github.com/pomerium/pomerium-cli/internal/sock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A tunnel of each kind that the relay knows stands on a socket whose other end
// the test holds.

// plainTunnel can do no more than it must.
type plainTunnel struct{ relay.Stream }

// h1Tunnel never passes a half-close on, and tells when it is done.
type h1Tunnel struct {
	*net.TCPConn
	gone chan struct{}
	once *sync.Once
}

func (h h1Tunnel) CloseWrite() error     { return nil }
func (h h1Tunnel) Done() <-chan struct{} { return h.gone }
func (h h1Tunnel) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, struct{ io.Reader }{h.TCPConn})
	h.once.Do(func() { close(h.gone) })
	return n, err
}

// h2Tunnel delivers without a goroutine of the relay, and wants headroom.
type h2Tunnel struct{ *net.TCPConn }

func (h h2Tunnel) Headroom() int { return 9 }
func (h h2Tunnel) Send(b []byte) error {
	_, err := h.TCPConn.Write(b[9:])
	clear(b) // it may overwrite all of it
	return err
}
func (h h2Tunnel) Deliver(w io.Writer, done func(int64, error)) {
	go func() { done(io.Copy(w, struct{ io.Reader }{h.TCPConn})) }()
}

var tunnels = map[string]func(c *net.TCPConn) relay.Stream{
	"plain":   func(c *net.TCPConn) relay.Stream { return plainTunnel{c} },
	"like h1": func(c *net.TCPConn) relay.Stream { return h1Tunnel{c, make(chan struct{}), new(sync.Once)} },
	"like h2": func(c *net.TCPConn) relay.Stream { return h2Tunnel{c} },
}

// scene is a relay under way between a program and a destination.
type scene struct {
	program, destination *net.TCPConn
	cancel               context.CancelCauseFunc
	result               <-chan relay.Result
}

func play(t *testing.T, tunnel func(*net.TCPConn) relay.Stream) *scene {
	t.Helper()
	program, local := nettest.Pair(t)
	remote, destination := nettest.Pair(t)
	return join(t, program, destination, local, tunnel(remote))
}

func join(t *testing.T, program, destination *net.TCPConn, local, remote relay.Stream) *scene {
	ctx, cancel := context.WithCancelCause(context.Background())
	t.Cleanup(func() { cancel(nil) })
	ch := make(chan relay.Result, 1)
	go func() { ch <- relay.Join(ctx, local, remote) }()
	return &scene{program, destination, cancel, ch}
}

func (s *scene) end(t *testing.T) relay.Result {
	t.Helper()
	return nettest.Receive(t, s.result, "the end of Join")
}

func each(t *testing.T, test func(t *testing.T, s *scene, kind string)) {
	for kind, tunnel := range tunnels {
		t.Run(kind, func(t *testing.T) { test(t, play(t, tunnel), kind) })
	}
}

// rest reads to the end.
func rest(t *testing.T, r io.Reader, want string) {
	t.Helper()
	if got, err := io.ReadAll(r); err != nil || string(got) != want {
		t.Fatalf("got %q and %v, want %q and an end", got, err, want)
	}
}

func TestBothWays(t *testing.T) {
	each(t, func(t *testing.T, s *scene, _ string) {
		const size = 8 << 20
		up, down := bytes.Repeat([]byte("up"), size/2), bytes.Repeat([]byte("down"), size/4)
		var wg sync.WaitGroup
		for _, c := range []struct {
			*net.TCPConn
			out, in []byte
		}{{s.program, up, down}, {s.destination, down, up}} {
			wg.Go(func() { c.Write(c.out) })
			wg.Go(func() {
				got := make([]byte, size)
				if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, c.in) {
					t.Errorf("%d bytes, %v", n, err)
				}
			})
		}
		wg.Wait()
		s.program.CloseWrite()
		s.destination.CloseWrite()
		rest(t, s.program, "")
		if r := s.end(t); r.Up != size || r.Down != size || r.Err != nil {
			t.Errorf("%+v", r)
		}
	})
}

// The program ends its side at once, or after a pause: the reply arrives.
func TestEdgeCase41_ProgramHalfCloses(t *testing.T) {
	for name, pause := range map[string]bool{"at once": false, "after an exchange": true} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *scene, kind string) {
				if pause {
					nettest.Say(t, s.program, "a")
					nettest.Hear(t, s.destination, "a")
					nettest.Say(t, s.destination, "b")
					nettest.Hear(t, s.program, "b")
				}
				nettest.Say(t, s.program, "request")
				s.program.CloseWrite()
				if kind == "like h1" {
					nettest.Hear(t, s.destination, "request")
				} else {
					rest(t, s.destination, "request")
				}
				nettest.Say(t, s.destination, "reply")
				s.destination.CloseWrite()
				rest(t, s.program, "reply")
				if r := s.end(t); r.Err != nil {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// The destination ends its side, and the program goes on sending: where the
// tunnel takes it, it arrives.
func TestEdgeCase41_DestinationHalfCloses(t *testing.T) {
	for name, tunnel := range tunnels {
		if name == "like h1" {
			continue // its end is the end of both directions: see below
		}
		t.Run(name, func(t *testing.T) {
			s := play(t, tunnel)
			nettest.Say(t, s.destination, "bye")
			s.destination.CloseWrite()
			rest(t, s.program, "bye")
			nettest.Say(t, s.program, "more")
			nettest.Hear(t, s.destination, "more")
			s.program.CloseWrite()
			rest(t, s.destination, "")
			if r := s.end(t); r.Err != nil || r.Up != 4 || r.Down != 3 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// The tunnel is over, and the program does not end: once it has everything, its
// connection is closed. What it still writes does not destroy what it still has
// to read.
func TestEdgeCase57_TunnelEndsProgramWrites(t *testing.T) {
	s := play(t, tunnels["like h1"])
	reply := bytes.Repeat([]byte("reply"), 100_000)
	go func() { // ends with the bytes, which the program reads
		s.destination.Write(reply)
		s.destination.CloseWrite()
		io.Copy(io.Discard, s.destination) // unread bytes would make its close a reset
	}()
	nettest.Say(t, s.program, "one")
	first := make([]byte, 1000)
	if _, err := io.ReadFull(s.program, first); err != nil {
		t.Fatal(err)
	}
	s.program.Write([]byte("two"))
	got, err := io.ReadAll(s.program)
	if all := append(first, got...); !bytes.Equal(all, reply) {
		t.Errorf("%d bytes of %d, then %v", len(all), len(reply), err)
	}
	s.end(t)
}

// The program resets its connection: the tunnel is closed at once.
func TestEdgeCase57_ProgramResets(t *testing.T) {
	each(t, func(t *testing.T, s *scene, _ string) {
		nettest.Say(t, s.program, "a")
		nettest.Hear(t, s.destination, "a")
		nettest.Reset(s.program)
		if _, err := io.ReadAll(s.destination); err != nil && !errors.Is(err, sock.ErrReset) {
			t.Error(err)
		}
		if r := s.end(t); !errors.Is(r.Err, sock.ErrReset) || r.Up != 1 || !r.Local {
			t.Errorf("%+v", r)
		}
	})
}

// The tunnel is cut: the program reads what came before, then a reset, never an
// end.
func TestEdgeCase57_TunnelCut(t *testing.T) {
	each(t, func(t *testing.T, s *scene, _ string) {
		nettest.Say(t, s.program, "a")
		nettest.Hear(t, s.destination, "a")
		nettest.Say(t, s.destination, "last words")
		nettest.Hear(t, s.program, "last ") // so the rest is on its way, in front of the reset
		nettest.Reset(s.destination)
		got, err := io.ReadAll(s.program)
		if string(got) != "words" || !errors.Is(err, sock.ErrReset) {
			t.Errorf("got %q and %v", got, err)
		}
		if r := s.end(t); !errors.Is(r.Err, sock.ErrReset) || r.Down != 10 {
			t.Errorf("%+v", r)
		}
	})
}

// The program that idles learns of the cut as well.
func TestEdgeCase57_TunnelCutWhileIdle(t *testing.T) {
	each(t, func(t *testing.T, s *scene, _ string) {
		nettest.Reset(s.destination)
		if _, err := s.program.Read(make([]byte, 1)); !errors.Is(err, sock.ErrReset) {
			t.Errorf("got %v", err)
		}
		if r := s.end(t); !errors.Is(r.Err, sock.ErrReset) {
			t.Errorf("%+v", r)
		}
	})
}

var errStop = errors.New("stopped by the user")

// A cancelled context resets both, whatever is under way.
func TestCancel(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, s *scene){
		"idle": func(*testing.T, *scene) {},
		"the program has ended its side": func(t *testing.T, s *scene) {
			nettest.Say(t, s.program, "a")
			s.program.CloseWrite()
			nettest.Hear(t, s.destination, "a")
		},
		"the destination has ended its side": func(t *testing.T, s *scene) {
			nettest.Say(t, s.destination, "a")
			s.destination.CloseWrite()
			nettest.Hear(t, s.program, "a")
		},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, tunnel := range tunnels {
				if kind == "like h1" && name == "the destination has ended its side" {
					continue // then both have ended
				}
				t.Run(kind, func(t *testing.T) {
					s := play(t, tunnel)
					prepare(t, s)
					s.cancel(errStop)
					if r := s.end(t); r.Err != errStop {
						t.Errorf("%+v", r)
					}
					if _, err := io.ReadAll(s.program); err == nil && name != "the destination has ended its side" {
						t.Error("the program read a clean end")
					}
				})
			}
		})
	}
}

// The program reads nothing and the tunnel is full: cancelling ends that, too.
func TestCancelWhileFull(t *testing.T) {
	each(t, func(t *testing.T, s *scene, _ string) {
		wrote := make(chan struct{})
		go func() { // joined below
			defer close(wrote)
			io.Copy(s.destination, zeros{})
		}()
		first := make([]byte, 1)
		if _, err := io.ReadFull(s.program, first); err != nil {
			t.Fatal(err)
		}
		s.cancel(errStop)
		if r := s.end(t); r.Err != errStop {
			t.Errorf("%+v", r)
		}
		<-wrote
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// stdio is a local end that is no socket: two pipes, and Reset.
type stdio struct {
	io.Reader
	io.Writer
	in, out interface{ Close() error }
	was     chan string
}

// Read says of a closed end what the real one says.
func (s *stdio) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err == io.ErrClosedPipe {
		err = net.ErrClosed
	}
	return n, err
}

func (s *stdio) CloseWrite() error { return s.out.Close() }
func (s *stdio) Close() error {
	s.in.Close()
	return s.out.Close()
}
func (s *stdio) Reset() error {
	select {
	case s.was <- "reset":
	default:
	}
	return s.Close()
}

func newStdio() (local *stdio, in *io.PipeWriter, out *io.PipeReader) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	return &stdio{inR, outW, inR, outW, make(chan string, 1)}, inW, outR
}

func TestStdio(t *testing.T) {
	for kind, tunnel := range tunnels {
		t.Run(kind, func(t *testing.T) {
			local, in, out := newStdio()
			remote, destination := nettest.Pair(t)
			s := join(t, destination, destination, local, tunnel(remote))
			nettest.Say(t, in, "request")
			in.Close()
			nettest.Hear(t, destination, "request")
			nettest.Say(t, destination, "reply")
			destination.Close()
			rest(t, out, "reply")
			if r := s.end(t); r.Err != nil || r.Up != 7 || r.Down != 5 {
				t.Errorf("%+v", r)
			}
			select {
			case <-local.was:
				t.Error("reset")
			default:
			}
		})
	}
}

func TestStdioCut(t *testing.T) {
	for kind, tunnel := range tunnels {
		t.Run(kind, func(t *testing.T) {
			local, _, out := newStdio()
			remote, destination := nettest.Pair(t)
			s := join(t, destination, destination, local, tunnel(remote))
			nettest.Say(t, destination, "abc")
			nettest.Hear(t, out, "abc")
			nettest.Reset(destination)
			if r := s.end(t); !errors.Is(r.Err, sock.ErrReset) {
				t.Errorf("%+v", r)
			}
			if <-local.was != "reset" {
				t.Error("not reset")
			}
		})
	}
}

// The reader of standard output goes away.
func TestStdoutCloses(t *testing.T) {
	local, _, out := newStdio()
	remote, destination := nettest.Pair(t)
	s := join(t, destination, destination, local, h2Tunnel{remote})
	out.CloseWithError(syscall.EPIPE)
	nettest.Say(t, destination, "abc")
	if r := s.end(t); !errors.Is(r.Err, syscall.EPIPE) {
		t.Errorf("%+v", r)
	}
	if _, err := io.ReadAll(destination); err != nil && !errors.Is(err, sock.ErrReset) {
		t.Error(err)
	}
}
