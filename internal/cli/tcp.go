package cli

import (
	"context"
	"net"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/listen"
)

const tcpLong = `Open TCP tunnels to destinations behind Pomerium.

Each destination gets a local address; what connects there is joined to a tunnel
of its own. A destination is host:port, tcp://host:port, tcp+https://host:port,
or tcp+https://edge/host:port as Pomerium's portal prints it. The program runs
until it is stopped: Ctrl-C gives running tunnels two seconds, a second one none.`

const tcpExample = `  # PostgreSQL on a port of this machine, through the forward proxy
  pomerium-cli tcp db.internal:5432 --listen 127.0.0.1:5432 \
    --pomerium-url https://pomerium.example.com --forward-proxy http://proxy.internal:3128

  # ssh, one tunnel for each connection
  ssh -o ProxyCommand="pomerium-cli tcp --listen - %h:%p" server.example.com

  # two destinations at once
  pomerium-cli tcp db.internal:5432 cache.internal:6379 \
    --listen 127.0.0.1:5432 --listen unix:/tmp/cache.sock

  # without a person: a service account, and messages for a machine
  POMERIUM_SERVICE_ACCOUNT_FILE=/run/secrets/token pomerium-cli tcp db.internal:5432 --log-format json`

func (p *program) tcp() *cobra.Command {
	var f tcpFlags
	cmd := &cobra.Command{
		Use:     "tcp destination... [flags]",
		Short:   "Open TCP tunnels to destinations behind Pomerium",
		Long:    tcpLong,
		Example: tcpExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := f.check(cmd, args, p.Getenv)
			if err != nil {
				return err
			}
			return p.runTCP(cmd.Context(), plan)
		},
	}
	f.add(cmd)
	return cmd
}

const insecureNotice = "--disable-tls-verification: whoever is on the way to the edge can read and change everything"

// runTCP runs a plan until ctx ends, or until its one tunnel does.
func (p *program) runTCP(ctx context.Context, plan *plan) error {
	parts := newParts(plan, p.ui())
	parts.logins = newLogins(p, plan.save)
	defer parts.Close()
	if plan.insecure {
		p.ui().Notice(insecureNotice)
	}
	if listen.IsStdio(plan.routes[0].listen) {
		return p.runStdio(ctx, parts, plan.routes[0])
	}
	listeners, err := openAll(plan.routes)
	if err != nil {
		return err
	}
	parts.own.set(listeners)
	several := len(listeners) > 1
	return parts.serve(ctx, listeners, func(addr net.Addr, r route) { p.announce(addr, r.destination, several) })
}

// runStdio serves standard input and output, which carry tunnel bytes alone.
func (p *program) runStdio(ctx context.Context, parts *parts, r route) error {
	local, err := listen.NewStdio(p.Stdin, p.Stdout)
	if err != nil {
		return err
	}
	server := &listen.Server{Connect: parts.connector(r), Log: p.ui().log}
	return server.Join(ctx, local)
}

// openAll opens the local ends of all routes, or none.
func openAll(routes []route) ([]net.Listener, error) {
	listeners := make([]net.Listener, 0, len(routes))
	for _, r := range routes {
		ln, err := listen.Open(r.listen)
		if err != nil {
			for _, ln := range listeners {
				_ = ln.Close()
			}
			return nil, err
		}
		listeners = append(listeners, ln)
	}
	return listeners, nil
}

// announce tells where to connect, and warns where others can as well.
func (p *program) announce(addr net.Addr, destination string, several bool) {
	name := addr.String()
	if addr.Network() == "unix" {
		name = "unix:" + name
	}
	if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		p.ui().Notice(name + " is open to other machines: whoever reaches it uses the tunnel in your name")
	}
	p.ui().Listening(name, destination, several)
}
