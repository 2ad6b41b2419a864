package listen_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pomerium/pomerium-cli/internal/listen"
)

// TestForbidden: a directory of somebody else's. Root may do everything, so its
// thread becomes nobody as far as files are concerned.
func TestForbidden(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { // joined by got; the thread ends with the goroutine, as it stays locked
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			const nobody = 65534
			_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0)
		}
		_, err := listen.Open("unix:" + filepath.Join(dir, "s"))
		got <- err
	}()
	err := <-got
	if reasonOf(t, err) != listen.Forbidden {
		t.Fatalf("got %v", err)
	}
}
