package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pomerium/pomerium-cli/internal/listen"
	"github.com/pomerium/pomerium-cli/internal/login"
	"github.com/pomerium/pomerium-cli/proxy"
)

// Defaults that help shows.
const (
	defaultListen         = "127.0.0.1:0"
	defaultMaxConnections = 16
	defaultKeepAlive      = 20 * time.Second
	defaultConnectTimeout = 15 * time.Second
)

// tcpFlags are the flags of the command tcp, as they were given. check has all
// but the first.
type tcpFlags struct {
	listen      []string
	pomeriumURL string
	reachFlags
	carriageFlags
}

// reachFlags are those of every command that asks an edge for something.
type reachFlags struct {
	wayFlags
	serverFlags
	askerFlags
}

// wayFlags say how connections leave this machine.
type wayFlags struct {
	forwardProxy       []string
	preProxy           []string
	forwardProxyCAPath string
	forwardProxyAuth   string
	forwardProxySPN    string
	forwardProxyHeader []string
	forwardProxyLogin  string
	save               bool
	forwardProxyCert   string
	forwardProxyKey    string
	forwardProxyName   string
	connectTimeout     time.Duration
}

// serverFlags say what the server has to show, and what it is shown.
type serverFlags struct {
	caPath     string
	caBase64   string
	insecure   bool
	clientCert string
	clientKey  string
}

// askerFlags say who is asking.
type askerFlags struct {
	serviceAccount     string
	serviceAccountFile string
	signInFlags
}

// carriageFlags say how tunnels are carried.
type carriageFlags struct {
	protocol       string
	maxConnections int
	keepAlive      time.Duration
}

// add defines the flags on a command, under the headings that help prints.
func (f *tcpFlags) add(cmd *cobra.Command) {
	under(cmd, "The tunnel", func(s *pflag.FlagSet) {
		s.StringArrayVar(&f.listen, "listen", nil, "local `address`: host:port, :port, unix:/path, or - for standard input and output;\nrepeat it, in order, for several destinations (default "+defaultListen+": a free port)")
	})
	f.addWay(cmd)
}

// addWay defines those that say where to and how, and nothing of local ends.
func (f *tcpFlags) addWay(cmd *cobra.Command) {
	under(cmd, "The tunnel", func(s *pflag.FlagSet) {
		s.StringVar(&f.pomeriumURL, "pomerium-url", "", "`URL` of the Pomerium server (default $POMERIUM_URL, or the destination's host)")
	})
	f.wayFlags.add(cmd)
	f.serverFlags.add(cmd)
	f.carriageFlags.add(cmd)
	f.askerFlags.add(cmd)
}

// add defines the flags. Help does not repeat them for each command.
func (f *reachFlags) add(cmd *cobra.Command) {
	f.wayFlags.add(cmd)
	f.serverFlags.add(cmd)
	f.askerFlags.add(cmd)
	brief(cmd)
}

func (f *wayFlags) add(cmd *cobra.Command) {
	under(cmd, "The way out", func(s *pflag.FlagSet) {
		s.StringArrayVar(&f.forwardProxy, "forward-proxy", nil, "`URL` of the proxy that every connection goes through: http, https, socks5 or socks5h,\nwith user:password@ if it asks for them (else $POMERIUM_FORWARD_PROXY_USER and\n$POMERIUM_FORWARD_PROXY_PASSWORD); or direct, for none;\nor system, for what the desktop's settings say;\nor the script that chooses: pac+https://host/proxy.pac, pac+http, pac+file, pac+data;\nrepeat it for alternatives: the next is taken where one cannot be reached\n(default: $POMERIUM_FORWARD_PROXY, with spaces between several; else HTTPS_PROXY,\nHTTP_PROXY, ALL_PROXY and NO_PROXY)")
		s.StringArrayVar(&f.preProxy, "pre-proxy", nil, "`URL` of a proxy through which the forward proxy is reached; repeat it for a chain:\nthe first is the nearest to this machine")
		s.StringVar(&f.forwardProxyCAPath, "forward-proxy-ca-path", "", "PEM `file` of a CA to trust, besides the system's, for an https proxy")
		s.StringVar(&f.forwardProxyName, "forward-proxy-tls-server-name", "", "`name` that the certificate of an https proxy has to have (default: the proxy's host)")
		s.StringVar(&f.forwardProxyCert, "forward-proxy-client-cert", "", "PEM `file` of the certificate to show to an https proxy")
		s.StringVar(&f.forwardProxyKey, "forward-proxy-client-key", "", "PEM `file` of that certificate's key")
		s.StringArrayVar(&f.forwardProxyHeader, "forward-proxy-header", nil, "`header` to add to what an HTTP proxy is asked, as 'Name: value'; repeatable")
		s.StringVar(&f.forwardProxyLogin, "forward-proxy-credentials-file", "", "`file` with one line user:password, as they are, for a proxy without a user in its URL;\nno other user of this machine may be able to read it")
		s.BoolVar(&f.save, "save", false, "keep the user and password that are typed for a proxy in the system's keyring, once the\nproxy has accepted them; the next run takes them from there")
		s.StringVar(&f.forwardProxyAuth, "forward-proxy-auth", "", "authentication `schemes` to insist on, separated by commas: "+strings.Join(proxy.AuthSchemes(), ", ")+"\n(default: the strongest that the proxy offers; one alone goes out without being asked for, which saves a round trip)")
		s.StringVar(&f.forwardProxySPN, "forward-proxy-spn", "", "service `name` of the proxy for negotiate (default HTTP/ and the proxy's host)")
		s.DurationVar(&f.connectTimeout, "connect-timeout", defaultConnectTimeout, "longest `time` that each hop may take to answer")
	})
}

func (f *serverFlags) add(cmd *cobra.Command) {
	under(cmd, "The server", func(s *pflag.FlagSet) {
		s.StringVar(&f.caPath, "alternate-ca-path", "", "PEM `file` of a CA to trust, besides the system's, for the Pomerium server")
		s.StringVar(&f.caBase64, "ca-cert", "", "the same as `base64` text of a PEM file")
		s.BoolVar(&f.insecure, "disable-tls-verification", false, "do not verify the Pomerium server's certificate (anyone on the way can read along)")
		s.StringVar(&f.clientCert, "client-cert", "", "PEM `file` of the certificate to show to the Pomerium server")
		s.StringVar(&f.clientKey, "client-key", "", "PEM `file` of that certificate's key")
	})
}

func (f *carriageFlags) add(cmd *cobra.Command) {
	under(cmd, "The server", func(s *pflag.FlagSet) {
		s.StringVar(&f.protocol, "protocol", "auto", "HTTP `version` to insist on: h1, h2, or auto for what the server picks")
		s.IntVar(&f.maxConnections, "max-connections", defaultMaxConnections, "`number` of tunnels with a connection of their own on HTTP/2; later ones share")
		s.DurationVar(&f.keepAlive, "keep-alive", defaultKeepAlive, "`time` of silence after which a ping keeps the path open and checks it; 0 for none")
	})
}

func (f *askerFlags) add(cmd *cobra.Command) {
	under(cmd, "Who is asking", func(s *pflag.FlagSet) {
		s.StringVar(&f.serviceAccount, "service-account", "", "service account `JWT` (default $POMERIUM_SERVICE_ACCOUNT); other users of this\nmachine can see it on the command line: the file is better")
		s.StringVar(&f.serviceAccountFile, "service-account-file", "", "`file` with a service account JWT (default $POMERIUM_SERVICE_ACCOUNT_FILE)")
		f.signInFlags.add(s)
	})
}

// under defines flags with a heading of help.
func under(cmd *cobra.Command, title string, define func(*pflag.FlagSet)) {
	s := pflag.NewFlagSet(title, pflag.ContinueOnError)
	s.SortFlags = false
	define(s)
	s.VisitAll(func(f *pflag.Flag) { f.Annotations = map[string][]string{groupKey: {title}} })
	cmd.Flags().SortFlags = false
	cmd.Flags().AddFlagSet(s)
}

// check refuses values that no run could use.
func (f *carriageFlags) check() error {
	switch f.protocol {
	case "auto", "h1", "h2":
	case "h3":
		return &Refusal{What: "flag --protocol h3", Reason: notYet, Instead: "leave --protocol out, or say h2"}
	default:
		return usagef("--protocol %q: not auto, h1 or h2", f.protocol)
	}
	if f.maxConnections < 1 {
		return usagef("--max-connections %d: less than 1", f.maxConnections)
	}
	if f.keepAlive < 0 {
		return usagef("--keep-alive %s: less than 0", f.keepAlive)
	}
	return nil
}

// findAccount finds who is asking, if it is not a person: nil without a
// service account. A flag wins over the environment.
func (f *askerFlags) findAccount(cmd *cobra.Command, getenv func(string) string) (*login.ServiceAccount, error) {
	const text, file = "--service-account", "--service-account-file"
	const envText, envFile = "POMERIUM_SERVICE_ACCOUNT", "POMERIUM_SERVICE_ACCOUNT_FILE"
	hasText, hasFile := cmd.Flags().Changed(text[2:]), cmd.Flags().Changed(file[2:])
	switch {
	case hasText && hasFile:
		return nil, usagef("%s and %s: only one of them can be meant", text, file)
	case hasText:
		return checkAccount(text, f.serviceAccount, "")
	case hasFile:
		return checkAccount(file, "", f.serviceAccountFile)
	case getenv(envText) != "" && getenv(envFile) != "":
		return nil, usagef("%s and %s: only one of them can be meant", envText, envFile)
	case getenv(envText) != "":
		return checkAccount(envText, getenv(envText), "")
	case getenv(envFile) != "":
		return checkAccount(envFile, "", getenv(envFile))
	}
	return nil, nil
}

// checkAccount makes sure that there is a token now, rather than at the first
// connection. A file is read again later, because tokens are rotated.
func checkAccount(source, token, file string) (*login.ServiceAccount, error) {
	if token == "" && file == "" {
		return nil, usagef("%s: empty", source)
	}
	a := &login.ServiceAccount{Token: token, File: file}
	if _, err := a.Current(context.Background()); err != nil {
		return nil, usagef("%s: %w", source, err)
	}
	return a, nil
}

// listens gives each destination its local end.
func (f *tcpFlags) listens(destinations int) ([]string, error) {
	if len(f.listen) > destinations {
		return nil, usagef("--listen is given %d times for %s", len(f.listen), plural(destinations, "destination"))
	}
	specs := make([]string, destinations)
	for i := range specs {
		specs[i] = defaultListen
		if i < len(f.listen) {
			specs[i] = f.listen[i]
		}
		if specs[i] == "-" && destinations > 1 {
			return nil, usagef("--listen -: standard input and output serve one destination, not %d", destinations)
		}
		if err := listen.Check(specs[i]); err != nil {
			return nil, usagef("%w", err)
		}
	}
	return specs, nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
