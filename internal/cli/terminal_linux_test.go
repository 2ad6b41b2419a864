package cli_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal: what is written to the first comes out of
// the second, as a person would see it.
func terminal(t *testing.T) (screen, eyes *os.File) {
	t.Helper()
	eyes, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(eyes.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(eyes.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close(); eyes.Close() })
	return screen, eyes
}

// silent is a proxy that accepts and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return "http://" + ln.Addr().String()
}

// TestWaitingIsShown: a person at a terminal is told what is being waited for.
func TestWaitingIsShown(t *testing.T) {
	screen, eyes := terminal(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r := &run{env: map[string]string{"POMERIUM_SERVICE_ACCOUNT": "a.b.c"}}
	wait := r.start(t, ctx, screen, "tcp", "db.example.com:5432", "--listen", "-", "--forward-proxy", silent(t))
	const want = "opening db.example.com:5432 ... "
	var seen strings.Builder
	for letters := bufio.NewReader(eyes); !strings.Contains(seen.String(), want); {
		b, err := letters.ReadByte()
		if err != nil {
			t.Fatalf("%v after %q", err, seen.String())
		}
		seen.WriteByte(b)
	}
	stop()
	wait()
	if r.code != 0 {
		t.Errorf("exit code %d", r.code)
	}
}

func TestColour(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"on a terminal": {nil, true},
		"NO_COLOR":      {map[string]string{"NO_COLOR": "1"}, false},
		"TERM=dumb":     {map[string]string{"TERM": "dumb"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			screen, eyes := terminal(t)
			r := &run{env: c.env}
			wait := r.start(t, t.Context(), screen, "tpc")
			line, err := bufio.NewReader(eyes).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			wait()
			if got := strings.Contains(line, "\x1b["); got != c.want {
				t.Errorf("%q: colour %v, want %v", line, got, c.want)
			}
			if !strings.Contains(line, `unknown command "tpc"`) {
				t.Errorf("the line is %q", line)
			}
		})
	}
	t.Run("not a terminal", func(t *testing.T) {
		r := &run{}
		r.main(t, "tpc")
		if strings.Contains(r.stderr, "\x1b") {
			t.Errorf("colour in %q", r.stderr)
		}
	})
}
