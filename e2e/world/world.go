//go:build linux

// Package world is a small internet of real parts for tests: the machine of a user, forward proxies, and an edge with
// targets behind it, each in namespaces of its own. Start makes the network and the edge; forward proxies are added one by one.
// Everything ends with Close, or with the program that started it, whatever ends that.
//
// It needs root on Linux; Ensure installs the parts.
package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// World is a running network with an edge.
type World struct {
	*Network
	CA         Authority // has issued the edge's certificate
	Envoy      *Envoy
	Authz      *Authz
	SignIn     *SignIn
	Kubernetes *Kubernetes
	Dir        string // files of all parts, readable by everybody

	idp      *IdentityProvider // nil: not started yet
	proxyCA  Authority
	bumpCA   Authority // of a forward proxy that opens TLS
	ClientCA Authority // of the certificate that some proxies want to see
	mu       sync.Mutex
	programs map[string]*Process // the forward proxies and servers that run
	close    []func()
}

// Start starts the hosts, the edge and the targets that need no program of their own.
func Start(ctx context.Context) (_ *World, err error) {
	w := &World{programs: make(map[string]*Process)}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	sweep()
	if w.Dir, err = os.MkdirTemp("", fmt.Sprintf(dirPrefix+"%d-", os.Getpid())); err != nil {
		return nil, err
	}
	w.onClose(func() { os.RemoveAll(w.Dir) })
	if err := os.Chmod(w.Dir, 0o755); err != nil { // proxies and databases run as users of their own
		return nil, err
	}
	if w.Network, err = NewNetwork(ctx, w.Dir); err != nil {
		return nil, err
	}
	w.onClose(w.Network.Close)
	if w.CA, err = NewAuthority(w.Dir, "edge", EdgeName, KubernetesName); err != nil {
		return nil, err
	}
	if w.proxyCA, err = NewAuthority(w.Dir, "proxy", "proxy.test"); err != nil {
		return nil, err
	}
	if w.ClientCA, err = NewAuthority(w.Dir, "client", "user.test"); err != nil {
		return nil, err
	}
	if w.bumpCA, err = NewAuthority(w.Dir, "inspection", "nobody.test"); err != nil {
		return nil, err
	}
	authz, err := w.serve("127.0.0.1:0", func(ln net.Listener) {
		w.Authz = StartAuthz(ln)
		w.onClose(w.Authz.Close)
	})
	if err != nil {
		return nil, err
	}
	signIn, err := w.serve("127.0.0.1:0", func(ln net.Listener) {
		w.SignIn = StartSignIn(ln, w.Authz)
		w.onClose(w.SignIn.Close)
	})
	if err != nil {
		return nil, err
	}
	cluster, err := NewAuthority(w.Dir, "cluster", KubernetesName)
	if err != nil {
		return nil, err
	}
	kubernetes, err := w.serve("127.0.0.1:0", func(ln net.Listener) {
		w.Kubernetes = StartKubernetes(ln, cluster)
		w.onClose(w.Kubernetes.Close)
	})
	if err != nil {
		return nil, err
	}
	for addr, serve := range map[string]func(net.Listener){
		echoAddr: ServeEcho, targetAddr: ServeTarget, webAddr: ServeWeb,
	} {
		_, err := w.serve(addr, func(ln net.Listener) {
			go serve(ln) // ended by closing ln
			w.onClose(func() { ln.Close() })
		})
		if err != nil {
			return nil, err
		}
	}
	w.Envoy, err = StartEnvoy(ctx, w.EdgeHost, EnvoyConfig{
		Server: w.CA, Clients: w.ClientCA, Cluster: cluster, From: []string{proxyOuter, edgeAddr},
		Authz: authz, SignIn: signIn, Kubernetes: kubernetes, Routes: routes,
	})
	return w, err
}

const dirPrefix = "pomerium-cli-e2e-"

// sweep removes the files of runs that ended without a Close. Of what else they had the kernel has taken care.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*")) // the pattern is well-formed
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			os.RemoveAll(dir)
		}
	}
}

// Names of the routes at the edge.
const (
	Echo     = "echo.test:7"
	Target   = "target.test:9000"
	Web      = "web.test:80"
	Refused  = "refused.test:1" // nothing listens there
	Datagram = "dns.test:53"    // a route of the other kind
	Postgres = "db.test:5432"
	Redis    = "redis.test:6379"
	SSH      = "ssh.test:22"
	Bench    = "bench.test:9100" // for the benchmark's own target

	echoAddr     = "127.0.0.1:7"
	targetAddr   = "127.0.0.1:9000"
	webAddr      = "127.0.0.1:80"
	postgresAddr = "127.0.0.1:5432"
	redisAddr    = "127.0.0.1:6379"
	sshAddr      = "127.0.0.1:22"

	BenchAddr = edgeAddr + ":9100" // where that target is: forward proxies reach it as well, without the edge
)

var routes = []Route{
	{Name: Echo, Address: echoAddr},
	{Name: Target, Address: targetAddr},
	{Name: Web, Address: webAddr},
	{Name: Refused, Address: "127.0.0.1:1"},
	{Name: Datagram, Address: "127.0.0.1:53", UDP: true},
	{Name: Postgres, Address: postgresAddr},
	{Name: Redis, Address: redisAddr},
	{Name: SSH, Address: sshAddr},
	{Name: Bench, Address: BenchAddr},
}

// AllStrays counts what the user's host sent past the forward proxies, as the proxies' host and as the edge saw it.
func (w *World) AllStrays() (int, error) {
	packets, err := w.Network.Strays()
	connections, err2 := w.Envoy.Strays()
	return packets + connections, errors.Join(err, err2)
}

// Close ends everything, in the reverse order of its start.
func (w *World) Close() {
	for i := range w.close {
		w.close[len(w.close)-1-i]()
	}
}

func (w *World) onClose(f func()) { w.close = append(w.close, f) }

// once returns the program of that name, and starts it if it does not run yet.
func (w *World) once(name string, start func() (*Process, error)) (*Process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.programs[name] == nil {
		p, err := start()
		if err != nil {
			return nil, err
		}
		w.programs[name] = p
	}
	return w.programs[name], nil
}

// serve listens on an address of the edge's host.
func (w *World) serve(addr string, start func(net.Listener)) (string, error) {
	ln, err := w.EdgeHost.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("on the edge's host: %w", err)
	}
	start(ln)
	return ln.Addr().String(), nil
}
