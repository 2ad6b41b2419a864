package listen_test

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/listen"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		spec string
		want string // a part of the error; "" for none
	}{
		{"127.0.0.1:0", ""},
		{"127.0.0.1:5432", ""},
		{":5432", ""},
		{"localhost:5432", ""},
		{"[::1]:65535", ""},
		{"unix:/run/db.sock", ""},
		{"unix:db.sock", ""},
		{"-", ""},
		{"", "not host:port"},
		{"5432", "not host:port"},
		{"127.0.0.1", "not host:port"},
		{"::1:5432", "not host:port"},
		{"127.0.0.1:", "not a number from 0 to 65535"},
		{"127.0.0.1:65536", "not a number from 0 to 65535"},
		{"127.0.0.1:-1", "not a number from 0 to 65535"},
		{"127.0.0.1:ssh", "not a number from 0 to 65535"},
		{"unix:", "unix: without a path"},
		{"unix:@name", "has no owner"},
		{"unix:a\x00b", "zero byte"},
	} {
		t.Run(c.spec, func(t *testing.T) {
			err := listen.Check(c.spec)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Check(%q) = %v, want %q", c.spec, err, c.want)
			}
			if err == nil {
				return
			}
			var e *listen.Error
			if !errors.As(err, &e) || e.Reason != listen.Malformed {
				t.Fatalf("error is %#v, want one with Reason Malformed", err)
			}
			if _, err := listen.Open(c.spec); err == nil {
				t.Fatal("Open accepts it")
			}
		})
	}
}

func TestOpenTCP(t *testing.T) {
	ln, err := listen.Open("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a := ln.Addr().(*net.TCPAddr); !a.IP.IsLoopback() || a.Port == 0 {
		t.Fatalf("listens on %v", a)
	}

	_, err = listen.Open(ln.Addr().String())
	var e *listen.Error
	if !errors.As(err, &e) || e.Reason != listen.InUse {
		t.Fatalf("second Open: %v", err)
	}
	if want := "listen on " + ln.Addr().String() + ": already in use by "; !strings.HasPrefix(err.Error(), want) {
		t.Fatalf("error %q does not begin with %q", err, want)
	}
}

func TestOpenTCPElsewhere(t *testing.T) {
	_, err := listen.Open("192.0.2.1:0") // TEST-NET-1, RFC 5737: nobody's
	var e *listen.Error
	if !errors.As(err, &e) || e.Reason != listen.NotOurs {
		t.Fatalf("got %v", err)
	}
}

// TestOpenSaysWhatItTakes: 0.0.0.0 is IPv4, no address at all is both.
func TestOpenSaysWhatItTakes(t *testing.T) {
	for spec, want := range map[string]string{"0.0.0.0:0": "0.0.0.0", ":0": "::"} {
		ln, err := listen.Open(spec)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if got := ln.Addr().(*net.TCPAddr).IP.String(); got != want {
			t.Errorf("Open(%q) listens on %s, want %s", spec, got, want)
		}
	}
}

func TestOpenRefusesStdio(t *testing.T) {
	if _, err := listen.Open("-"); err == nil {
		t.Fatal("- was opened as a listener")
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:0", ":1", "unix:/a", "-", "[::1]:22", "unix:@", "a:b", "\x00", "[", "::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		if listen.Check(spec) != nil || listen.IsStdio(spec) || strings.HasPrefix(spec, "unix:") {
			return
		}
		_, port, err := net.SplitHostPort(spec)
		if err != nil {
			t.Fatalf("accepted %q: %v", spec, err)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			t.Fatalf("accepted %q: %v", spec, err)
		}
	})
}
