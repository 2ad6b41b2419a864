package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/portal"
)

const connectLong = `Choose one of the routes that you may use, and open a tunnel to it.

Words choose as with routes list: where one TCP route is left, it is opened.
Otherwise the list is shown on the terminal: a number opens a tunnel, words make
the list shorter, and an empty line shows all of it again.`

// connectFlags are those of routes connect.
type connectFlags struct {
	reachFlags
	carriageFlags
	listen string
}

func (p *program) connectRoute() *cobra.Command {
	var f connectFlags
	cmd := &cobra.Command{
		Use:   "connect [server-url] [word...] [flags]",
		Short: "Choose a route, and open a tunnel to it",
		Long:  connectLong,
		Example: `  pomerium-cli routes connect https://pomerium.example.com
  pomerium-cli routes connect orders database --listen 127.0.0.1:5432`,
		RunE: func(cmd *cobra.Command, args []string) error {
			server, words, err := p.serverAndWords(cmd, args)
			if err != nil {
				return err
			}
			t := tcpFlags{reachFlags: f.reachFlags, carriageFlags: f.carriageFlags, listen: []string{f.listen}}
			if _, err := t.listens(1); err != nil { // before anybody chooses
				return err
			}
			plan, err := t.plan(cmd, p.Getenv, func() ([]route, error) { return nil, nil })
			if err != nil {
				return err
			}
			q, err := p.inquiry(cmd.Context(), plan, server)
			if err != nil {
				return err
			}
			defer q.Close()
			all, err := q.routes(cmd.Context())
			if err != nil {
				return err
			}
			p.rememberServer(server)
			chosen, err := q.choose(cmd.Context(), all, words)
			if err != nil {
				return err
			}
			if plan.routes, err = routeTo(chosen, server, f.listen); err != nil {
				return err
			}
			if err := plan.checkWays(cmd.Context()); err != nil {
				return err
			}
			return p.runTCP(cmd.Context(), plan)
		},
	}
	f.reachFlags.add(cmd)
	f.carriageFlags.add(cmd)
	under(cmd, "The tunnel", func(s *pflag.FlagSet) {
		s.StringVar(&f.listen, "listen", defaultListen, "local `address`: host:port, :port or unix:/path")
	})
	return cmd
}

// routeTo is what a tunnel to a route of the list needs.
func routeTo(r portal.Route, server *url.URL, listen string) ([]route, error) {
	addr, _, err := edge.ParseDestination(r.From, "")
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Name, err)
	}
	return []route{{destination: addr, edge: server, listen: listen}}, nil
}

var (
	errNoRoute   = errors.New("no TCP route that you may use has these words")
	errManyRoute = errors.New("there are several TCP routes to choose from, and nobody sits at a terminal")
)

// choose has words, and then a person, choose a TCP route.
func (q *inquiry) choose(ctx context.Context, all []portal.Route, words []string) (portal.Route, error) {
	for {
		shown, tcp := matching(all, words)
		switch {
		case len(tcp) == 1 && len(words) > 0:
			return tcp[0], nil
		case !q.parts.logins.person() && len(tcp) == 0, len(words) == 0 && len(tcp) == 0:
			return portal.Route{}, errNoRoute
		case !q.parts.logins.person():
			return portal.Route{}, errManyRoute
		}
		if len(shown) == 0 {
			shown = []string{"no route has these words; an empty line shows all"}
		}
		if err := q.parts.logins.terminal.Say(shown...); err != nil {
			return portal.Route{}, err
		}
		line, err := q.parts.logins.terminal.Ask(ctx, "number, or words to search for: ", false)
		if err != nil {
			if ctx.Err() != nil {
				err = errStopped
			}
			return portal.Route{}, err
		}
		words = strings.Fields(line)
		if len(words) != 1 {
			continue
		}
		if n, err := strconv.Atoi(words[0]); err == nil && n > 0 && n <= len(tcp) {
			return tcp[n-1], nil
		}
	}
}

// matching returns the routes that have all words: as lines, and those that a
// tunnel can be opened to, which have a number.
func matching(all []portal.Route, words []string) (lines []string, tcp []portal.Route) {
	for _, r := range all {
		if !r.Matches(words) {
			continue
		}
		number := ""
		if r.Type == "tcp" {
			tcp = append(tcp, r)
			number = strconv.Itoa(len(tcp))
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%4s  %-4s  %-20s  %s  %s", number,
			oneLine(r.Type), oneLine(r.Name), oneLine(r.From), oneLine(r.Description)), " "))
	}
	return lines, tcp
}
