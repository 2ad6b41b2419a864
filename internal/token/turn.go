package token

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// glance is how often those who wait look whether it is their turn.
	glance = 200 * time.Millisecond
	// beat is how often a process says that its sign-in still goes on.
	beat = 5 * time.Second
	// abandoned is how long nothing is heard of a process until its turn is
	// over: it was stopped, or it is on a machine that is gone, whose lock on a
	// network file system nobody gives back.
	abandoned = 6 * beat
	// failureHold is how long a failed sign-in counts for those who were about
	// to ask for one themselves.
	failureHold = 5 * time.Second
)

// Turns has the sign-ins of several processes come one after the other, each
// edge's for itself, by a lock on a file beside its token. It is safe for
// concurrent use, and must not be copied after first use.
type Turns struct {
	Dir string // as File's
	// Command is what those who wait are told of this process, such as
	// "pomerium-cli tcp". Without arguments: they may hold secrets.
	Command string
	// Started is when this process started. A sign-in that failed before does
	// not concern it. Zero: at the first Take.
	Started time.Time
	Log     *slog.Logger // nil: no logs

	once sync.Once
	self string
}

// FailedError says that the sign-in of another process, for which this one
// waited, has failed or was cancelled.
type FailedError struct {
	Owner  string // "process 123 (pomerium-cli tcp)"
	Reason string // "was cancelled"
}

// Error says both.
func (e *FailedError) Error() string { return "the sign-in of " + e.Owner + " " + e.Reason }

// Take waits for this process's turn to sign in to the edge of key. It tells
// waiting once for each process that it waits for; what waiting returns is
// called when that is over.
//
// The caller looks into the store again: the token may be there by now. In the
// end it calls done, with the reason if there is no token. The error is that of
// ctx, or a *FailedError. Where no file can be locked, a sign-in without a turn
// is better than none: that is a line in the log.
func (t *Turns) Take(ctx context.Context, key string, waiting func(owner string) (over func())) (done func(error), err error) {
	t.once.Do(t.begin)
	q := queue{turns: t, path: filepath.Join(t.Dir, fileName(key)+".lock"), over: func() {}}
	defer func() { q.over() }()
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		l, err := q.look()
		switch {
		case errors.As(err, new(*FailedError)):
			return nil, err
		case err != nil:
			t.log().Warn("sign-ins of several processes cannot be made one", "err", err)
			return func(error) {}, nil
		case l != nil:
			return l.hold(), nil
		}
		q.tell(waiting)
		select {
		case <-time.After(glance):
		case <-ctx.Done():
		}
	}
}

func (t *Turns) begin() {
	t.self = rand.Text()
	if t.Started.IsZero() {
		t.Started = time.Now()
	}
}

func (t *Turns) log() *slog.Logger {
	if t.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return t.Log
}

// queue is one who waits.
type queue struct {
	turns *Turns
	path  string
	seen  owner     // whose turn it was at the last look
	heard time.Time // when that owner was last heard of, by our clock
	told  string    // the owner that the caller was told of
	over  func()
}

// look takes the lock if it is free. It returns nil without an error if it is
// another's turn.
func (q *queue) look() (*lock, error) {
	l, err := open(q.path)
	if err != nil {
		return nil, err
	}
	free, err := l.try()
	if err != nil || free && !l.current() { // somebody has taken the file away
		l.close()
		return nil, err
	}
	o := l.owner()
	if o.ID != q.seen.ID || o.Beat != q.seen.Beat || q.heard.IsZero() {
		q.heard = time.Now()
	}
	waited := q.told != "" && q.told == o.ID
	q.seen = o
	silent := time.Since(q.heard) > abandoned
	switch {
	case free && o.Failure != "" && o.ID != q.turns.self && (waited || q.concerns(o)):
		l.close()
		return nil, &FailedError{o.String(), o.Failure}
	case free && (o.over() || o.here() || silent):
		l.turns = q.turns
		return l, nil
	case silent:
		q.turns.log().Warn("the sign-in of another process does not go on: its turn is over", "process", o.String())
		q.heard = time.Time{}
		err := l.remove()
		l.close()
		return nil, err
	}
	l.close()
	return nil, nil
}

// concerns reports whether a failure came after we had begun, and just now.
func (q *queue) concerns(o owner) bool {
	return o.Ended.After(q.turns.Started) && time.Since(o.Ended) < failureHold
}

// tell says once whom we wait for.
func (q *queue) tell(waiting func(string) func()) {
	if q.seen.ID == q.told || q.seen.over() {
		return
	}
	q.told = q.seen.ID
	q.over()
	q.over = func() {}
	if waiting != nil {
		q.over = waiting(q.seen.String())
	}
}

// lock is an open lock file.
type lock struct {
	turns *Turns
	file  *os.File
}

func open(path string) (*lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &lock{file: file}, nil
}

func (l *lock) close() { _ = l.file.Close() } // which unlocks it

// current reports whether the file that we have is the one that others find.
func (l *lock) current() bool {
	ours, err := l.file.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Stat(l.file.Name())
	return err == nil && os.SameFile(ours, theirs)
}

// remove takes the file of an abandoned turn away, so that another one can be
// locked. Of those who do so at once it is one at a time: between the look and
// the removal nobody else may put a new file there.
func (l *lock) remove() error {
	guard, err := open(l.file.Name() + ".broken")
	if err != nil {
		return err
	}
	defer guard.close()
	if free, err := guard.try(); err != nil || !free || !l.current() {
		return err
	}
	return os.Remove(l.file.Name())
}

// hold makes the turn ours, until done is called.
func (l *lock) hold() (done func(error)) {
	host, _ := os.Hostname()
	o := owner{ID: l.turns.self, PID: os.Getpid(), Host: host, Start: time.Now(), Command: l.turns.Command}
	l.write(o)
	ended := make(chan error)
	var beating sync.WaitGroup
	beating.Go(func() { // joined by done
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				o.Beat++
				l.write(o)
			case failure := <-ended:
				o.end(failure)
				l.write(o)
				l.close()
				return
			}
		}
	})
	return func(failure error) { ended <- failure; beating.Wait() }
}

// write says whose turn it is. That it cannot be said changes nothing: the lock
// is what counts.
func (l *lock) write(o owner) {
	content := o.encode()
	if _, err := l.file.WriteAt(content, 0); err == nil {
		err = l.file.Truncate(int64(len(content)))
		if err != nil {
			l.turns.log().Debug("cannot say whose sign-in it is", "err", err)
		}
	}
}

// owner reads whose turn it is, or was.
func (l *lock) owner() owner {
	content, err := io.ReadAll(io.NewSectionReader(l.file, 0, maxOwner))
	if err != nil {
		return owner{}
	}
	return decodeOwner(content)
}
