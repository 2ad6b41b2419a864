package check

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

// A Walk is what is to be walked. Ways and Recorder are required.
type Walk struct {
	Ways        []proxy.Way
	Recorder    *Recorder     // the log of Ways and of the clients
	Edge        *url.URL      // nil: the ways alone
	Destination string        // host:port; "": the edge alone
	TLS         *tls.Config   // the edge's; nil: system roots
	Tokens      tunnel.Tokens // who is asking; Renew is called when the edge wants another token
	Who         string        // what Tokens has when it has a token: "kept" or "service-account"

	// Client makes the client of a way to Edge.
	Client func(proxy.Way) *tunnel.Client
	// Dead says whether tunnels pass a way over for the moment. May be nil.
	Dead func(way string) bool
	// Explain says what to do about a step that went wrong: by oneself, and what
	// to ask of whoever runs the network. May be nil.
	Explain func(s Step) (hint, ask string)
	// Teller hears of each step as it is known. May be nil.
	Teller Teller

	Idle  time.Duration // the longest silence to try; 0: none is tried
	Speed bool          // measure round trips, and how fast bytes come
}

// A Teller hears of what is found, as it is found.
type Teller interface {
	Way(w Way, number, of int) // a way begins; once more, as taken, where it goes on behind all ways
	Step(s Step)
	// Waiting is told what is being waited for, by the name of the step that
	// will tell how it ended. The result ends it.
	Waiting(step string) (done func())
}

// Run walks all ways, and on from the one that a tunnel would take. The error is
// what would stop a tunnel.
func (w *Walk) Run(ctx context.Context) (ways []Way, steps []Step, err error) {
	defer w.close()
	taken := -1
	var tried []error
	for i, way := range w.Ways {
		ways = append(ways, w.walkWay(ctx, way, i))
		err := ways[i].err
		if taken < 0 && err != nil {
			tried = append(tried, err)
		}
		if taken < 0 && (err == nil || !way.Unreached(err)) {
			taken, ways[i].Taken = i, true
		}
	}
	switch {
	case taken >= 0 && ways[taken].err == nil && w.Edge != nil:
		if w.Teller != nil && taken < len(ways)-1 { // others were told of since
			w.Teller.Way(ways[taken], taken+1, len(ways))
		}
		steps, err = w.walkOn(ctx, w.Ways[taken])
		return ways, steps, err
	case taken >= 0 && ways[taken].err == nil:
		return ways, nil, nil
	case len(tried) == 1:
		err = tried[0]
	default:
		err = &proxy.TriedError{Tried: tried}
	}
	return ways, w.stopped(ctx), err
}

// close closes the connections to proxies that were kept for later use.
func (w *Walk) close() {
	for _, way := range w.Ways {
		for _, hop := range way.Hops {
			hop.CloseIdleConnections()
		}
	}
}

// walkWay goes one way, as far as to the edge.
func (w *Walk) walkWay(ctx context.Context, way proxy.Way, n int) Way {
	found := Way{Way: way.String(), Source: way.Source, Hops: []string{}, Steps: []Step{}}
	first := w.at()
	for _, hop := range way.Hops {
		found.Hops = append(found.Hops, hop.String())
	}
	if len(way.Hops) > 0 {
		first = found.Hops[0]
		found.Dead = w.Dead != nil && w.Dead(found.Way)
	}
	if w.Teller != nil {
		w.Teller.Way(found, n+1, len(w.Ways))
	}
	defer w.waiting(StepConnect)()
	add := w.adder(&found.Steps)
	stop := w.Recorder.listen(first, w.at(), add)
	found.err = w.reach(ctx, way, add)
	stop()
	if found.err != nil {
		add(w.failed(found.err))
	}
	return found
}

func (w *Walk) reach(ctx context.Context, way proxy.Way, add func(Step)) error {
	switch {
	case w.Edge != nil:
		return w.Client(way).Reach(ctx)
	case len(way.Hops) > 0:
		return way.Hops[len(way.Hops)-1].Reach(ctx)
	}
	return nil
}

func (w *Walk) waiting(step string) (done func()) {
	if w.Teller == nil {
		return func() {}
	}
	return w.Teller.Waiting(step)
}

// adder returns what adds steps to a list, explains them and tells of them.
func (w *Walk) adder(to *[]Step) func(Step) {
	return func(s Step) {
		if w.Explain != nil && s.State != OK {
			s.Hint, s.Ask = w.Explain(s)
		}
		*to = append(*to, s)
		if w.Teller != nil {
			w.Teller.Step(s)
		}
	}
}

// at is what steps at the edge are told to be at.
func (w *Walk) at() string {
	if w.Edge == nil {
		return ""
	}
	return w.Edge.Scheme + "://" + edge.Host(w.Edge)
}

// walkOn goes on behind a way that leads to the edge.
func (w *Walk) walkOn(ctx context.Context, way proxy.Way) ([]Step, error) {
	var steps []Step
	add := w.adder(&steps)
	header, err := w.ask(ctx, way, add)
	if w.Destination != "" {
		refused := err
		err = w.connect(ctx, way, refused, add)
		if refused != nil && signIn(err) {
			err = refused // it says more
		}
	}
	add(w.udp(ctx, way, header.Get("Alt-Svc")))
	if w.Speed {
		w.speed(ctx, way, add)
	}
	if w.Idle > 0 {
		add(w.idle(ctx, way))
	}
	return steps, err
}

// stopped tells what can be told when no way leads to the edge.
func (w *Walk) stopped(ctx context.Context) []Step {
	var steps []Step
	if w.Edge == nil {
		return nil
	}
	add := w.adder(&steps)
	add(Step{Name: StepAnswer, State: Skipped, At: w.at()})
	token, err := w.Tokens.Current(ctx)
	if err != nil {
		add(w.failedAt(StepToken, err))
		return steps
	}
	add(Step{Name: StepToken, State: Skipped, At: w.at(), Token: w.whose(token)})
	return steps
}

// whose is what a token is called.
func (w *Walk) whose(token string) string {
	if token == "" {
		return "none"
	}
	return w.Who
}

// ask asks the edge what it thinks of the token.
func (w *Walk) ask(ctx context.Context, way proxy.Way, add func(Step)) (http.Header, error) {
	defer w.waiting(StepAnswer)()
	there := &proxy.Transport{Selector: only(way), TLS: w.TLS}
	defer there.CloseIdleConnections()
	token, err := w.Tokens.Current(ctx)
	if err != nil {
		add(w.failedAt(StepToken, err))
		return nil, err
	}
	start := time.Now()
	header, err := login.Ask(ctx, w.Edge, there, token)
	answered := Step{Name: StepAnswer, State: OK, At: w.at(), Status: http.StatusOK}
	answered.took(time.Since(start))
	if err != nil && !signIn(err) {
		add(w.failedAt(StepAnswer, err))
		return header, err
	}
	add(answered)
	if err != nil {
		var newer string
		if newer, err = w.Tokens.Renew(ctx, token); err == nil {
			token = newer
			_, err = login.Ask(ctx, w.Edge, there, token)
		}
	}
	known := Step{Name: StepToken, State: OK, At: w.at(), Token: w.Who}
	if err != nil {
		known = w.failedAt(StepToken, err)
	}
	known.Token = w.whose(token)
	add(known)
	return header, err
}

// connect opens a tunnel to the destination, and closes it at once.
func (w *Walk) connect(ctx context.Context, way proxy.Way, refused error, add func(Step)) error {
	defer w.waiting(StepDestination)()
	client := w.Client(way)
	defer client.Close()
	step := Step{Name: StepDestination, State: OK, At: w.at(), Status: http.StatusOK}
	stop := w.Recorder.listen(w.at(), w.at(), func(s Step) {
		switch s.Name {
		case StepDestination:
			step.Protocol = s.Protocol
		case StepWarning: // the steps of the way have been told
			add(s)
		}
	})
	start := time.Now()
	stream, err := client.Connect(ctx, w.Destination)
	stop()
	switch {
	case err == nil:
		stream.Close()
	case refused != nil && signIn(err): // the edge knows the route: it asks nobody to sign in for another
		step = w.failedAt(StepDestination, err)
		step.State = Note
	default:
		step = w.failedAt(StepDestination, err)
	}
	step.Target = w.Destination
	step.took(time.Since(start))
	add(step)
	return err
}

// only selects one way for everything.
type only proxy.Way

// Ways implements proxy.Selector.
func (o only) Ways(context.Context, *url.URL) ([]proxy.Way, error) {
	return []proxy.Way{proxy.Way(o)}, nil
}

// signIn reports whether the edge has said that it wants a sign-in.
func signIn(err error) bool {
	var answer *edge.AnswerError
	return errors.As(err, &answer) && answer.SignIn()
}
