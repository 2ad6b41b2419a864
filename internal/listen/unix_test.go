//go:build unix

package listen_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pomerium/pomerium-cli/internal/listen"
)

func reasonOf(t *testing.T, err error) listen.Reason {
	t.Helper()
	var e *listen.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *listen.Error", err)
	}
	return e.Reason
}

func TestUnixIsPrivateAndRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := listen.Open("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode(), fs.ModeSocket|0o600; got != want {
		t.Errorf("mode %v, want %v", got, want)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the socket file is still there: %v", err)
	}
}

func TestUnixReplacesOnlyWhatNobodyAnswersOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")

	t.Run("live", func(t *testing.T) {
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, err = listen.Open("unix:" + path)
		if reasonOf(t, err) != listen.InUse {
			t.Fatalf("got %v", err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("the other's socket is gone: %v", err)
		}
	})
	t.Run("stale", func(t *testing.T) {
		leaveStale(t, path)
		ln, err := listen.Open("unix:" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
	t.Run("file", func(t *testing.T) {
		file := path + ".txt"
		if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := listen.Open("unix:" + file)
		if reasonOf(t, err) != listen.NotASocket {
			t.Fatalf("got %v", err)
		}
		if kept, _ := os.ReadFile(file); string(kept) != "keep" {
			t.Fatal("the file was touched")
		}
	})
	t.Run("link to a file", func(t *testing.T) {
		link := path + ".link"
		if err := os.Symlink(path+".txt", link); err != nil {
			t.Fatal(err)
		}
		_, err := listen.Open("unix:" + link)
		if reasonOf(t, err) != listen.NotASocket {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		_, err := listen.Open("unix:" + filepath.Join(path, "missing", "s"))
		if err == nil || !strings.Contains(err.Error(), "listen on unix:") {
			t.Fatalf("got %v", err)
		}
	})
}

func TestUnixLeavesAnothersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := listen.Open("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ln.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("closing removed a file that another program made: %v", err)
	}
}

// leaveStale leaves a socket file without a listener, as a killed program does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}
