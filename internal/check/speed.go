package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/pomerium/pomerium-cli/proxy"
)

const (
	tripsTimed = 20
	// scriptPath is what the pages of an edge are made with: one or two MB that
	// need no session. Nothing that is as large goes the other way.
	scriptPath  = "/.pomerium/index.js"
	leastScript = 64 << 10        // bytes: of less, most of the time is the round trip
	speedLimit  = 5 * time.Second // of the script that is not counted; once more for the others
	speedBytes  = 32 << 20        // or when so many bytes have come
)

// speed measures one connection to the edge: its round trips, then how fast
// bytes come down.
func (w *Walk) speed(ctx context.Context, way proxy.Way, add func(Step)) {
	l, err := w.open(ctx, way)
	if err != nil {
		add(w.noted(Step{Name: StepTrips, At: w.at()}, err))
		return
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	trips := w.trips(l)
	add(trips)
	if trips.State == OK {
		add(w.down(l))
	}
}

// trips times round trips, one after the other.
func (w *Walk) trips(l *line) Step {
	defer w.waiting(StepTrips)()
	s := Step{Name: StepTrips, State: OK, At: w.at()}
	times := make([]time.Duration, 0, tripsTimed+1)
	for range tripsTimed + 1 { // the first has the server look things up
		start := time.Now()
		if err := l.trip(tripLimit); err != nil {
			return w.noted(s, err)
		}
		times = append(times, time.Since(start))
	}
	times = times[1:]
	slices.Sort(times)
	millis := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s.Trips = &Trips{Count: len(times), Least: millis(times[0]), Median: millis(times[len(times)/2]), Most: millis(times[len(times)-1])}
	return s
}

// down gets the edge's script again and again. The first one pays for the slow
// start of TCP, and counts only if no other comes.
func (w *Walk) down(l *line) Step {
	defer w.waiting(StepSpeed)()
	s := Step{Name: StepSpeed, State: OK, At: w.at(), Target: scriptPath}
	end := time.Now().Add(speedLimit)
	counted, err := l.load(end)
	if err == nil {
		end = time.Now().Add(speedLimit)
		var more load
		for err == nil && more.bytes < speedBytes {
			var one load
			one, err = l.load(end)
			more.bytes += one.bytes
			more.took += one.took
		}
		if more.bytes > 0 {
			counted = more
		}
	}
	if counted.bytes > 0 {
		seconds := max(counted.took, time.Microsecond).Seconds() // a clock may be coarse
		s.Down = &Down{Bytes: counted.bytes, Seconds: seconds, Rate: float64(counted.bytes) / seconds}
	}
	if enough := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errLineEnds); err != nil && (!enough || s.Down == nil) {
		return w.noted(s, err)
	}
	return s
}

// A load is bytes, and the time in which they came.
type load struct {
	bytes int64
	took  time.Duration
}

// load gets the script, until end at most. Its clock stands still while nothing
// is under way: it starts when the head of the answer is here.
func (l *line) load(end time.Time) (got load, err error) {
	resp, err := l.get(scriptPath, end)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return got, noScript(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
	}
	start := time.Now()
	got.bytes, err = discard(resp)
	got.took = time.Since(start)
	if got.bytes < leastScript && (err == nil || errors.Is(err, errLineEnds)) {
		return load{}, noScript(fmt.Sprintf("%d bytes", got.bytes))
	}
	return got, err
}

// noScript says that an edge has nothing that is large enough to time.
func noScript(answer string) error {
	return errors.New("the server has no page that is large enough to time: GET " + scriptPath + " brings " + answer)
}
