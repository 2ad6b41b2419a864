//go:build linux

package world

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

// The names of the edge, as its certificate and the forward proxies know it. The listeners differ in what they offer.
const (
	EdgeName = "edge.test"
	EdgeURL  = "https://edge.test:8443" // h2 and http/1.1
	EdgeH1   = "https://edge.test:8444" // http/1.1 only
	EdgeH2   = "https://edge.test:8445" // h2 only
	EdgeText = "http://edge.test:8080"  // plain text
)

type listener struct {
	Name, ALPN, Codec string
	Port              int
	MTLS              bool // clients have to show a certificate
}

var listeners = []listener{
	{Name: "auto", Port: 8443, Codec: "AUTO", ALPN: "h2, http/1.1"},
	{Name: "h1", Port: 8444, Codec: "HTTP1", ALPN: "http/1.1"},
	{Name: "h2", Port: 8445, Codec: "HTTP2", ALPN: "h2"},
	{Name: "mtls", Port: 8446, Codec: "AUTO", ALPN: "h2, http/1.1", MTLS: true},
	{Name: "text", Port: 8080, Codec: "AUTO"},
}

// Route is one tunnel route of the edge.
type Route struct {
	Name    string // the host:port that a client asks for
	Address string // where the edge dials, host:port
	UDP     bool   // a route for datagrams: a TCP tunnel to it is refused as the wrong kind
}

// Cluster is the route's name in a form that fits statistics.
func (r Route) Cluster() string { return strings.NewReplacer(":", "_", ".", "_").Replace(r.Name) }

// Envoy is the edge.
type Envoy struct {
	*Process
	host *Host
	conf string
}

//go:embed envoy.yaml.tmpl
var envoyConfig string

// EnvoyConfig is what an edge is told.
type EnvoyConfig struct {
	Server, Clients, Cluster  Authority // of its own certificate, of clients where it wants to see one, of the API server
	From                      []string  // addresses that it may be reached from: connections from others are counted and cut
	Authz, SignIn, Kubernetes string    // addresses of services on its host
	Routes                    []Route
}

// StartEnvoy starts an edge on a host.
func StartEnvoy(ctx context.Context, h *Host, c EnvoyConfig) (*Envoy, error) {
	conf := filepath.Join(h.dir, "envoy.yaml")
	f, err := os.Create(conf)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = template.Must(template.New("").Funcs(template.FuncMap{"endpoint": endpoint}).Parse(envoyConfig)).Execute(f, map[string]any{
		"Listeners": listeners, "Address": edgeAddr, "Name": EdgeName, "Cluster": KubernetesName,
		"AccessLog": filepath.Join(h.dir, "access.log"), "Config": c,
	})
	if err != nil {
		return nil, fmt.Errorf("writing the edge's configuration: %w", err)
	}
	e := &Envoy{host: h, conf: conf}
	return e, e.Start(ctx)
}

// Start starts Envoy again after Stop or Kill.
func (e *Envoy) Start(ctx context.Context) (err error) {
	cmd := exec.Command(envoyBinary(), "-c", e.conf, "--concurrency", "2", "--disable-hot-restart", "-l", "warning")
	e.Process, err = e.host.Launch(ctx, "envoy", net.JoinHostPort(edgeAddr, strconv.Itoa(listeners[len(listeners)-1].Port)), cmd)
	return err
}

// Stat sums the statistics of Envoy whose names match the regular expression.
func (e *Envoy) Stat(name string) (int, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return e.host.Dial(network, addr)
		},
	}}
	resp, err := client.Get("http://127.0.0.1:9901/stats")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^`+name+`: (\d+)$`).FindAllSubmatch(body, -1)
	if found == nil {
		return 0, fmt.Errorf("envoy has no statistic %s", name)
	}
	sum := 0
	for _, m := range found {
		n, _ := strconv.Atoi(string(m[1]))
		sum += n
	}
	return sum, nil
}

// Strays counts the connections to the edge that did not come from a forward proxy, since Envoy was last started.
func (e *Envoy) Strays() (int, error) { return e.Stat(`tcp\.strays\.downstream_cx_total`) }

// AccessLog is the end of what Envoy noted about requests.
func (e *Envoy) AccessLog() string { return tail(filepath.Join(e.host.dir, "access.log")) }

// endpoint is the load assignment of a cluster with one address, as JSON, which YAML contains.
func endpoint(cluster, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return "", err
	}
	type object map[string]any
	doc, err := json.Marshal(object{"cluster_name": cluster, "endpoints": []any{object{"lb_endpoints": []any{object{
		"endpoint": object{"address": object{"socket_address": object{"address": host, "port_value": number}}}}}}}})
	return string(doc), err
}
