//go:build unix

package token_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// lockAlone locks a file, and does nothing else.
func lockAlone(t *testing.T, path string) (release func()) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	must(t, unix.Flock(int(file.Fd()), unix.LOCK_EX))
	return func() { must(t, file.Close()) }
}

// farAway has a process of another machine hold the lock, of which the file says
// no more than whose it is.
func farAway(t *testing.T, dir string) (path string, release func()) {
	t.Helper()
	turn := <-newProcess(dir).take(t.Context())
	must(t, turn.err)
	turn.done(nil)
	path = lockFile(t, dir)
	must(t, os.WriteFile(path, []byte(`{"id":"x","pid":7,"host":"far.test"}`), 0o600))
	return path, lockAlone(t, path)
}

// A lock that is held by somebody of whom nothing is heard is broken: a machine
// that is gone, whose lock the file server keeps; a process that was stopped.
func TestSilentOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		_, release := farAway(t, dir)
		defer release()
		var said bytes.Buffer
		start := time.Now()
		p := newProcess(dir)
		p.Log = slog.New(slog.NewTextHandler(&said, nil))
		turn := <-p.take(t.Context())
		must(t, turn.err)
		if took := time.Since(start); took < 30*time.Second || took > 35*time.Second {
			t.Errorf("broken after %v", took)
		}
		if !strings.Contains(said.String(), `process="process 7 on far.test"`) {
			t.Errorf("the log says %s", &said)
		}
		// The new lock is as good as any.
		next := newProcess(dir).take(t.Context())
		time.Sleep(time.Hour)
		select {
		case <-next:
			t.Fatal("two at once")
		default:
		}
		turn.done(nil)
		turn = <-next
		must(t, turn.err)
		turn.done(nil)
	})
}

// Of many who wait for somebody of whom nothing is heard, one breaks the lock, and
// the others wait for that one.
func TestSilentOwnerOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		_, release := farAway(t, dir)
		defer release()
		var signingIn atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			p := newProcess(dir)
			all.Go(func() {
				done, err := p.Take(t.Context(), key, nil)
				if n := signingIn.Add(1); n > 1 {
					t.Errorf("%d at once", n)
				}
				time.Sleep(10 * time.Second) // for the others to look
				signingIn.Add(-1)
				must(t, err)
				done(nil)
			})
		}
		all.Wait()
	})
}

// Who waits is told of each owner, once the file says who it is, and that it does
// not wait for the one before any more.
func TestOwnersFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path, release := farAway(t, dir)
		says := func(content string) {
			must(t, os.WriteFile(path, []byte(content), 0o600))
			time.Sleep(time.Second)
		}
		p := newProcess(dir)
		next := p.take(t.Context())
		time.Sleep(time.Second)
		says(`{"id":"y","pid":8,"host":"far.test"}`)
		says(`{"id":"y","pid":8,"host":"far.test","ended":"2026-01-01T00:00:00Z"}`) // the next has the lock, and has not written yet
		says("")
		says(`{"id":"z","pid":9,"host":"far.test"}`)
		says(`{"id":"z","pid":9,"host":"far.test","ended":"2026-01-01T00:00:00Z"}`)
		release()
		turn := <-next
		must(t, turn.err)
		turn.done(nil)
		close(p.behind)
		close(p.over)
		var behind, over []string
		for owner := range p.behind {
			behind = append(behind, owner)
		}
		for owner := range p.over {
			over = append(over, owner)
		}
		want := "process 7 on far.test, process 8 on far.test, process 9 on far.test"
		if strings.Join(behind, ", ") != want || strings.Join(over, ", ") != want {
			t.Errorf("waited for %q, and then no more for %q", behind, over)
		}
	})
}

// Who waited for a sign-in learns that it failed, whatever the clock of the other
// machine says.
func TestEdgeCase43_FailureOfAMachineWithAnotherClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path, release := farAway(t, dir)
		p := newProcess(dir)
		next := p.take(t.Context())
		<-p.behind
		must(t, os.WriteFile(path, []byte(`{"id":"x","pid":7,"host":"far.test","ended":"1999-12-31T23:59:59Z","failure":"was cancelled"}`), 0o600))
		release()
		if turn := <-next; turn.err == nil || turn.err.Error() != "the sign-in of process 7 on far.test was cancelled" {
			t.Errorf("got %v", turn.err)
		}
	})
}

// Whoever tidies up takes the file away while nobody else has its lock. Who had
// opened it by then and locks it now has the lock of nothing, and looks again.
func TestLockFileIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	turn := <-newProcess(dir).take(t.Context())
	must(t, turn.err)
	turn.done(nil)
	path := lockFile(t, dir)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				tidy(path)
			}
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		var signingIn atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			p := newProcess(dir)
			all.Go(func() {
				for range 200 {
					done, err := p.Take(t.Context(), key, nil)
					if n := signingIn.Add(1); n > 1 {
						t.Errorf("%d at once", n)
					}
					time.Sleep(time.Second) // for the others to look
					signingIn.Add(-1)
					must(t, err)
					done(nil)
					time.Sleep(time.Second) // it is another's turn
				}
			})
		}
		all.Wait()
	})
	close(stop)
	<-stopped
}

// tidy removes a lock file that nobody has locked.
func tidy(path string) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(path)
	}
}
