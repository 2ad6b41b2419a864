//go:build linux

package world

import (
	"context"
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Scripts is where a web server serves what is in the directory that StartScripts returns.
const Scripts = "http://proxy.test:3155/"

// Debian's apache2 with the modules that a forward proxy needs, a port for each way to authenticate, and one for files. Its
// nonces are old after a second.
const apacheConfig = `ServerRoot %[1]s
DefaultRuntimeDir %[1]s
PidFile %[1]s/apache.pid
ServerName proxy.test
User www-data
Group www-data
ErrorLog /dev/stderr
LogLevel warn auth_digest:info
%[2]s
Listen %[3]s:3150
Listen %[3]s:3151
Listen %[3]s:3152
Listen %[3]s:3155
AllowCONNECT 8080 8443 8444 8445
<VirtualHost %[3]s:3150>
	ProxyRequests On
</VirtualHost>
<VirtualHost %[3]s:3151>
	ProxyRequests On
	<Proxy "*">
		AuthType Basic
		AuthName e2e
		AuthBasicProvider file
		AuthUserFile %[1]s/apache.basic
		Require valid-user
	</Proxy>
</VirtualHost>
<VirtualHost %[3]s:3152>
	ProxyRequests On
	<Proxy "*">
		AuthType Digest
		AuthName e2e
		AuthDigestProvider file
		AuthDigestNonceLifetime 1
		AuthUserFile %[1]s/apache.digest
		Require valid-user
	</Proxy>
</VirtualHost>
<VirtualHost %[3]s:3155>
	DocumentRoot %[1]s/scripts
	Header set Cache-Control no-cache
	CustomLog /dev/stdout "served %%U %%>s"
</VirtualHost>
`

var apacheModules = []string{"mpm_event", "authn_core", "authn_file", "authz_core", "authz_user", "auth_basic", "auth_digest",
	"headers", "proxy", "proxy_http", "proxy_connect"}

func startApache(ctx context.Context, w *World) (*Process, error) {
	dir := filepath.Join(w.ProxyHost.dir, "apache")
	if err := os.MkdirAll(filepath.Join(dir, "scripts"), 0o755); err != nil {
		return nil, err
	}
	var modules strings.Builder
	for _, m := range apacheModules {
		fmt.Fprintf(&modules, "LoadModule %[1]s_module /usr/lib/apache2/modules/mod_%[1]s.so\n", m)
	}
	conf := filepath.Join(dir, "apache.conf")
	for file, text := range map[string]string{
		conf:                                fmt.Sprintf(apacheConfig, dir, &modules, proxyAddr),
		filepath.Join(dir, "apache.basic"):  User + ":" + passwordAPR1 + "\n",
		filepath.Join(dir, "apache.digest"): fmt.Sprintf("%s:e2e:%x\n", User, md5.Sum([]byte(User+":e2e:"+Password))),
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return w.ProxyHost.Launch(ctx, "apache", proxyAddr+":3150", command("apache2", "-DFOREGROUND", "-f", conf))
}

// StartScripts starts the web server of Scripts, and returns it with the directory of what it serves.
func (w *World) StartScripts(ctx context.Context) (server *Process, dir string, err error) {
	server, err = w.once("apache", func() (*Process, error) { return startApache(ctx, w) })
	return server, filepath.Join(w.ProxyHost.dir, "apache", "scripts"), err
}
