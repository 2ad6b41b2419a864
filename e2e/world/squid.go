//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const squidConfig = `
# Common to every squid of ours: nothing cached, nothing shared with another, nothing looked up but in /etc/hosts.
cache deny all
cache_mem 0 MB
memory_cache_shared off
pid_filename none
cache_log stdio:/dev/stderr
access_log none
cache_store_log none
logfile_rotate 0
coredump_dir %[1]s
hosts_file /etc/hosts
dns_nameservers 127.0.0.1
shutdown_lifetime 1 seconds
via off
pinger_enable off
max_filedescriptors 8192
`

const squidPorts = `
http_port %[2]s:3128 name=plain
http_port %[2]s:3129 name=basic
https_port %[2]s:3130 name=tls tls-cert=%[3]s tls-key=%[4]s
https_port %[2]s:3131 name=tls-basic tls-cert=%[3]s tls-key=%[4]s
https_port %[2]s:3140 name=tls-cert tls-cert=%[3]s tls-key=%[4]s clientca=%[5]s
auth_param basic program /usr/lib/squid/basic_ncsa_auth %[1]s/squid.passwd
auth_param basic realm e2e
acl asks myportname basic tls-basic
acl known proxy_auth REQUIRED
http_access deny asks !known
http_access allow all
`

const idleSquidPort = `
# What connects to a server and then is silent for so long is cut.
http_port %[2]s:3138
read_timeout 5 seconds
http_access allow all
`

func startSquid(ctx context.Context, w *World) (*Process, error) {
	passwd := filepath.Join(w.ProxyHost.dir, "squid.passwd")
	if err := os.WriteFile(passwd, []byte(User+":"+passwordAPR1+"\n"), 0o644); err != nil {
		return nil, err
	}
	return w.squid(ctx, "squid", 3128, squidConfig+squidPorts)
}

func startIdleSquid(ctx context.Context, w *World) (*Process, error) {
	return w.squid(ctx, "squid-idle", 3138, squidConfig+idleSquidPort)
}

// It opens TLS and speaks HTTP with both sides: TLS inspection.
const bumpingSquidPort = `
http_port %[2]s:3144 ssl-bump generate-host-certificates=on tls-cert=%[6]s tls-key=%[7]s
sslcrtd_program /usr/lib/squid/security_file_certgen -s %[1]s/bump.db -M 4MB
tls_outgoing_options cafile=%[8]s
ssl_bump bump all
acl edge port 8443
http_access deny CONNECT !edge
http_access allow all
`

func startBumpingSquid(ctx context.Context, w *World) (*Process, error) {
	db := filepath.Join(w.ProxyHost.dir, "bump.db")
	if out, err := command("security_file_certgen", "-c", "-s", db, "-M", "4MB").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("squid's store of certificates: %w: %s", err, out)
	}
	if out, err := exec.Command("chown", "-R", "proxy", db).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("squid's store of certificates: %w: %s", err, out)
	}
	return w.squid(ctx, "squid-bump", 3144, squidConfig+bumpingSquidPort)
}

func (w *World) squid(ctx context.Context, name string, port int, config string) (*Process, error) {
	conf := filepath.Join(w.ProxyHost.dir, name+".conf")
	text := fmt.Sprintf(config, w.ProxyHost.dir, proxyAddr, w.proxyCA.Cert, w.proxyCA.Key, w.ClientCA.CA, w.bumpCA.CA, w.bumpCA.CAKey, w.CA.CA)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return w.ProxyHost.Launch(ctx, name, fmt.Sprintf("%s:%d", proxyAddr, port), command("squid", "-N", "-d", "1", "-f", conf))
}
