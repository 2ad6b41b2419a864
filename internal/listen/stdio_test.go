package listen_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/listen"
)

// pipes returns standard input and output of a program, and our ends of them.
func pipes(t *testing.T) (in, out, toIn, fromOut *os.File) {
	t.Helper()
	in, toIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromOut, out, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{in, toIn, fromOut, out} {
			f.Close()
		}
	})
	return in, out, toIn, fromOut
}

func TestStdioCarriesEveryByte(t *testing.T) {
	in, out, toIn, fromOut := pipes(t)
	s, err := listen.NewStdio(in, out)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	sent := make([]byte, 1<<20+7)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	go func() { // joined by the reads below
		toIn.Write(sent)
		toIn.Close()
	}()
	go func() { // joined by the read of fromOut
		io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{s}, make([]byte, 1000))
		s.CloseWrite()
	}()
	got, err := io.ReadAll(fromOut)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d came back, %v", len(got), len(sent), err)
	}
}

func TestStdioHalfClose(t *testing.T) {
	in, out, toIn, fromOut := pipes(t)
	s, err := listen.NewStdio(in, out)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := fromOut.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("standard output goes on: %d, %v", n, err)
	}
	toIn.WriteString("still here")
	b := make([]byte, 32)
	if n, err := s.Read(b); err != nil || string(b[:n]) != "still here" {
		t.Fatalf("standard input ended with standard output: %q, %v", b[:n], err)
	}
}

func TestStdioCloseFreesReader(t *testing.T) {
	in, out, toIn, _ := pipes(t)
	s, err := listen.NewStdio(in, out)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { // joined by got
		_, err := s.Read(make([]byte, 1))
		got <- err
	}()
	s.Close()
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Read: %v", err)
	}
	toIn.Close() // lets the goroutine that reads standard input go
}

func TestStdioReaderGone(t *testing.T) {
	in, out, toIn, fromOut := pipes(t)
	s, err := listen.NewStdio(in, out)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer toIn.Close()
	fromOut.Close()
	_, err = s.Write([]byte("x"))
	var e *listen.OutputError
	var cause syscall.Errno
	if !errors.As(err, &e) || !errors.As(err, &cause) { // EPIPE, or Windows' ERROR_NO_DATA
		t.Fatalf("got %v", err)
	}
}

// TestEdgeCase50_ClosedOutput: the runtime opens /dev/null for reading and
// writing where standard output was closed; `>/dev/null` is not that.
func TestEdgeCase50_ClosedOutput(t *testing.T) {
	for _, c := range []struct {
		name string
		path string
		flag int
		want bool
	}{
		{"closed", os.DevNull, os.O_RDWR, runtime.GOOS != "windows"},
		{"to null", os.DevNull, os.O_WRONLY, false},
		{"to a file", filepath.Join(t.TempDir(), "f"), os.O_RDWR | os.O_CREATE, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := os.OpenFile(c.path, c.flag, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if got := listen.WasClosed(f); got != c.want {
				t.Fatalf("WasClosed = %v, want %v", got, c.want)
			}
			if _, err := listen.NewStdio(nil, f); (err != nil) != c.want {
				t.Fatalf("NewStdio: %v", err)
			}
			if f.Close(); !listen.WasClosed(f) { // a handle that leads nowhere, as on Windows
				t.Fatal("a closed file is taken for an open one")
			}
		})
	}
}
