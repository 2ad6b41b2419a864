package token_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pomerium/pomerium-cli/internal/token"
)

// process stands for a process that wants to sign in.
type process struct {
	*token.Turns
	behind chan string // whom it was told that it waits for
	over   chan string // for whom it does not wait any more
}

func newProcess(dir string) *process {
	return &process{
		Turns:  &token.Turns{Dir: dir, Command: "pomerium-cli tcp", Started: time.Now()},
		behind: make(chan string, 100),
		over:   make(chan string, 100),
	}
}

type taken struct {
	done func(error)
	err  error
}

func (p *process) take(ctx context.Context) <-chan taken {
	result := make(chan taken, 1)
	go func() {
		done, err := p.Take(ctx, key, func(owner string) func() {
			p.behind <- owner
			return func() { p.over <- owner }
		})
		result <- taken{done, err}
	}()
	return result
}

// lockFile is the one file that ends so.
func lockFile(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.lock"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	return paths[0]
}

func TestTurnsComeOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "not yet there")
		first, second := newProcess(dir), newProcess(dir)
		turn := <-first.take(t.Context())
		must(t, turn.err)
		next := second.take(t.Context())
		synctest.Wait()
		want := fmt.Sprintf("process %d (pomerium-cli tcp)", os.Getpid())
		if got := <-second.behind; got != want {
			t.Errorf("waits for %q, want %q", got, want)
		}
		other, err := first.Take(t.Context(), "other|true", nil) // another edge's turn
		must(t, err)
		other(nil)
		time.Sleep(time.Hour) // a person may take long
		select {
		case <-next:
			t.Fatal("it did not wait")
		default:
		}
		turn.done(nil)
		turn = <-next
		must(t, turn.err)
		if got := <-second.over; got != want {
			t.Errorf("no longer waits for %q", got)
		}
		turn.done(nil)
		if len(first.behind)+len(second.behind) != 0 {
			t.Error("told twice, or of nobody")
		}
	})
}

// A sign-in that fails, fails for all who waited for it, and for who was about
// to ask for one; not for a process that is started afterwards.
func TestEdgeCase43_FailureCountsForAllWhoWaited(t *testing.T) {
	for name, failure := range map[string]error{
		"was cancelled":  fmt.Errorf("x: %w", context.Canceled),
		"failed: no way": errors.New("no\x1bway"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				first, late := newProcess(dir), newProcess(dir)
				turn := <-first.take(t.Context())
				must(t, turn.err)
				var waiting []<-chan taken
				for range 5 {
					waiting = append(waiting, newProcess(dir).take(t.Context()))
				}
				time.Sleep(time.Minute)
				turn.done(failure)
				want := fmt.Sprintf("the sign-in of process %d (pomerium-cli tcp) %s", os.Getpid(), name)
				for _, w := range append(waiting, late.take(t.Context())) {
					turn := <-w
					var e *token.FailedError
					if !errors.As(turn.err, &e) || turn.err.Error() != want {
						t.Errorf("got %v, want %s", turn.err, want)
					}
				}
				again := <-first.take(t.Context()) // its own failure is no news to it
				must(t, again.err)
				again.done(failure)
				time.Sleep(time.Millisecond)
				fresh := <-newProcess(dir).take(t.Context())
				must(t, fresh.err)
				fresh.done(failure)
				time.Sleep(6 * time.Second)
				turn = <-late.take(t.Context())
				must(t, turn.err)
				turn.done(nil)
			})
		})
	}
}

// However much there is to say of a failure, the file has room for it: who waited
// would begin another sign-in.
func TestEdgeCase43_LongFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		turn := <-newProcess(dir).take(t.Context())
		must(t, turn.err)
		next := newProcess(dir).take(t.Context())
		time.Sleep(time.Minute)
		turn.done(errors.New(strings.Repeat("<", 9<<10)))
		if turn := <-next; turn.err == nil || !strings.Contains(turn.err.Error(), "failed: <<<") || len(turn.err.Error()) > 600 {
			t.Errorf("got %v", turn.err)
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		turn := <-newProcess(dir).take(t.Context())
		must(t, turn.err)
		ctx, cancel := context.WithCancel(t.Context())
		waiting := newProcess(dir)
		next := waiting.take(ctx)
		<-waiting.behind
		cancel()
		if w := <-next; !errors.Is(w.err, context.Canceled) {
			t.Errorf("got %v", w.err)
		}
		<-waiting.over
		turn.done(nil)
	})
}

// What a killed process leaves: a file that nobody has locked. Whatever it says,
// the turn is free, at once if the process was on this machine.
func TestKilledOwner(t *testing.T) {
	host, err := os.Hostname()
	must(t, err)
	for name, c := range map[string]struct {
		content string
		after   time.Duration
	}{
		"here":            {`{"id":"x","pid":1,"host":"` + host + `"}`, 0},
		"elsewhere":       {`{"id":"x","pid":1,"host":"far.test","command":"pomerium-cli tcp"}`, 30 * time.Second},
		"elsewhere, over": {`{"id":"x","pid":1,"host":"far.test","ended":"2026-01-01T00:00:00Z"}`, 0},
		"empty":           {"", 0},
		"half":            {`{"id":"x","pi`, 0},
		"something else":  {"\x00\xff", 0},
		"old failure":     {`{"id":"x","host":"` + host + `","ended":"1999-12-31T23:59:59Z","failure":"failed"}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				turn := <-newProcess(dir).take(t.Context())
				must(t, turn.err)
				turn.done(nil)
				must(t, os.WriteFile(lockFile(t, dir), []byte(c.content), 0o600))
				start := time.Now()
				p := newProcess(dir)
				turn = <-p.take(t.Context())
				must(t, turn.err)
				if took := time.Since(start); took < c.after || took > c.after+time.Second {
					t.Errorf("it took %v, want %v", took, c.after)
				}
				if c.after > 0 {
					if owner := <-p.behind; owner != "process 1 (pomerium-cli tcp) on far.test" {
						t.Errorf("waits for %q", owner)
					}
				}
				turn.done(nil)
			})
		})
	}
}

// Where nothing can be locked, everybody signs in, and is told why.
func TestNothingToLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	var said bytes.Buffer
	p := newProcess(filepath.Join(file, "jwts"))
	p.Log = slog.New(slog.NewTextHandler(&said, nil))
	for range 2 {
		turn := <-p.take(t.Context())
		must(t, turn.err)
		turn.done(nil)
	}
	if !strings.Contains(said.String(), "cannot be made one") {
		t.Errorf("the log says %q", said.String())
	}
}

// What is in a lock file tells nobody's secrets, and nothing of it can break a
// line.
func FuzzOwner(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"id":"x","host":"h","command":"c\u001b[2J","failure":"f\nf"}`, `{"id":"x","ended":"2026-01-01T00:00:00Z"}`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			turn := <-newProcess(dir).take(t.Context())
			must(t, turn.err)
			turn.done(nil)
			must(t, os.WriteFile(lockFile(t, dir), content, 0o600))
			p := newProcess(dir)
			turn = <-p.take(t.Context())
			said := ""
			if turn.err != nil {
				said = turn.err.Error()
			} else {
				turn.done(nil)
			}
			for len(p.behind) > 0 {
				said += <-p.behind
			}
			if strings.ContainsFunc(said, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
				t.Errorf("%q", said)
			}
		})
	})
}

// The file says whose turn it is, to who looks there, and no other user can.
func TestLockFile(t *testing.T) {
	dir := t.TempDir()
	before := newProcess(dir)
	before.Command = strings.Repeat("x", 1<<10) // nothing is left of it
	turn := <-before.take(t.Context())
	must(t, turn.err)
	turn.done(nil)
	turn = <-newProcess(dir).take(t.Context())
	must(t, turn.err)
	content, err := os.ReadFile(lockFile(t, dir))
	must(t, err)
	var owner struct {
		PID     int
		Host    string
		Command string
		Start   time.Time
	}
	must(t, json.Unmarshal(content, &owner))
	host, err := os.Hostname()
	must(t, err)
	if owner.PID != os.Getpid() || owner.Host != host || owner.Command != "pomerium-cli tcp" || owner.Start.IsZero() {
		t.Errorf("%s", content)
	}
	turn.done(nil)
}
