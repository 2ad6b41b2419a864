//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pomerium/pomerium-cli/e2e/world"
)

// modes are the ways in which a tunnel travels: on a connection of its own, or beside others.
var modes = []struct {
	name, protocol string
	shared         bool
}{
	{"h1", "h1", false},
	{"h2 solo", "h2", false},
	{"h2 shared", "h2", true},
}

// openMode opens a listener for the target. In the shared mode the one connection that is not shared is taken already.
func openMode(t *testing.T, protocol string, shared bool) *tunnel {
	t.Helper()
	p := proxy(t, "squid")
	if !shared {
		return open(t, arguments(p, protocol, world.Target, goodToken...))
	}
	tun := open(t, arguments(p, protocol, world.Target, append(goodToken, "--max-connections", "1")...))
	order(t, tun.dial(t), world.Order{Send: 1, Take: 1, End: world.Close}, 1)
	return tun
}

// order sends an order to the target and waits for the first bytes of what was ordered.
func order(t *testing.T, conn net.Conn, o world.Order, wait int) {
	t.Helper()
	if _, err := io.WriteString(conn, o.String()); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, wait)
	if _, err := io.ReadFull(conn, first); err != nil {
		t.Fatalf("order %q: %v\nthe edge's log: %s", o, err, w.Envoy.AccessLog())
	}
	want := make([]byte, wait)
	io.ReadFull(world.NewPattern(), want)
	if string(first) != string(want) {
		t.Fatalf("order %q: the answer starts with other bytes", o)
	}
}

// drain reads to the end and returns how much there was and its checksum. What comes before each read may slow it.
func drain(conn io.Reader, before func(read int64)) (n int64, sum string, err error) {
	hash, buf := sha256.New(), make([]byte, 1<<20)
	for err == nil {
		if before != nil {
			before(n)
		}
		var k int
		k, err = conn.Read(buf)
		hash.Write(buf[:k])
		n += int64(k)
	}
	if err == io.EOF {
		err = nil
	}
	return n, hex.EncodeToString(hash.Sum(nil)), err
}

// TestEdgeCase53_WrongKind asks for a route of the other kind beside a tunnel that runs: the edge sends GOAWAY.
func TestEdgeCase53_WrongKind(t *testing.T) {
	oneWay(t)
	tun := open(t, arguments(proxy(t, "squid"), "h2", world.Target, append(goodToken, world.Datagram, "--max-connections", "1")...))
	target, wrong := tun.to(t, world.Target), tun.to(t, world.Datagram)
	var running []*net.TCPConn
	for range 3 { // one alone, two that share
		conn := dial(t, target)
		order(t, conn, world.Order{Send: 1, Take: 1, End: world.Digest}, 1)
		running = append(running, conn)
	}
	for range 3 {
		conn, err := w.UserHost.Dial("tcp", wrong)
		if err == nil { // the refusal may be faster than the dialer
			_, err = io.ReadAll(conn)
			conn.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a tunnel to the wrong kind of route: %v, want a reset", err)
		}
		order(t, dial(t, target), world.Order{Send: 10, End: world.Close}, 10)
	}
	tun.log.await(t, regexp.MustCompile(`dns\.test:53.*(?i:udp)`))
	for i, conn := range running {
		io.CopyN(conn, world.NewPattern(), 1)
		if digest, err := io.ReadAll(conn); string(digest) != world.Sum(1) {
			t.Errorf("tunnel %d: %q, %v; want it to have gone on", i, digest, err)
		}
	}
}

// TestEdgeCase54_StreamLimit opens more tunnels than the edge allows on a connection.
func TestEdgeCase54_StreamLimit(t *testing.T) {
	oneWay(t)
	tun := open(t, arguments(proxy(t, "squid"), "h2", world.Target, append(goodToken, "--max-connections", "1")...))
	const tunnels = 1024 + 50
	conns := make([]*net.TCPConn, tunnels)
	for i := range conns {
		conns[i] = tun.dial(t)
		fmt.Fprint(conns[i], world.Order{Send: 10, Take: 1, End: world.Close})
	}
	for i, conn := range conns {
		got := make([]byte, 10)
		if _, err := io.ReadFull(conn, got); err != nil {
			t.Fatalf("tunnel %d: %v", i, err)
		}
	}
	for _, conn := range conns { // all were open at once
		io.WriteString(conn, "x")
	}
	for i, conn := range conns {
		if rest, err := io.ReadAll(conn); len(rest) != 0 || err != nil {
			t.Fatalf("tunnel %d ended with %q, %v", i, rest, err)
		}
	}
}

// TestEdgeCase55_Stalled stops reading one tunnel: the others go on, memory stays bounded, and what was held back still comes.
func TestEdgeCase55_Stalled(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			oneWay(t)
			tun := openMode(t, mode.protocol, mode.shared)
			const size = 64 << 20
			stalled := tun.dial(t)
			// It takes a byte before it ends, so that the edge cannot cut what it still holds.
			fmt.Fprint(stalled, world.Order{Send: size, Take: 1, End: world.Close})
			for range 3 {
				conn := tun.dial(t)
				fmt.Fprint(conn, world.Order{Send: size, End: world.Close})
				if n, sum, err := drain(conn, nil); sum != world.Sum(size) || err != nil {
					t.Fatalf("beside the stalled tunnel: %d bytes of %d, %v", n, size, err)
				}
			}
			limit := 64 << 20
			if mode.shared { // a window, a backlog, and what the collector has not come to
				limit = 256 << 20
			}
			if peak := peakMemory(t, tun.cmd.Process.Pid); peak > limit {
				t.Errorf("memory grew to %d MiB", peak>>20)
			}
			io.WriteString(stalled, "x")
			n, sum, err := drain(stalled, nil)
			if sum != world.Sum(size) || err != nil {
				t.Errorf("the stalled tunnel: %d bytes of %d, %v", n, size, err)
			}
		})
	}
}

// peakMemory is the largest resident size of a process so far, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	peak := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if peak == nil {
		t.Fatalf("no VmHWM in\n%s", status)
	}
	kilobytes, _ := strconv.Atoi(string(peak[1]))
	return kilobytes << 10
}

// TestEdgeCase55_UploadFirst uploads all before it reads anything of what the destination sends meanwhile.
func TestEdgeCase55_UploadFirst(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			oneWay(t)
			const size = 100 << 20
			conn := openMode(t, mode.protocol, mode.shared).dial(t)
			// One byte more is taken before it ends, so that the edge cannot cut what it still holds.
			fmt.Fprint(conn, world.Order{Send: size, Take: size + 1, End: world.Digest})
			up := world.NewPattern()
			if _, err := io.CopyN(conn, up, size); err != nil {
				t.Fatal("uploading:", err)
			}
			if n, sum, err := drain(io.LimitReader(conn, size), nil); sum != world.Sum(size) {
				t.Errorf("%d bytes of %d came down, %v", n, size, err)
			}
			io.CopyN(conn, up, 1)
			if digest, err := io.ReadAll(conn); string(digest) != world.Sum(size+1) {
				t.Errorf("the destination took %q, %v; want %s", digest, err, world.Sum(size+1))
			}
		})
	}
}

// TestEdgeCase56_Restart kills the edge under load and starts it again.
func TestEdgeCase56_Restart(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			oneWay(t)
			tun := open(t, arguments(proxy(t, "squid"), protocol, world.Target, append(goodToken, "--max-connections", "2")...))
			const tunnels = 6
			var ends sync.WaitGroup
			for i := range tunnels {
				conn := tun.dial(t)
				load := world.Order{Send: 1 << 40, Take: 1, End: world.Close}
				if i%2 == 0 { // half of them are silent
					load.Send = 1
				}
				order(t, conn, load, 1)
				ends.Go(func() {
					if n, _, err := drain(conn, nil); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("tunnel %d: %v after %d bytes, want a reset", i, err, n)
					}
				})
			}
			w.Envoy.Kill()
			ends.Wait()
			if err := w.Envoy.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			order(t, tun.dial(t), world.Order{Send: 10, Take: 0, End: world.Close}, 10)
			if protocol == "h2" { // where tunnels have something in common
				tun.log.await(t, regexp.MustCompile("lost"))
				if n := tun.log.lines("(lost|cut|reset)"); n != 1 {
					t.Errorf("%d lines tell of the loss, want one", n)
				}
			}
		})
	}
}

// TestEdgeCase57_Ends ends tunnels in every way there is.
func TestEdgeCase57_Ends(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			oneWay(t)
			tun := openMode(t, mode.protocol, mode.shared)
			const size = 1_000_000
			t.Run("destination ends", func(t *testing.T) {
				conn := tun.dial(t)
				fmt.Fprint(conn, world.Order{Send: size, End: world.Close})
				if n, sum, err := drain(conn, nil); sum != world.Sum(size) || err != nil {
					t.Errorf("%d bytes of %d, %v", n, size, err)
				}
			})
			t.Run("destination resets", func(t *testing.T) {
				conn := tun.dial(t)
				order(t, conn, world.Order{Send: size, Take: 1, End: world.Reset}, size)
				io.WriteString(conn, "x")
				n, _, err := drain(conn, nil)
				// The edge does not tell a reset from an end on HTTP/1.1.
				if n != 0 || mode.protocol == "h2" && !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%d more bytes, %v; want a reset", n, err)
				}
			})
			t.Run("local end, later", func(t *testing.T) {
				if mode.protocol == "h1" {
					return // nobody can pass it on: see the answer that is not lost in TestThroughEveryProxy
				}
				conn := tun.dial(t)
				order(t, conn, world.Order{Send: 5, Take: -1, End: world.Digest}, 5)
				io.CopyN(conn, world.NewPattern(), size)
				conn.CloseWrite()
				if digest, err := io.ReadAll(conn); string(digest) != world.Sum(size) {
					t.Errorf("the destination answered %q, %v; want %s", digest, err, world.Sum(size))
				}
			})
			t.Run("local reset", func(t *testing.T) {
				conn := tun.dial(t)
				order(t, conn, world.Order{Send: 5, Take: -1, End: world.Close}, 5)
				before := open2edge(t)
				conn.SetLinger(0)
				conn.Close()
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for ctx := limited(t, patience); open2edge(t) >= before; {
					select {
					case <-tick.C:
					case <-ctx.Done():
						t.Fatal("the destination's connection stays open")
					}
				}
			})
		})
	}
}

// open2edge counts the edge's connections to the target.
func open2edge(t *testing.T) int {
	t.Helper()
	n, err := w.Envoy.Stat(`cluster\.target_test_9000\.upstream_cx_active`)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestEdgeCase51_IdleLimit is silent on HTTP/1.1 behind a proxy that cuts what is silent for five seconds. Nothing in band could
// keep the tunnel open: the message has to say what cut it.
func TestEdgeCase51_IdleLimit(t *testing.T) {
	t.Parallel()
	oneWay(t)
	tun := open(t, arguments(proxy(t, "squid-idle"), "h1", world.Target, goodToken...))
	conn := tun.dial(t)
	order(t, conn, world.Order{Send: 5, Take: 1, End: world.Close}, 5)
	if _, _, err := drain(conn, nil); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the local program saw %v, want a reset", err)
	}
	tun.log.await(t, regexp.MustCompile(`closed .* after \d+s idle`))
}

// TestEdgeCase58_KeepAlive is silent behind the same proxy on HTTP/2, where a PING crosses it in time.
func TestEdgeCase58_KeepAlive(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		if mode.protocol == "h1" {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			oneWay(t)
			args := append(goodToken, "--keep-alive", "2s")
			if mode.shared {
				args = append(args, "--max-connections", "1")
			}
			tun := open(t, arguments(proxy(t, "squid-idle"), mode.protocol, world.Target, args...))
			var conns []*net.TCPConn
			for range 3 {
				conn := tun.dial(t)
				order(t, conn, world.Order{Send: 5, Take: 1, End: world.Digest}, 5)
				conns = append(conns, conn)
			}
			select {
			case <-time.After(14 * time.Second):
			case <-t.Context().Done():
			}
			for i, conn := range conns {
				io.CopyN(conn, world.NewPattern(), 1)
				if digest, err := io.ReadAll(conn); string(digest) != world.Sum(1) {
					t.Errorf("tunnel %d after the silence: %q, %v", i, digest, err)
				}
			}
		})
	}
}

// TestEdgeCase59_DeadPath has a proxy fall silent: nothing is closed, nothing arrives.
func TestEdgeCase59_DeadPath(t *testing.T) {
	t.Parallel()
	oneWay(t)
	p := proxy(t, "microsocks-frozen")
	tun := open(t, arguments(p, "h2", world.Target, append(goodToken, "--keep-alive", "1s")...))
	conn := tun.dial(t)
	order(t, conn, world.Order{Send: 5, Take: 1, End: world.Close}, 5)
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	_, _, err := drain(conn, nil)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the local program saw %v, want a reset", err)
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	order(t, tun.dial(t), world.Order{Send: 5, End: world.Close}, 5)
}

// TestEdgeCase61_SlowReader lets the destination close while we are slow, and near the end stop.
func TestEdgeCase61_SlowReader(t *testing.T) {
	t.Parallel()
	const size = 256 << 20
	want := world.Sum(size)
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			oneWay(t)
			tun := openMode(t, mode.protocol, mode.shared)
			conn := tun.dial(t)
			fmt.Fprint(conn, world.Order{Send: size, End: world.Close})
			var next int64
			n, sum, err := drain(conn, func(read int64) {
				if read < next {
					return
				}
				pause := 20 * time.Millisecond
				if next += 4 << 20; next == size-8<<20 {
					pause = 15 * time.Second
				}
				time.Sleep(pause) // this is the slow reader
			})
			if sum == want && err == nil {
				return
			}
			// The edge cut what a shut window kept it from sending. That is told, and does not happen twice.
			if !mode.shared || !errors.Is(err, syscall.ECONNRESET) {
				t.Fatalf("%d bytes of %d, %v", n, size, err)
			}
			tun.log.await(t, regexp.MustCompile("(cut|reset)")) // the line comes after the reset
			if lines := tun.log.lines("(cut|reset)"); lines != 1 {
				t.Fatalf("%d lines tell of the cut, want one", lines)
			}
			again := tun.dial(t)
			fmt.Fprint(again, world.Order{Send: size, End: world.Close})
			if n, sum, err := drain(again, func(int64) { time.Sleep(time.Millisecond) }); sum != want || err != nil {
				t.Errorf("after a cut: %d bytes of %d, %v", n, size, err)
			}
		})
	}
}
