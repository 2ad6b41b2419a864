package tunnel_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/internal/lab"
	"github.com/pomerium/pomerium-cli/internal/nettest"
	"github.com/pomerium/pomerium-cli/internal/relay"
	"github.com/pomerium/pomerium-cli/internal/sock"
	"github.com/pomerium/pomerium-cli/tunnel"
)

func TestEcho(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode, w *world) {
		s := w.open(t, "echo.lab:7")
		for _, text := range []string{"a", "bc", string(bytes.Repeat([]byte("x"), 100_000)), "d"} {
			done := make(chan error, 1)
			go func() { _, err := io.WriteString(s, text); done <- err }() // joined below
			nettest.Hear(t, s, text)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		stats := w.Stats()
		if m.h2 != (stats.H2 > 0) || m.h2 == (stats.H1 > 0) {
			t.Errorf("the edge saw %d connections of HTTP/1.1 and %d of HTTP/2", stats.H1, stats.H2)
		}
	})
}

// A destination that speaks first: its bytes come with the answer.
func TestEdgeCase05_EarlyBytes(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		s := w.open(t, "banner.lab:22")
		nettest.Hear(t, s, "SSH-2.0-lab\r\n")
		nettest.Say(t, s, "hello")
		nettest.Hear(t, s, "hello")
		for _, n := range []int{0, 1, 100, 70_000} {
			var out bytes.Buffer
			s := w.open(t, fmt.Sprintf("bulk-%d.lab:1", n))
			if k, err := io.Copy(&out, s); k != int64(n) || err != nil {
				t.Errorf("got %d bytes of %d and %v", k, n, err)
			}
			s.Close()
		}
	})
}

// The destination's end is an end, on every transport: close_notify, or
// END_STREAM.
func TestEdgeCase57_DestinationEnds(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		w.Handle("bye.lab:1", func(c net.Conn) {
			buf := make([]byte, 4)
			io.ReadFull(c, buf)
			io.WriteString(c, "bye")
		})
		s := w.open(t, "bye.lab:1")
		nettest.Say(t, s, "quit")
		if b, err := io.ReadAll(s); string(b) != "bye" || err != nil {
			t.Errorf("got %q and %v", b, err)
		}
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("once more: %v", err)
		}
	})
}

// We half-close, at once or later: HTTP/2 carries it, and HTTP/1.1 does not and
// loses nothing.
func TestEdgeCase41_HalfClose(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode, w *world) {
		const size = 300_000
		destination := "half-close.lab:1"
		if !m.h2 {
			destination = "sink-300000.lab:1" // answers after so many bytes
		}
		s := w.open(t, destination)
		sum := sha256.New()
		go func() { // ends with the bytes: the destination takes them
			io.Copy(s, io.TeeReader(lab.BulkReader(size), sum))
			s.CloseWrite()
		}()
		b, err := io.ReadAll(s)
		if err != nil || string(b) != lab.Digest(size, sum.Sum(nil)) {
			t.Errorf("got %q and %v", b, err)
		}
	})
}

// The destination resets: HTTP/2 says so after the bytes that came before.
func TestEdgeCase57_DestinationResets(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode, w *world) {
		s := w.open(t, "reset-5000.lab:1")
		b, err := io.ReadAll(s)
		if len(b) > 5000 || m.h2 && err == nil {
			t.Errorf("%d bytes and %v", len(b), err)
		}
	})
}

// We close: the destination reads an end, the edge a reset with CANCEL.
func TestEdgeCase57_WeReset(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode, w *world) {
		ended := make(chan error, 1)
		w.Handle("wait.lab:1", func(c net.Conn) {
			io.WriteString(c, "hi")
			_, err := io.Copy(io.Discard, c)
			ended <- err
		})
		s := w.open(t, "wait.lab:1")
		nettest.Hear(t, s, "hi")
		s.Close()
		<-ended
		if m.h2 {
			until(t, "the reset", func() bool { return len(w.Stats().Resets["wait.lab:1"]) == 1 })
			if code := w.Stats().Resets["wait.lab:1"][0]; code != http2.ErrCodeCancel {
				t.Errorf("reset with %v", code)
			}
		}
		if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("reading after Close: %v", err)
		}
	})
}

// The path is cut: never a clean end, except where plain HTTP/1.1 cannot tell.
func TestEdgeCase56_Cut(t *testing.T) {
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprintf("reset %t", reset), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode, w *world) {
				s := w.open(t, "banner.lab:22")
				nettest.Hear(t, s, "SSH-2.0-lab\r\n")
				w.Cut(reset)
				b, err := io.ReadAll(s)
				switch {
				case m.name == "h1 plain" && !reset:
				case err == nil || len(b) > 0:
					t.Errorf("got %q and %v", b, err)
				case m.h2 && !tunnel.Lost(err):
					t.Errorf("not told as lost: %v", err)
				case !reset && !errors.Is(err, tunnel.ErrCut) && !errors.Is(err, sock.ErrReset): // what the edge had not read makes a reset of a FIN
					t.Errorf("not told as cut: %v", err)
				}
				if _, second := s.Read(make([]byte, 1)); (second == io.EOF) != (err == nil) {
					t.Errorf("read once more: %v, after %v", second, err)
				}
				again := w.open(t, "echo.lab:7") // the next one finds a new path
				nettest.Say(t, again, "x")
				nettest.Hear(t, again, "x")
			})
		})
	}
}

// A client that uploads much before it reads what comes back, and a destination
// that answers at once, do not wait for each other for ever.
func TestEdgeCase55_UploadBeforeReading(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		const size = 24 << 20
		s := w.open(t, "echo.lab:7")
		sum := sha256.New()
		sent := make(chan error, 1)
		started := make(chan struct{})
		go func() { // joined below
			r := io.TeeReader(lab.BulkReader(size), sum)
			buf := make([]byte, 256<<10)
			for first := true; ; first = false {
				n, err := r.Read(buf)
				if _, werr := s.Write(buf[:n]); werr != nil || err != nil {
					sent <- werr
					return
				}
				if first {
					close(started)
				}
			}
		}()
		<-started
		got := sha256.New()
		if n, err := io.CopyN(got, s, size); err != nil {
			t.Fatalf("%d bytes, then %v", n, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Sum(nil), sum.Sum(nil)) {
			t.Error("other bytes came back")
		}
	})
}

// A tunnel that nobody reads leaves its neighbours alone, solo and shared.
func TestEdgeCase55_Neighbours(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		stuck := w.open(t, "bulk-30m.lab:1")
		for range 3 {
			s := w.open(t, "echo.lab:7")
			nettest.Say(t, s, "quick")
			nettest.Hear(t, s, "quick")
		}
		if n, err := io.Copy(io.Discard, stuck); n != 30<<20 || err != nil {
			t.Errorf("%d bytes and %v", n, err)
		}
	})
}

// The destination sends much and closes; the local program is a socket that
// reads nothing for a while. Through the relay, as in the program.
func TestEdgeCase61_SlowReader(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode, w *world) {
		const size = 48 << 20
		s := w.open(t, "bulk-48m.lab:1")
		program, local := nettest.Pair(t)
		result := make(chan relay.Result, 1)
		go func() { result <- relay.Join(t.Context(), local, s) }()
		want, got := sha256.New(), sha256.New()
		io.Copy(want, lab.BulkReader(size))
		first := make([]byte, 100<<10)
		io.ReadFull(program, first)
		got.Write(first)
		for range 3 { // others go on meanwhile, which takes its time
			e := w.open(t, "bulk-1m.lab:1")
			if n, err := io.Copy(io.Discard, e); n != 1<<20 || err != nil {
				t.Errorf("another: %d bytes, %v", n, err)
			}
		}
		n, err := io.Copy(got, program)
		if n != size-int64(len(first)) || err != nil {
			t.Errorf("%d bytes, then %v", n+int64(len(first)), err)
		}
		if !bytes.Equal(want.Sum(nil), got.Sum(nil)) {
			t.Error("other bytes arrived")
		}
		program.Close()
		if r := <-result; r.Err != nil || r.Down != size {
			t.Errorf("%+v", r)
		}
	})
}

// A shared stream whose window had to shut is cut by the edge: the program gets
// a reset, and the destination does not share again.
func TestEdgeCase61_CutOfASharedStream(t *testing.T) {
	w := start(t, lab.Config{Buffer: 256 << 20})
	shared(w.client)
	w.open(t, "echo.lab:7")
	const destination = "bulk-200m.lab:1"
	s := w.open(t, destination)
	program, local := nettest.Pair(t)
	result := make(chan relay.Result, 1)
	go func() { result <- relay.Join(t.Context(), local, s) }()
	first := make([]byte, 1)
	io.ReadFull(program, first)
	gone := s.(interface{ Done() <-chan struct{} }).Done()
	<-gone // the edge has cut it while nobody read
	n, err := io.Copy(io.Discard, program)
	if !errors.Is(err, sock.ErrReset) || n >= 200<<20 {
		t.Errorf("%d bytes and %v", n, err)
	}
	if r := <-result; r.Err == nil || !strings.Contains(r.Err.Error(), "INTERNAL") {
		t.Errorf("%+v", r)
	}
	before := w.Stats().H2
	again := w.open(t, destination)
	if again.(interface{ Shared() bool }).Shared() || w.Stats().H2 != before+1 {
		t.Error("it shares again")
	}
	if n, err := io.Copy(io.Discard, again); n != 200<<20 || err != nil {
		t.Errorf("alone: %d bytes and %v", n, err)
	}
}

// Close ends every tunnel, and Connect afterwards is refused.
func TestClose(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		var streams []tunnel.Stream
		for range 3 {
			streams = append(streams, w.open(t, "echo.lab:7"))
		}
		var wg sync.WaitGroup
		for _, s := range streams {
			wg.Go(func() {
				if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("got %v", err)
				}
			})
		}
		w.client.Close()
		wg.Wait()
		if _, err := w.client.Connect(t.Context(), "echo.lab:7"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		w.client.Close()
	})
}

func TestConnectCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"while dialing": func(ctx context.Context, _, _ string) (net.Conn, error) {
			cancel(stop)
			<-ctx.Done()
			return nil, context.Cause(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, lab.Config{})
			w.client.Dial = dial
			if _, err := w.client.Connect(ctx, "echo.lab:7"); !errors.Is(err, stop) {
				t.Errorf("got %v", err)
			}
		})
	}
}
