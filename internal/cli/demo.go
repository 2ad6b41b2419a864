package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pomerium/pomerium-cli/internal/lab"
	"github.com/pomerium/pomerium-cli/internal/token"
	"github.com/pomerium/pomerium-cli/proxy"
)

const demoLong = `Show a tunnel through a forward proxy, all on this machine.

It starts an edge, forward proxies, a sign-in page and a few destinations on
loopback, opens tunnels through the proxy with the code that the command tcp
runs, sends traffic, and shows each hop with its time. The edge's name resolves
in the proxy alone. Nothing is kept, and no browser opens.`

// The destinations of the lab that the demo opens tunnels to, in this order.
const (
	demoEcho      = "echo.lab:7"
	demoHalfClose = "half-close.lab:1"
	demoBulk      = "bulk-64m.lab:1"
	demoBulkSize  = 64 << 20
)

func (p *program) demo() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a tunnel through a forward proxy, all on this machine",
		Long:  demoLong,
		Example: `  pomerium-cli demo
  pomerium-cli demo --keep`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.runDemo(cmd.Context(), cmd.OutOrStdout(), keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "stay up afterwards, for other terminals to use, until Ctrl-C")
	return cmd
}

func (p *program) runDemo(ctx context.Context, out io.Writer, keep bool) error {
	l, err := lab.Start(lab.Config{LocalCallback: keep})
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = l.Close() }()
	dir, err := os.MkdirTemp("", "pomerium-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	live := isTerminal(p.Stdout) && p.Getenv("TERM") != "dumb" && p.Getenv("NO_COLOR") == ""
	d := &demo{lab: l, dir: dir, proxy: l.ProxyURL("http"), story: &story{w: out, paint: painter(live)}}
	if err := d.run(ctx, p); err != nil {
		if ctx.Err() != nil {
			return errStopped
		}
		return fmt.Errorf("demo: %w", err)
	}
	if !keep {
		return nil
	}
	if err := d.tellKeep(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	<-ctx.Done()
	return errStopped
}

// demo is one run of the command demo.
type demo struct {
	lab   *lab.Lab
	story *story
	dir   string
	proxy string
	addrs []net.Addr // our listeners, one for each destination
}

// run tells the whole story.
func (d *demo) run(ctx context.Context, p *program) error {
	ctx, stop := context.WithCancel(ctx)
	served, err := d.open(ctx, p)
	if err != nil {
		stop()
		return err
	}
	defer func() { stop(); <-served }()

	d.say()
	for i, chapter := range []struct {
		title string
		tell  func(context.Context) error
	}{
		{"A program connects to " + d.addrs[0].String() + ": the first tunnel, with a sign-in on the way", d.echo},
		{"Another one: its tunnel uses what is there already", d.again},
		{"A program ends its request and waits: the answer still comes", d.halfClose},
		{"64 MiB", d.bulk},
		{"Nothing left beside the proxy", d.proof},
	} {
		d.story.step(i+1, chapter.title)
		if err := chapter.tell(ctx); err != nil {
			return err
		}
	}
	d.story.say("\nThe same on a network of yours:\n")
	d.story.say("  pomerium-cli tcp db.internal:5432 --listen 127.0.0.1:5432 \\\n" +
		"    --pomerium-url https://pomerium.example.com --forward-proxy http://proxy.internal:3128")
	return nil
}

// open runs the command tcp, as a user would start it, with two differences:
// the token is kept in memory, and the lab presses the button in place of a
// browser. The channel closes when it has ended.
func (d *demo) open(ctx context.Context, p *program) (served <-chan struct{}, err error) {
	ca, err := d.keepFile("edge-ca.pem", d.lab.CAPEM())
	if err != nil {
		return nil, err
	}
	plan, err := planFor(ctx, []string{demoEcho, demoHalfClose, demoBulk,
		"--pomerium-url", d.lab.EdgeURL().String(), "--forward-proxy", d.proxy, "--alternate-ca-path", ca})
	if err != nil {
		return nil, err
	}
	screen := &ui{out: &lockedWriter{w: p.Stderr}, log: slog.New(d.story), paint: d.story.paint}
	parts := newParts(plan, screen)
	parts.store = &token.Memory{}
	parts.notify = func(string) {} // the person at the screen is not asked
	parts.browser = d.browse

	listeners, err := openAll(plan.routes)
	if err != nil {
		return nil, err
	}
	parts.own.set(listeners)
	for _, ln := range listeners {
		d.addrs = append(d.addrs, ln.Addr())
	}
	done := make(chan struct{})
	go func() { // joined by the caller, who receives from done
		defer close(done)
		defer parts.Close()
		_ = parts.serve(ctx, listeners, func(net.Addr, route) {})
	}()
	return done, nil
}

// planFor checks a command line of tcp. The environment has no say in it.
func planFor(ctx context.Context, args []string) (*plan, error) {
	var f tcpFlags
	cmd := &cobra.Command{Use: "tcp"}
	f.add(cmd)
	cmd.SetContext(ctx)
	if err := cmd.ParseFlags(args); err != nil {
		return nil, err
	}
	return f.check(cmd, cmd.Flags().Args(), func(string) string { return "" })
}

// browse is what happens in the browser: the person presses the button.
func (d *demo) browse(ctx context.Context, signIn string) error {
	d.story.good("a person signs in", "here the demo itself; else in a browser, at "+origin(signIn))
	return d.lab.Browse(ctx, signIn)
}

// origin is the beginning of a URL, without what is meant for one reader.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.Path
}

func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}

func (d *demo) say() {
	edge := d.lab.EdgeURL()
	s := d.story
	s.say("%s", s.paint.bold("A tunnel through a forward proxy, all on this machine"))
	s.say("")
	s.say("  a program -> pomerium-cli -> forward proxy -> edge -> %s", demoEcho)
	s.say("")
	s.say("  forward proxy  %s", d.proxy)
	s.say("  edge           %s  %s", edge, s.paint.dim("(a name that the proxy alone can resolve)"))
}

// echo sends a line and gets it back.
func (d *demo) echo(ctx context.Context) error {
	c, err := d.dial(ctx, 0)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return err
	}
	got := make([]byte, len("hello\n"))
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("reading the echo: %w", err)
	}
	start := time.Now()
	if _, err := c.Write(got); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("reading the echo: %w", err)
	}
	d.story.event(time.Since(start), "there and back through it all", fmt.Sprintf("%q", got))
	return nil
}

// again opens a second tunnel.
func (d *demo) again(ctx context.Context) error { return d.echo(ctx) }

// halfClose ends the request before the answer begins.
func (d *demo) halfClose(ctx context.Context) error {
	c, err := d.dial(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	const request = "how many bytes is this?"
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	if err := c.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	sum := sha256.Sum256([]byte(request))
	if want := lab.Digest(int64(len(request)), sum[:]); string(answer) != want {
		return fmt.Errorf("the answer is %q, want %q", answer, want)
	}
	d.story.good("answered after the end", shorten(strings.TrimSpace(string(answer)), 24))
	return nil
}

// bulk receives much, and compares it with what was sent.
func (d *demo) bulk(ctx context.Context) error {
	c, err := d.dial(ctx, 2)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	start := time.Now()
	got := sha256.New()
	n, err := io.Copy(got, c)
	took := time.Since(start)
	if err != nil {
		return fmt.Errorf("receiving: %w", err)
	}
	want := sha256.New()
	if _, err := io.Copy(want, lab.BulkReader(demoBulkSize)); err != nil {
		return err
	}
	if n != demoBulkSize || string(got.Sum(nil)) != string(want.Sum(nil)) {
		return fmt.Errorf("%d bytes of %d came, or others than were sent", n, demoBulkSize)
	}
	d.story.event(took, "received", fmt.Sprintf("%.0f MiB/s, the edge's and the proxy's work included", float64(n>>20)/took.Seconds()))
	d.story.good("every byte is the one sent", fmt.Sprintf("SHA-256 %x...", got.Sum(nil)[:8]))
	return nil
}

// directPatience bounds the lookup that is meant to fail.
const directPatience = 3 * time.Second

// proof tries the direct way, and counts.
func (d *demo) proof(ctx context.Context) error {
	c, err := proxy.Dialer{Timeout: directPatience}.DialContext(ctx, "tcp", d.lab.EdgeURL().Host)
	if err == nil {
		_ = c.Close()
		return errors.New("the edge can be reached without the proxy")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.story.good("a direct dial fails", oneLine(err.Error()))
	stats := d.lab.Stats()
	if stats.Direct != 0 {
		return fmt.Errorf("%s to the edge came from elsewhere than the proxy", plural(stats.Direct, "connection"))
	}
	tunnels := 0
	for _, n := range stats.Tunnels {
		tunnels += n
	}
	d.story.good("connections beside the proxy: 0", fmt.Sprintf("%s through the proxy: %s, %s",
		plural(stats.Connections, "connection"), plural(tunnels, "tunnel"), plural(stats.SignIns, "sign-in")))
	return nil
}

func (d *demo) dial(ctx context.Context, i int) (*net.TCPConn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", d.addrs[i].String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// tellKeep prints what another terminal needs.
func (d *demo) tellKeep() error {
	edgeCA := filepath.Join(d.dir, "edge-ca.pem")
	tokenFile, err := d.keepFile("token", []byte(d.lab.Token()+"\n"))
	if err != nil {
		return err
	}
	proxyCA, err := d.keepFile("proxy-ca.pem", d.lab.ProxyCAPEM())
	if err != nil {
		return err
	}
	s := d.story
	s.say("\n%s\n", s.paint.bold("It all stays up until Ctrl-C. In another terminal:"))
	s.say("  export HTTPS_PROXY=%s", d.proxy)
	s.say("  export POMERIUM_SERVICE_ACCOUNT_FILE=%s    %s", tokenFile, s.paint.dim("# leave it out to sign in with a browser"))
	s.say("  pomerium-cli tcp %s --listen 127.0.0.1:7007 \\\n    --pomerium-url %s --alternate-ca-path %s",
		demoEcho, d.lab.EdgeURL(), edgeCA)
	s.say("  nc 127.0.0.1 7007")
	s.say("\n%s\n", s.paint.bold("Other proxies, each for --forward-proxy:"))
	for _, kind := range []string{"http+password", "https", "https+password", "socks5", "socks5+password"} {
		ca := ""
		if strings.HasPrefix(kind, "https") {
			ca = " --forward-proxy-ca-path " + proxyCA
		}
		s.say("  '%s'%s", d.lab.ProxyURL(kind), ca)
	}
	s.say("\n%s\n", s.paint.bold("Destinations (bulk-<n>m.lab:1 sends n MiB, sink-<n>m.lab:1 takes n):"))
	for _, r := range d.lab.Routes() {
		s.say("  %-5s %-20s %s", r.Kind, r.Destination, s.paint.dim(r.Description))
	}
	return nil
}

// keepFile writes a file that only this user can read.
func (d *demo) keepFile(name string, data []byte) (string, error) {
	path := filepath.Join(d.dir, name)
	return path, os.WriteFile(path, data, 0o600)
}
