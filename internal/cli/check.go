package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomerium/pomerium-cli/internal/check"
	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/internal/token"
	"github.com/pomerium/pomerium-cli/proxy"
	"github.com/pomerium/pomerium-cli/tunnel"
)

const checkLong = `Walk the whole way to a destination, and tell step by step what is so.

It tells which settings choose the way, and goes it: name, TCP, TLS, what each
forward proxy says of itself and asks for, the Pomerium server, the token, a
tunnel to the destination, UDP. Where it breaks it goes on with what can still be
tried, and says what helps and what to ask of those who run the network. Without
a destination it ends at the server, without a server at the forward proxy.

A tunnel is closed as soon as it is open: the destination sees a connection, and
no byte. No browser opens, and nothing is changed. What is printed has no user
name, password or token in it, so that it can be shown to others; names and
addresses of machines it has.`

const checkExample = `  pomerium-cli check db.internal:5432 --pomerium-url https://pomerium.example.com
  pomerium-cli check db.internal:5432 --forward-proxy http://proxy.internal:3128 --json

  # after how long a silence does something cut connections? (4 minutes)
  pomerium-cli check --pomerium-url https://pomerium.example.com --idle`

// checkFlags are the flags of the command check, as they were given.
type checkFlags struct {
	tcpFlags
	json   bool
	signIn bool
	speed  bool
	idle   time.Duration
}

func (p *program) check() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:     "check [destination] [flags]",
		Short:   "Walk the way to a destination, and tell where it breaks",
		Long:    checkLong,
		Example: checkExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := f.plan(cmd, p.Getenv, func() ([]route, error) { return f.route(args, p.Getenv) })
			if err != nil {
				return err
			}
			if f.idle < 0 || f.idle > check.MaxIdle || cmd.Flags().Changed("idle") && f.idle < time.Second {
				return usagef("--idle %s: not from 1s to %s; the server itself closes what is silent for 5 minutes", f.idle, check.MaxIdle)
			}
			return p.runCheck(cmd.Context(), cmd.OutOrStdout(), plan, f)
		},
	}
	under(cmd, "The check", func(s *pflag.FlagSet) {
		s.BoolVar(&f.json, "json", false, "print one JSON document, for machines")
		s.BoolVar(&f.signIn, "sign-in", false, "sign in with a browser if the server wants that")
		s.BoolVar(&f.speed, "speed", false, "time 20 round trips to the server, and how fast bytes come from it")
		s.DurationVar(&f.idle, "idle", 0, "leave connections silent, for this `time` at most, to see whether something cuts them")
		s.Lookup("idle").NoOptDefVal = "4m0s"
	})
	f.addWay(cmd)
	return cmd
}

// route is the one that is checked, or none. Nobody listens for it.
func (f *checkFlags) route(args []string, getenv func(string) string) ([]route, error) {
	var r route
	var err error
	switch {
	case len(args) > 1:
		return nil, &usageError{command: "pomerium-cli check", err: errors.New("one destination at a time")}
	case len(args) > 0:
		r.destination, r.edge, err = f.destination(args[0], getenv)
	case f.pomeriumURL != "":
		r.edge, err = edge.ParseURL(f.pomeriumURL)
	case getenv(envURL) != "":
		if r.edge, err = edge.ParseServer(getenv(envURL)); err != nil {
			return nil, usagef(envURL+": %w", err)
		}
	default:
		return nil, nil
	}
	if err != nil {
		return nil, usagef("%w", err)
	}
	return []route{r}, nil
}

// anyServer is what ways are chosen for where no server is given. Nobody dials
// it.
var anyServer = &url.URL{Scheme: "https", Host: "pomerium.example.com:443"}

// runCheck walks and tells. The error has been told then, unless nothing was
// walked.
func (p *program) runCheck(ctx context.Context, out io.Writer, plan *plan, f checkFlags) error {
	var r route
	server := anyServer
	if len(plan.routes) > 0 {
		r = plan.routes[0]
		server = r.edge
	}
	recorder := &check.Recorder{Next: p.ui().log.Handler()}
	own := p.ui()
	screen := &ui{out: own.out, json: own.json, log: slog.New(recorder), paint: own.paint, live: own.live}
	parts := newParts(plan, screen)
	parts.logins = newLogins(p, plan.save)
	defer parts.Close()
	if plan.insecure {
		own.Notice(insecureNotice)
	}

	teller := newCheckTeller(p, screen, out, f)
	report := &check.Report{Format: check.Format, Program: thisBuild().Version, Destination: r.destination, Ways: []check.Way{}, Steps: []check.Step{}}
	if r.edge != nil {
		report.Edge = shownURL(r.edge)
	}
	ways, err := parts.ways(ctx, server)
	if is[*proxy.SettingError](err) {
		return usagef("%w", err)
	}
	report.Settings = plan.out.settings(plan.getenv, server, ways)
	teller.begin(report)
	if err != nil {
		report.Steps = []check.Step{{Name: check.StepScript, State: check.Failed, Error: err.Error(), Hint: hintFor(err), Err: err}}
		teller.Step(report.Steps[0])
	} else {
		walk, werr := parts.walk(r, ways, f)
		if werr != nil {
			return werr
		}
		walk.Recorder, walk.Teller = recorder, teller
		var steps []check.Step
		report.Ways, steps, err = walk.Run(ctx)
		report.Steps = append(report.Steps, steps...)
	}
	if ctx.Err() != nil {
		return errStopped
	}
	report.OK = err == nil
	if err != nil {
		report.Exit, report.Error = exitCode(err), err.Error()
	}
	if werr := teller.end(report); werr != nil {
		return werr
	}
	if err != nil {
		return &toldError{err}
	}
	return nil
}

// ways are those to a server in the order in which they were named, the dead
// ones in their places.
func (w *parts) ways(ctx context.Context, server *url.URL) ([]proxy.Way, error) {
	s, err := w.plan.out.selector(w.plan.getenv, w.proxyConfig())
	if err != nil {
		return nil, err
	}
	return s.Ways(ctx, server)
}

// walk makes the walk of a route.
func (w *parts) walk(r route, ways []proxy.Way, f checkFlags) (*check.Walk, error) {
	walk := &check.Walk{Ways: ways, Edge: r.edge, Destination: r.destination, TLS: w.edgeTLS(), Explain: explain, Idle: f.idle, Speed: f.speed}
	if len(ways) > 1 {
		walk.Dead = newDeadWays(w.ui.log).Dead
	}
	if r.edge == nil {
		return walk, nil
	}
	s, err := w.selector()
	if err != nil {
		return nil, err
	}
	walk.Tokens, walk.Who = w.tokens(r.edge, &proxy.Transport{Selector: s, TLS: w.edgeTLS()}), "kept"
	switch {
	case w.plan.account != nil:
		walk.Who = "service-account"
	case !f.signIn:
		walk.Tokens = kept{w.tokenStore(), token.Key(r.edge), edge.Host(r.edge)}
	}
	walk.Tokens = opened{walk.Tokens, w.openStore}
	walk.Client = func(way proxy.Way) *tunnel.Client { return w.client(r.edge, way.DialContext, walk.Tokens) }
	return walk, nil
}

// opened are tokens of a store that has to be opened first.
type opened struct {
	tunnel.Tokens
	open func(context.Context) error
}

// Current implements tunnel.Tokens.
func (o opened) Current(ctx context.Context) (string, error) {
	if err := o.open(ctx); err != nil {
		return "", err
	}
	return o.Tokens.Current(ctx)
}

// kept are the tokens that are there already: nobody is asked to sign in, and
// none is dropped.
type kept struct {
	store     login.Store
	key, edge string
}

var (
	errNoToken  = errors.New("none is kept on this machine")
	errOldToken = errors.New("the one that is kept is not taken any more")
	// errSpoilt does not name the file: its path may have the user's name in it.
	errSpoilt = fmt.Errorf("%w that can be read", errNoToken)
)

// Current implements tunnel.Tokens. A token that cannot be read is none: Renew
// says so.
func (k kept) Current(ctx context.Context) (string, error) {
	token, _ := k.store.Load(ctx, k.key)
	return token, nil
}

// Renew implements tunnel.Tokens.
func (k kept) Renew(ctx context.Context, rejected string) (string, error) {
	why := errOldToken
	if rejected == "" {
		why = errNoToken
		if _, err := k.store.Load(ctx, k.key); err != nil {
			why = errSpoilt
		}
	}
	return "", &login.Error{Op: "token for " + k.edge, Err: why}
}

// encode writes the report for machines.
func encode(w io.Writer, report *check.Report) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
