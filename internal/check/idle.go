package check

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/pomerium/pomerium-cli/proxy"
)

// MaxIdle bounds the silence that is tried: an edge itself closes a connection
// that has carried nothing for five minutes.
const MaxIdle = 4*time.Minute + 30*time.Second

// silences are tried at the same time, each on a connection of its own: the
// longest, half of it, and so on.
const silences = 5

// A hush is how one connection took its silence.
type hush struct {
	silence time.Duration
	cut     time.Duration // when it was closed; 0: it was not
	lost    bool          // nothing came back after the silence
	err     error         // it could not be opened
}

// idle leaves connections to the edge silent for growing times, and then looks
// whether they still carry a request.
func (w *Walk) idle(ctx context.Context, way proxy.Way) Step {
	defer w.waiting(StepIdle)()
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	hushes := make([]hush, silences)
	var all sync.WaitGroup
	for i := range hushes {
		silence := w.Idle >> (silences - 1 - i)
		all.Go(func() { // joined below
			hushes[i] = w.hush(ctx, way, silence)
			if hushes[i].lost { // the longer ones would be, too
				enough()
			}
		})
	}
	all.Wait()
	return w.idleStep(hushes)
}

func (w *Walk) hush(ctx context.Context, way proxy.Way, silence time.Duration) hush {
	h := hush{silence: silence}
	l, err := w.open(ctx, way)
	if err != nil {
		h.err = err
		return h
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	if h.err = l.trip(tripLimit); h.err != nil {
		return h
	}
	start := time.Now()
	l.SetReadDeadline(start.Add(silence))
	if _, err := l.in.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		h.cut = time.Since(start)
		return h
	}
	h.lost = l.trip(tripLimit) != nil
	return h
}

// idleStep says what the connections together tell: the shorter ones first.
func (w *Walk) idleStep(hushes []hush) Step {
	s := Step{Name: StepIdle, State: OK, At: w.at()}
	for _, h := range hushes {
		switch {
		case h.err != nil && s.Survived == 0:
			return w.noted(s, h.err)
		case h.cut > 0:
			s.State, s.Cut, s.Closed = Note, h.cut.Seconds(), true
		case h.lost:
			s.State, s.Cut = Note, h.silence.Seconds()
		default:
			s.Survived = h.silence.Seconds()
			continue
		}
		return s
	}
	return s
}
