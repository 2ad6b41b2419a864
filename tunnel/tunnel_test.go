package tunnel_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/lab"
)

func TestEcho(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode, w *world) {
		s := w.open(t, "echo.lab:7")
		for _, text := range []string{"a", "bc", string(bytes.Repeat([]byte("x"), 100_000)), "d"} {
			done := make(chan error, 1)
			go func() { _, err := io.WriteString(s, text); done <- err }() // joined below
			hear(t, s, text)
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
func TestEarlyBytes(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		s := w.open(t, "banner.lab:22")
		hear(t, s, "SSH-2.0-lab\r\n")
		say(t, s, "hello")
		hear(t, s, "hello")
		var out bytes.Buffer
		s2 := w.open(t, "bulk-100.lab:1")
		if n, err := io.Copy(&out, s2); n != 100 || err != nil {
			t.Errorf("got %d bytes and %v", n, err)
		}
	})
}

// A client that uploads much before it reads what comes back, and a destination
// that answers at once, do not wait for each other for ever.
func TestEdgeCase55_UploadBeforeReading(t *testing.T) {
	eachMode(t, func(t *testing.T, _ mode, w *world) {
		const size = 32 << 20
		s := w.open(t, "echo.lab:7")
		sum := sha256.New()
		sent := make(chan error, 1)
		started := make(chan struct{})
		go func() { // joined below
			buf := make([]byte, 256<<10)
			r := io.TeeReader(lab.BulkReader(size), sum)
			first := true
			for {
				n, err := r.Read(buf)
				if _, werr := s.Write(buf[:n]); werr != nil {
					sent <- werr
					return
				}
				if first {
					first = false
					close(started)
				}
				if err != nil {
					sent <- nil
					return
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

var _ = errors.Is
var _ = fmt.Sprint
var _ http.Header
