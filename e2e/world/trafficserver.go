//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Where its files are, in place of Debian's.
const trafficRoot = `prefix: %[1]s
exec_prefix: %[1]s
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: %[1]s/etc
datadir: %[1]s/share
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: %[1]s/var
runtimedir: %[1]s/run
logdir: %[1]s/log
cachedir: %[1]s/cache
`

// A forward proxy: it allows CONNECT to 443 alone unless told.
const trafficRecords = `CONFIG proxy.config.http.server_ports STRING 3180:ip-in=` + proxyAddr + `
CONFIG proxy.config.http.connect_ports STRING 8080 8443 8444 8445
CONFIG proxy.config.url_remap.remap_required INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 0
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.hostdb.host_file.path STRING /etc/hosts
CONFIG proxy.config.admin.user_id STRING nobody
CONFIG proxy.config.diags.output.diag STRING E
`

const trafficAllow = `ip_allow:
  - apply: in
    ip_addrs: 0/0
    action: allow
    methods: ALL
`

func startTrafficServer(ctx context.Context, w *World) (*Process, error) {
	dir := filepath.Join(w.ProxyHost.dir, "trafficserver")
	for _, d := range []string{"etc", "share", "var", "run", "log", "cache"} {
		path := filepath.Join(dir, d)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return nil, err
		}
		if err := os.Chmod(path, 0o777); err != nil { // it runs as nobody
			return nil, err
		}
	}
	root := filepath.Join(dir, "runroot.yaml")
	for file, text := range map[string]string{
		root: fmt.Sprintf(trafficRoot, dir),
		filepath.Join(dir, "etc", "records.config"): trafficRecords,
		filepath.Join(dir, "etc", "ip_allow.yaml"):  trafficAllow,
		filepath.Join(dir, "etc", "storage.config"): filepath.Join(dir, "cache") + " 16M\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	p, err := w.ProxyHost.Launch(ctx, "trafficserver", proxyAddr+":3180", command("traffic_server", "--run-root="+root))
	if err != nil {
		return nil, err
	}
	// It reads the hosts file some time after it has begun to accept connections.
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := w.ProxyHost.Run(ctx, "sh", "-c", "until curl -kso /dev/null -px http://"+proxyAddr+":3180 "+EdgeURL+"; do sleep 0.1; done"); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%w\n%s", err, p.Tail())
	}
	return p, nil
}
