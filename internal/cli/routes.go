package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/portal"
)

func (p *program) routes() *cobra.Command {
	cmd := parent("routes", "The routes that you may use at a Pomerium server")
	cmd.AddCommand(p.listRoutes(), p.connectRoute())
	return cmd
}

const routesLong = `List the routes that a Pomerium server publishes for you.

The list is the server's guess: a route in it may still be refused, and one that
is missing may work. Words after the URL, or in place of it, choose the routes
that have all of them in name, address or description.`

func (p *program) listRoutes() *cobra.Command {
	var f reachFlags
	var asJSON bool
	var kinds []string
	cmd := &cobra.Command{
		Use:   "list [server-url] [word...] [flags]",
		Short: "List the routes that you may use",
		Long:  routesLong,
		Example: `  pomerium-cli routes list https://pomerium.example.com
  pomerium-cli routes list --type tcp postgres
  pomerium-cli routes list --json | jq -r '.[].from'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkKinds(kinds); err != nil {
				return err
			}
			server, words, err := p.serverAndWords(cmd, args)
			if err != nil {
				return err
			}
			q, err := p.inquire(cmd, f, server)
			if err != nil {
				return err
			}
			defer q.Close()
			routes, err := q.routes(cmd.Context())
			if err != nil {
				return err
			}
			p.rememberServer(server)
			all := len(routes)
			routes = slices.DeleteFunc(routes, func(r portal.Route) bool {
				return !r.Matches(words) || len(kinds) > 0 && !slices.Contains(kinds, r.Type)
			})
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(routes)
			}
			if len(routes) == 0 {
				p.ui().Notice("no route fits: " + edge.Host(server) + " lists " + plural(all, "route") + " for you")
			}
			return printRoutes(cmd.OutOrStdout(), routes)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON array")
	cmd.Flags().StringSliceVar(&kinds, "type", nil, "only routes of these `types`: "+strings.Join(routeTypes, ", "))
	return cmd
}

// routeTypes are those that a server tells.
var routeTypes = []string{"tcp", "udp", "http", "mcp"}

func checkKinds(kinds []string) error {
	for _, k := range kinds {
		if !slices.Contains(routeTypes, k) {
			return usagef("--type %q: not one of %s", k, strings.Join(routeTypes, ", "))
		}
	}
	return nil
}

// routes asks for the list.
func (q *inquiry) routes(ctx context.Context) (routes []portal.Route, err error) {
	_, err = q.ask(ctx, func(token string) error {
		routes, err = portal.List(ctx, q.server, q.way, token)
		return err
	})
	return routes, err
}

// serverAndWords tells a server's URL from the words behind it. That of a server
// among the words is a slip, which would ask another one.
func (p *program) serverAndWords(cmd *cobra.Command, args []string) (server *url.URL, words []string, err error) {
	n := 0
	if len(args) > 0 && strings.Contains(args[0], "://") {
		n = 1
	}
	for _, word := range args[n:] {
		if u, err := edge.ParseURL(word); err == nil {
			return nil, nil, usagef("%s: the URL of a server goes before the words", shownURL(u))
		}
	}
	server, err = p.server(cmd, args[:n])
	return server, args[n:], err
}

// printRoutes prints as the existing client does: scripts read it.
func printRoutes(out io.Writer, routes []portal.Route) error {
	var b strings.Builder
	for _, r := range routes {
		fmt.Fprintf(&b, "Route %s\nid: %s\ntype: %s\nfrom: %s\ndescription: %s\n",
			oneLine(r.Name), oneLine(r.ID), oneLine(r.Type), oneLine(r.From), oneLine(r.Description))
		if r.ConnectCommand != "" {
			fmt.Fprintf(&b, "connect_command: %s\n", oneLine(r.ConnectCommand))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
