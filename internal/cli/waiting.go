package cli

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// patience is how long a person waits before being told what for.
const patience = time.Second

// waits is what is being waited for: the status line shows the last that began,
// because what else waits does so for that.
type waits struct {
	mu    sync.Mutex
	all   []*wait
	ended chan struct{} // ends the drawer
	drawn chan struct{} // closed when it has ended
}

type wait struct {
	what  string
	start time.Time
}

// Waiting shows, on a terminal and after a second, what is being waited for and
// for how long. The result ends it.
func (u *ui) Waiting(what string) (done func()) {
	if !u.live {
		return func() {}
	}
	w := &wait{what: what, start: time.Now()}
	u.waits.mu.Lock()
	defer u.waits.mu.Unlock()
	if u.waits.all = append(u.waits.all, w); len(u.waits.all) == 1 {
		u.waits.ended, u.waits.drawn = make(chan struct{}), make(chan struct{})
		go u.draw(u.waits.ended, u.waits.drawn) // joined by the last done
	}
	return func() { u.waited(w) }
}

// waited ends one wait, and takes the line away after the last.
func (u *ui) waited(w *wait) {
	u.waits.mu.Lock()
	u.waits.all = slices.DeleteFunc(u.waits.all, func(other *wait) bool { return other == w })
	last, ended, drawn := len(u.waits.all) == 0, u.waits.ended, u.waits.drawn
	u.waits.mu.Unlock()
	if last {
		close(ended)
		<-drawn
	}
}

// draw keeps the status line up to date until ended is closed.
func (u *ui) draw(ended <-chan struct{}, drawn chan<- struct{}) {
	defer close(drawn)
	defer u.out.status("")
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			u.out.status(u.status(now))
		case <-ended:
			return
		}
	}
}

func (u *ui) status(now time.Time) string {
	u.waits.mu.Lock()
	defer u.waits.mu.Unlock()
	if len(u.waits.all) == 0 {
		return ""
	}
	w := u.waits.all[len(u.waits.all)-1]
	return u.paint.dim(fmt.Sprintf("%s ... %d s", oneLine(w.what), int(now.Sub(w.start).Seconds())))
}
