package proxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/pomerium/pomerium-cli/proxy"
)

// noPlain is for proxies that nobody should ask in HTTP/1.1.
func noPlain(t testing.TB) func(net.Conn, int) {
	return func(net.Conn, int) { t.Error("a connection of HTTP/1.1") }
}

// plainEcho opens every tunnel over HTTP/1.1.
func plainEcho(c net.Conn, _ int) {
	if _, err := readHead(c); err == nil {
		io.WriteString(c, ok200)
		echo(c)
	}
}

// The proxy is asked in the write that ends the TLS handshake.
func TestH2FirstFlight(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, "proxy.test", time.Now().Add(time.Hour))
	var writes atomic.Int32
	addr := serve(t, func(c net.Conn, _ int) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
		defer s.Close()
		p := newH2Peer(t, s)
		io.ReadFull(s, make([]byte, len(http2.ClientPreface)))
		f := p.asked()
		if n := writes.Load(); n != 2 { // before our SETTINGS, which want an answer
			t.Errorf("%d writes until the request, want 2: ClientHello, and all the rest", n)
		}
		p.WriteSettings()
		p.answer(f.StreamID, 200, false)
		p.echo()
	})
	h := (&running{addr: addr, tls: &tls.Config{RootCAs: ca.pool()}}).secureHop(t)
	h.Dial = func(ctx context.Context, network, at string) (net.Conn, error) {
		c, err := to(addr)(ctx, network, at)
		return &countedConn{Conn: c, writes: &writes}, err
	}
	exchangeEcho(t, open(t, h), "") // over what has no RawConn, too
}

// The tunnels behind the first one share its connection.
func TestH2SharesConnections(t *testing.T) {
	var conns atomic.Int32
	p := scriptedH2(t, func(p *h2Peer, _ int) {
		conns.Add(1)
		p.echo()
	}, noPlain(t))
	h := p.secureHop(t)
	var all []net.Conn
	for range 8 {
		all = append(all, open(t, h))
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for 8 tunnels", n)
	}
	all = append(all, open(t, h))
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections for 9 tunnels", n)
	}
	for _, c := range all {
		exchangeEcho(t, c, "")
	}
}

// A countedConn has no RawConn.
type countedConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// Tunnels that come together wait for a few handshakes, not for one each; a proxy
// that picks HTTP/1.1 gets a connection for each.
func TestH2Burst(t *testing.T) {
	for _, tc := range []struct {
		protocols []string
		least     int32
		most      int32
	}{{bothProtocols, 4, 8}, {[]string{"http/1.1"}, 32, 32}, {nil, 32, 32}} {
		var conns atomic.Int32
		p := secureProxy(t, tc.protocols, connectHandler("", ""), plainEcho)
		if tc.protocols != nil && tc.protocols[0] == "h2" {
			p = scriptedH2(t, func(p *h2Peer, _ int) { p.echo() }, noPlain(t))
		}
		h := p.secureHop(t)
		h.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conns.Add(1)
			return to(p.addr)(ctx, network, addr)
		}
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				conn, err := h.DialContext(t.Context(), "tcp", target)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { conn.Close() })
				exchangeEcho(t, conn, "")
			})
		}
		all.Wait()
		if n := conns.Load(); n < tc.least || n > tc.most {
			t.Errorf("%v: %d connections for 32 tunnels at once, want %d to %d", tc.protocols, n, tc.least, tc.most)
		}
	}
}

// Tunnels that have a seat and have not asked yet, here because one of them tries
// the password first, are counted.
func TestH2SeatsAreCounted(t *testing.T) {
	asked, third := make(chan struct{}), make(chan struct{})
	p := scriptedH2(t, func(p *h2Peer, n int) {
		if n == 1 {
			f := p.asked()
			close(asked)
			<-third
			p.answer(f.StreamID, 200, false)
		}
		p.echo()
	}, noPlain(t))
	release := sync.OnceFunc(func() { close(third) })
	t.Cleanup(release)
	h := p.secureHop(t)
	h.Auth = []proxy.Authenticator{proxy.Basic{Username: "u", Password: goodPassword, Unasked: true}}
	var dials atomic.Int32
	h.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) == 3 {
			release() // 8 tunnels have the first connection, 8 the second
		}
		return to(p.addr)(ctx, network, addr)
	}
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			conn, err := h.DialContext(t.Context(), "tcp", target)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { conn.Close() })
		})
		if n == 0 {
			<-asked
		}
	}
	all.Wait()
	if n := dials.Load(); n != 3 {
		t.Errorf("%d connections for 20 tunnels", n)
	}
}

// Who waits for a connection that does not come is told why.
func TestH2BurstFails(t *testing.T) {
	gate := make(chan struct{})
	h := hop(t, "https://proxy.test", func(context.Context, string, string) (net.Conn, error) {
		<-gate
		return nil, errors.New("refused for the test")
	})
	errs := make(chan error)
	for range 5 {
		go func() {
			_, err := proxy.Way{Hops: []*proxy.Hop{h}, Source: "--forward-proxy"}.DialContext(t.Context(), "tcp", target)
			errs <- err
		}()
	}
	close(gate)
	for range 5 {
		err := <-errs
		if want := "forward proxy https://proxy.test:443 (--forward-proxy): refused for the test"; text(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestEdgeCase26_GoAway(t *testing.T) {
	p := scriptedH2(t, func(p *h2Peer, n int) {
		if n == 1 {
			f := p.asked()
			p.answer(f.StreamID, 200, false)
			p.WriteGoAway(f.StreamID, http2.ErrCodeNo, nil)
		}
		p.echo()
	}, noPlain(t))
	h := p.secureHop(t)
	first := open(t, h)
	exchangeEcho(t, first, "") // the GOAWAY lies before the echo
	second := open(t, h)
	exchangeEcho(t, second, "")
	exchangeEcho(t, first, "")
	if first.LocalAddr().String() == second.LocalAddr().String() {
		t.Error("the second tunnel is on the connection that takes no more")
	}
}

// A request that the proxy has not looked at goes out again, with the password
// that nobody has judged.
func TestEdgeCase26_RequestNotTaken(t *testing.T) {
	for name, refuse := range map[string]func(p *h2Peer, id uint32){
		"REFUSED_STREAM": func(p *h2Peer, id uint32) { p.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"GOAWAY":         func(p *h2Peer, id uint32) { p.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			p := scriptedH2(t, func(p *h2Peer, n int) {
				for f := p.asked(); f != nil; f = p.asked() {
					if asked.Add(1) > 2 {
						p.answer(f.StreamID, 200, false)
						p.echo()
						return
					}
					refuse(p, f.StreamID)
				}
			}, noPlain(t))
			h := p.secureHop(t)
			h.Auth = []proxy.Authenticator{proxy.Basic{Username: "u", Password: goodPassword, Unasked: true}}
			exchangeEcho(t, open(t, h), "")
			if n := asked.Load(); n != 3 {
				t.Errorf("asked %d times", n)
			}
		})
	}
	t.Run("for ever", func(t *testing.T) {
		var asked atomic.Int32
		p := scriptedH2(t, func(p *h2Peer, _ int) {
			for f := p.asked(); f != nil; f = p.asked() {
				asked.Add(1)
				p.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
			}
		}, noPlain(t))
		_, err := p.secureHop(t).DialContext(t.Context(), "tcp", target)
		const want = "forward proxy https://proxy.test:3128: connect edge.test:443: http/2 stream: reset by the peer (REFUSED_STREAM)"
		if text(err) != want || asked.Load() != 6 {
			t.Errorf("error %v after %d requests, want %s after 6", err, asked.Load(), want)
		}
	})
}

func TestEdgeCase26_ResetOnConnect(t *testing.T) {
	const start = "forward proxy https://proxy.test:3128: connect edge.test:443: http/2 stream: reset by the peer "
	for code, want := range map[http2.ErrCode]string{
		http2.ErrCodeConnect:            start + "(CONNECT_ERROR)",
		http2.ErrCodeInternal:           start + "(INTERNAL_ERROR)",
		http2.ErrCodeEnhanceYourCalm:    start + "(ENHANCE_YOUR_CALM)",
		http2.ErrCodeInadequateSecurity: start + "(INADEQUATE_SECURITY)",
	} {
		var asked atomic.Int32
		p := scriptedH2(t, func(p *h2Peer, _ int) {
			for f := p.asked(); f != nil; f = p.asked() {
				asked.Add(1)
				p.WriteRSTStream(f.StreamID, code)
			}
		}, noPlain(t))
		h := p.secureHop(t)
		for n := range int32(2) {
			if _, err := h.DialContext(t.Context(), "tcp", target); text(err) != want || asked.Load() != n+1 {
				t.Errorf("%v: error %v after %d requests\nwant %s", code, err, asked.Load(), want)
			}
		}
	}
}

// RFC 9113 section 7, and 8.5: the proxy does not take CONNECT over HTTP/2.
func TestEdgeCase26_HTTP11Required(t *testing.T) {
	for name, refuse := range map[string]func(p *h2Peer, id uint32){
		"stream":     func(p *h2Peer, id uint32) { p.WriteRSTStream(id, http2.ErrCodeHTTP11Required) },
		"connection": func(p *h2Peer, id uint32) { p.WriteGoAway(0, http2.ErrCodeHTTP11Required, nil) },
		"malformed":  func(p *h2Peer, id uint32) { p.WriteRSTStream(id, http2.ErrCodeProtocol) },
	} {
		t.Run(name, func(t *testing.T) {
			var asked, plain atomic.Int32
			p := scriptedH2(t, func(p *h2Peer, _ int) {
				for f := p.asked(); f != nil; f = p.asked() {
					asked.Add(1)
					refuse(p, f.StreamID)
				}
			}, func(c net.Conn, n int) {
				plain.Add(1)
				plainEcho(c, n)
			})
			h := p.secureHop(t)
			for range 3 {
				exchangeEcho(t, open(t, h), "")
			}
			if asked.Load() != 1 || plain.Load() != 3 {
				t.Errorf("%d requests over HTTP/2, %d over HTTP/1.1, want 1 and 3", asked.Load(), plain.Load())
			}
		})
	}
	t.Run("and no HTTP/1.1", func(t *testing.T) {
		ca := newAuthority(t)
		cert := ca.issue(t, "proxy.test", time.Now().Add(time.Hour))
		addr := serve(t, func(c net.Conn, n int) {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{[]string{"h2", "h3"}[min(n-1, 1)]}})
			defer s.Close()
			if p := newH2Peer(t, s); p.greet() == nil {
				p.WriteRSTStream(p.asked().StreamID, http2.ErrCodeHTTP11Required)
				p.asked()
			}
		})
		_, err := (&running{addr: addr, tls: &tls.Config{RootCAs: ca.pool()}}).secureHop(t).DialContext(t.Context(), "tcp", target)
		const want = "forward proxy https://proxy.test:3128: tls: the proxy does not accept HTTP/1.1 over TLS (HTTP/2 alone?): " +
			"remote error: tls: no application protocol"
		if text(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	})
}

// The answers of a proxy are told in the same words over HTTP/2 and HTTP/1.1.
func TestEdgeCase26_SameWords(t *testing.T) {
	for _, tc := range []struct {
		status int
		header http.Header
		body   string
	}{
		{502, nil, ""},
		{403, http.Header{"Content-Type": {"text/html"}}, "<html><head><title>Access Denied</title></head>"},
		{503, http.Header{"X-Squid-Error": {"ERR_CONNECT_FAIL 111"}, "Retry-After": {"5"}}, "down"},
		{504, http.Header{"Proxy-Status": {"gate; error=connection_timeout"}}, ""},
		{302, http.Header{"Location": {"https://portal.test/login?x=1"}}, ""},
		{401, nil, "who?"},
		{407, http.Header{"Proxy-Authenticate": {"Bearer"}}, "no!"},
		{407, nil, ""},
		{421, nil, ""},
	} {
		answer := func(w http.ResponseWriter, _ *http.Request) {
			for name, values := range tc.header {
				w.Header()[name] = values
			}
			w.WriteHeader(tc.status)
			io.WriteString(w, tc.body)
		}
		var said [2]string
		for i, protocols := range [][]string{{"h2"}, {"http/1.1"}} {
			p := secureProxy(t, protocols, answer, func(c net.Conn, _ int) {
				if _, err := readHead(c); err == nil {
					fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", tc.status, http.StatusText(tc.status), len(tc.body))
					tc.header.Write(c)
					io.WriteString(c, "\r\n"+tc.body)
				}
			})
			_, err := p.secureHop(t).DialContext(t.Context(), "tcp", target)
			said[i] = fmt.Sprint(err, asError(t, err).Op, asError(t, err).Status, asError(t, err).Schemes)
		}
		if said[0] != said[1] {
			t.Errorf("%d:\n h2 %s\n h1 %s", tc.status, said[0], said[1])
		}
	}
}

// With a limit of one stream, each tunnel has a connection.
func TestEdgeCase26_OneStream(t *testing.T) {
	for _, together := range []bool{false, true} {
		var conns atomic.Int32
		p := scriptedH2(t, func(p *h2Peer, _ int) {
			conns.Add(1)
			open := false
			for {
				switch f, _ := p.ReadFrame(); f := f.(type) {
				case nil:
					return
				case *http2.MetaHeadersFrame:
					if open {
						p.WriteRSTStream(f.StreamID, http2.ErrCodeRefusedStream)
						continue
					}
					open = true
					p.answer(f.StreamID, 200, false)
				case *http2.DataFrame:
					p.WriteData(f.StreamID, f.StreamEnded(), f.Data())
				}
			}
		}, noPlain(t), http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		h := p.secureHop(t)
		var all sync.WaitGroup
		for range 5 {
			one := func() {
				conn, err := h.DialContext(t.Context(), "tcp", target)
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { conn.Close() })
				exchangeEcho(t, conn, "")
			}
			if all.Go(one); !together {
				all.Wait()
			}
		}
		all.Wait()
		if n := conns.Load(); n != 5 {
			t.Errorf("together %v: %d connections for 5 tunnels", together, n)
		}
	}
}

// The proxy takes no more from one tunnel: its writes wait, up to their deadline,
// the others go on, and nothing is lost.
func TestEdgeCase26_FlowControlStall(t *testing.T) {
	p := scriptedH2(t, func(p *h2Peer, _ int) {
		for range 2 {
			p.answer(p.asked().StreamID, 200, false)
		}
		p.WriteWindowUpdate(0, 1<<20)
		stalled := 0
		for {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			data, ok := f.(*http2.DataFrame)
			switch {
			case !ok:
			case data.StreamID == 1:
				if stalled += len(data.Data()); stalled == 100_000 {
					p.WriteData(1, true, []byte("all"))
				}
			case string(data.Data()) == "more":
				p.WriteWindowUpdate(1, 1<<20)
			default:
				p.WriteData(data.StreamID, false, data.Data())
			}
		}
	}, noPlain(t))
	h := p.secureHop(t)
	stalled, other := open(t, h), open(t, h)
	stalled.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	n, err := stalled.Write(make([]byte, 100_000))
	if n != 65535 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if _, err := stalled.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("behind the deadline: %v", err)
	}
	exchangeEcho(t, other, "")
	stalled.SetWriteDeadline(time.Time{})
	go func() { // ends with the write below
		exchangeEcho(t, other, "")
		io.WriteString(other, "more")
	}()
	if n, err := stalled.Write(make([]byte, 100_000-65535)); n != 100_000-65535 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if got, err := io.ReadAll(stalled); string(got) != "all" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}

// While the proxy takes nothing from a connection as a whole, new tunnels go to
// another.
func TestEdgeCase26_StalledConnection(t *testing.T) {
	p := scriptedH2(t, func(p *h2Peer, n int) {
		if n > 1 {
			p.echo()
			return
		}
		p.answer(p.asked().StreamID, 200, false)
		taken := 0
		p.next(func(f http2.Frame) bool {
			if d, ok := f.(*http2.DataFrame); ok {
				taken += len(d.Data())
			}
			if taken == 65535 {
				taken = 0
				p.WriteData(1, false, []byte("full"))
			}
			return false
		})
	}, noPlain(t), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	h := p.secureHop(t)
	stalled := open(t, h)
	stuck := make(chan error)
	go func() {
		_, err := stalled.Write(make([]byte, 100_000))
		stuck <- err
	}()
	io.ReadFull(stalled, make([]byte, 4))
	other := open(t, h)
	exchangeEcho(t, other, "")
	if stalled.LocalAddr().String() == other.LocalAddr().String() {
		t.Error("the second tunnel is on the connection that is stalled")
	}
	stalled.Close()
	if err := <-stuck; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the write that waited: %v", err)
	}
}

// A tunnel that nobody reads holds up no other, takes a bounded piece of memory,
// and loses nothing.
func TestEdgeCase61_SlowTunnel(t *testing.T) {
	const size, window = 40 << 20, 16 << 20
	piece := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	var sent atomic.Int64
	p := scriptedH2(t, func(p *h2Peer, _ int) {
		for range 2 {
			p.answer(p.asked().StreamID, 200, false)
		}
		room, left := int64(window), int64(size)
		for {
			for room > 0 && left > 0 {
				at := (size - left) % 16 // the pattern goes on
				n := min(int64(len(piece))-at, room, left)
				p.WriteData(1, n == left, piece[at:][:n])
				room, left = room-n, left-n
				sent.Add(n)
			}
			switch f, _ := p.ReadFrame(); f := f.(type) {
			case nil:
				return
			case *http2.DataFrame:
				p.WriteData(f.StreamID, false, f.Data())
			case *http2.WindowUpdateFrame:
				if f.StreamID == 1 {
					room += int64(f.Increment)
				}
			}
		}
	}, noPlain(t))
	h := p.secureHop(t)
	slow, other := open(t, h), open(t, h)
	io.ReadFull(slow, make([]byte, 1)) // it has begun
	exchangeEcho(t, other, "")         // behind the window
	if n := sent.Load(); n != window {
		t.Errorf("%d bytes are under way to a tunnel that is not read, want %d", n, window)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, slow)
	want := sha256.New()
	want.Write(piece[1:])
	for range size/len(piece) - 1 {
		want.Write(piece)
	}
	if n != size-1 || err != nil || !bytes.Equal(sum.Sum(nil), want.Sum(nil)) {
		t.Errorf("%d of %d bytes, %v", n, size-1, err)
	}
}

// A path that is dead is noticed without traffic, and named.
func TestEdgeCase26_DeadPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		cert := ca.issue(t, "proxy.test", time.Now().Add(time.Hour))
		h := hop(t, "https://proxy.test", piped(t, func(c net.Conn) {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
			p := newH2Peer(t, s)
			if p.greet() == nil {
				p.answer(p.asked().StreamID, 200, false)
				p.next(func(http2.Frame) bool { return false }) // PINGs have no answer
			}
		}))
		h.TLS = &tls.Config{RootCAs: ca.pool()}
		conn, err := h.DialContext(t.Context(), "tcp", target)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = conn.Read(make([]byte, 1))
		const want = "forward proxy https://proxy.test:443: tunnel to edge.test:443: http/2 connection: the path is dead: no answer to a ping"
		if text(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
		if took := time.Since(start); took != 35*time.Second {
			t.Errorf("noticed after %v", took)
		}
		if failed := asError(t, err); failed.Op != proxy.OpTunnel || failed.Target != target {
			t.Errorf("Op %q, target %q", failed.Op, failed.Target)
		}
		conn.Close()
	})
}

// What is not used for a while closes by itself.
func TestH2IdleConnectionCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t)
		cert := ca.issue(t, "proxy.test", time.Now().Add(time.Hour))
		start := time.Now()
		ended := make(chan time.Duration, 1)
		h := hop(t, "https://proxy.test", piped(t, func(c net.Conn) {
			p := newH2Peer(t, tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}))
			if p.greet() == nil {
				p.echo()
			}
			ended <- time.Since(start)
		}))
		h.TLS = &tls.Config{RootCAs: ca.pool()}
		for range 2 {
			conn, err := h.DialContext(t.Context(), "tcp", target)
			if err != nil {
				t.Fatal(err)
			}
			exchangeEcho(t, conn, "")
			conn.Close()
			time.Sleep(50 * time.Second) // of the bubble
		}
		if took := <-ended; took != 110*time.Second {
			t.Errorf("closed after %v, want a minute behind the last tunnel", took)
		}
	})
}

// A tunnel is a net.Conn in full: crypto/tls and others rely on its deadlines.
func TestH2Conn(t *testing.T) {
	p := scriptedH2(t, func(p *h2Peer, _ int) { p.echo() }, noPlain(t))
	h := p.secureHop(t)
	conn := open(t, h)
	if conn.RemoteAddr().String() != p.addr || conn.LocalAddr() == nil {
		t.Errorf("addresses %v and %v", conn.LocalAddr(), conn.RemoteAddr())
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read behind a deadline: %v", err)
	}
	conn.SetDeadline(time.Time{})
	exchangeEcho(t, conn, "")
	over := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		over <- err
	}()
	conn.SetReadDeadline(time.Now().Add(time.Hour))
	conn.SetReadDeadline(time.Unix(1, 0)) // ends a read that waits
	if err := <-over; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read whose deadline was moved: %v", err)
	}
	conn.SetReadDeadline(time.Time{})
	go func() {
		_, err := conn.Read(make([]byte, 1))
		over <- err
	}()
	conn.Close()
	if err := <-over; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read of a closed tunnel: %v", err)
	}
	for _, err := range []error{conn.Close(), conn.SetDeadline(time.Time{}), conn.(interface{ CloseWrite() error }).CloseWrite()} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("behind Close: %v", err)
		}
	}
}

// What was written before Close arrives, with an end behind it.
func TestH2CloseLosesNothing(t *testing.T) {
	got := make(chan string, 1)
	p := scriptedH2(t, func(p *h2Peer, _ int) {
		p.answer(p.asked().StreamID, 200, false)
		var all []byte
		for {
			f, err := p.ReadFrame()
			if err != nil {
				got <- fmt.Sprint(err)
				return
			}
			switch f := f.(type) {
			case *http2.RSTStreamFrame:
				got <- "reset"
				return
			case *http2.DataFrame:
				if all = append(all, f.Data()...); f.StreamEnded() {
					got <- fmt.Sprint(len(all))
					p.WriteData(1, true, nil)
				}
			}
		}
	}, noPlain(t))
	conn := open(t, p.secureHop(t))
	conn.Write(make([]byte, 60_000))
	conn.Close()
	if s := <-got; s != "60000" {
		t.Errorf("the proxy got %s", s)
	}
}

// A reset by the proxy is no end.
func TestH2ResetIsNoEnd(t *testing.T) {
	p := scriptedH2(t, func(p *h2Peer, _ int) {
		p.answer(p.asked().StreamID, 200, false)
		p.WriteData(1, false, []byte("half"))
		p.WriteRSTStream(1, http2.ErrCodeConnect)
		p.asked()
	}, noPlain(t))
	got, err := io.ReadAll(open(t, p.secureHop(t)))
	const want = "forward proxy https://proxy.test:3128: tunnel to edge.test:443: http/2 stream: reset by the peer (CONNECT_ERROR)"
	if string(got) != "half" || text(err) != want {
		t.Errorf("read %q, %v, want %s", got, err, want)
	}
}

// What is for one connection does not go on a shared one (RFC 9113 8.2.2).
func TestH2Request(t *testing.T) {
	asked := make(chan *http2.MetaHeadersFrame, 1)
	p := scriptedH2(t, func(p *h2Peer, _ int) {
		f := p.asked()
		p.answer(f.StreamID, 200, false)
		asked <- f
		p.asked()
	}, noPlain(t))
	h := p.secureHop(t)
	h.Header = http.Header{"x-team": {"a", "b"}, "connection": {"x"}, "Proxy-Connection": {"keep-alive"}, "TE": {"x"}}
	open(t, h)
	var got []string
	for _, f := range (<-asked).Fields {
		got = append(got, f.Name+"="+f.Value)
	}
	if s := strings.Join(got[:2], " "); s != ":method=CONNECT :authority=edge.test:443" {
		t.Errorf("begins with %s", s)
	}
	for _, name := range []string{"x-team=a", "x-team=b", "user-agent=pomerium-cli"} {
		if !strings.Contains(strings.Join(got, " "), name) {
			t.Errorf("%s is not in %q", name, got)
		}
	}
	if len(got) != 5 {
		t.Errorf("fields %q", got)
	}
}

// http requests in absolute form keep to HTTP/1.1.
func TestH2AbsoluteForm(t *testing.T) {
	p := secureProxy(t, bothProtocols, func(http.ResponseWriter, *http.Request) { t.Error("a request over HTTP/2") }, func(c net.Conn, _ int) {
		head, _ := readHead(c)
		line, _, _ := strings.Cut(head, "\r\n")
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
	})
	rt := &proxy.Transport{Selector: through{p.secureHop(t)}}
	if got, err := post(clientOf(rt), "http://edge.test/x"); got != "200 POST http://edge.test/x HTTP/1.1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// The proxy picks h2 and offers a scheme that authenticates a connection, with and
// without one that does not.
func TestEdgeCase19_NTLMOverH2(t *testing.T) {
	for offer, want := range map[string]string{
		"NTLM":                    "NTLM over http/1.1",
		"Negotiate\nNTLM":         "NTLM over http/1.1",
		"NTLM\nBasic realm=\"x\"": "Basic over h2",
		"NTLM\nDigest realm=\"x\", nonce=\"a\", qop=\"auth\"": "Digest over h2",
	} {
		noTicket(t)
		var said []string
		p := secureProxy(t, bothProtocols, func(w http.ResponseWriter, r *http.Request) {
			if scheme, _, ok := strings.Cut(r.Header.Get("Proxy-Authorization"), " "); ok {
				said = append(said, scheme+" over h2")
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			w.Header()["Proxy-Authenticate"] = strings.Split(offer, "\n")
			w.WriteHeader(http.StatusProxyAuthRequired)
		}, func(c net.Conn, _ int) {
			head, _ := readHead(c)
			scheme, _, _ := strings.Cut(field(head, "Proxy-Authorization"), " ")
			said = append(said, scheme+" over http/1.1")
			io.WriteString(c, "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
		})
		s, err := proxy.Fixed("https://u:p@proxy.test", "--forward-proxy", p.config())
		if err != nil {
			t.Fatal(err)
		}
		_, err = proxy.Dial(s, mustParse(t, "https://edge.test"))(t.Context(), "tcp", target)
		asError(t, err)
		if got := strings.Join(said, ", "); got != want {
			t.Errorf("%q: %s, want %s (%v)", offer, got, want, err)
		}
	}
}
