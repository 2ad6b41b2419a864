//go:build linux

package world

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Realm is the Kerberos realm of the KDC. Its user is User, with Password.
const Realm = "E2E.TEST"

// Names of services that the KDC knows, each in a keytab of the proxies' host.
const (
	ProxyService = "HTTP/proxy.test"
	OtherService = "HTTP/other.test" // what a proxy behind an alias may be called
)

// KDC is a running MIT KDC on the proxies' host.
type KDC struct {
	*Process
	Conf   string // krb5.conf for the user's host
	Keytab string // of the services
	User   string // the keytab of the user

	host *Host
	dir  string
}

const krb5Conf = `[libdefaults]
 default_realm = ` + Realm + `
 dns_lookup_kdc = false
 dns_lookup_realm = false
 rdns = false
[realms]
 ` + Realm + ` = {
  kdc = ` + proxyAddr + `:88
 }
`

const kdcConf = `[realms]
 ` + Realm + ` = {
  kdc_listen = ` + proxyAddr + `:88
  kdc_tcp_listen = ` + proxyAddr + `:88
  database_name = %[1]s/principal
  key_stash_file = %[1]s/stash
  max_life = 10h
  max_renewable_life = 1d
 }
[logging]
 kdc = FILE:%[1]s/kdc.log
 admin_server = FILE:%[1]s/kadmin.log
`

// KDC starts the KDC, or returns the one that runs already.
func (w *World) KDC(ctx context.Context) (*KDC, error) {
	k := w.newKDC()
	var err error
	k.Process, err = w.once("kdc", func() (*Process, error) { return k.start(ctx) })
	return k, err
}

func (w *World) newKDC() *KDC {
	dir := filepath.Join(w.ProxyHost.dir, "kdc")
	return &KDC{host: w.ProxyHost, dir: dir, Conf: filepath.Join(dir, "krb5.conf"), Keytab: filepath.Join(dir, "services.keytab"), User: filepath.Join(dir, "user.keytab")}
}

func (k *KDC) start(ctx context.Context) (*Process, error) {
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(k.Conf, []byte(krb5Conf), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(k.dir, "kdc.conf"), fmt.Appendf(nil, kdcConf, k.dir), 0o644); err != nil {
		return nil, err
	}
	if err := k.run(ctx, "kdb5_util", "create", "-s", "-P", "master"); err != nil {
		return nil, err
	}
	if err := k.admin(ctx, "addprinc -pw "+Password+" "+User, "addprinc -randkey "+ProxyService, "addprinc -randkey "+OtherService,
		"ktadd -norandkey -k "+k.User+" "+User); err != nil {
		return nil, err
	}
	if err := k.NewKeys(ctx); err != nil {
		return nil, err
	}
	cmd := command("krb5kdc", "-n")
	cmd.Env = k.environment()
	return k.host.Launch(ctx, "krb5kdc", proxyAddr+":88", cmd)
}

// NewKeys gives the services new keys, and a keytab with those alone: tickets from before are worth nothing then.
func (k *KDC) NewKeys(ctx context.Context) error {
	if err := os.RemoveAll(k.Keytab); err != nil {
		return err
	}
	if err := k.admin(ctx, "ktadd -k "+k.Keytab+" "+ProxyService+" "+OtherService); err != nil {
		return err
	}
	return os.Chmod(k.Keytab, 0o644)
}

// Kinit gets a ticket into a cache, on the user's host, for so long ("10s", "1h"). It can be renewed for an hour.
func (w *World) Kinit(ctx context.Context, k *KDC, cache, life string) error {
	return w.kinit(ctx, k, Password+"\n", "-c", cache, "-l", life, "-r", "1h", User)
}

// Renew gets another ticket for the one in the cache, for as long as that was for, without the password.
func (w *World) Renew(ctx context.Context, k *KDC, cache string) error {
	return w.kinit(ctx, k, "", "-R", "-c", cache)
}

func (w *World) kinit(ctx context.Context, k *KDC, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, "kinit", args...)
	cmd.Env = append(os.Environ(), "KRB5_CONFIG="+k.Conf)
	cmd.Stdin = strings.NewReader(stdin)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	err := w.UserHost.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("kinit: %w\n%s", err, said.String())
	}
	return nil
}

func (k *KDC) environment() []string {
	return append(os.Environ(), "KRB5_CONFIG="+k.Conf, "KRB5_KDC_PROFILE="+filepath.Join(k.dir, "kdc.conf"))
}

func (k *KDC) admin(ctx context.Context, queries ...string) error {
	for _, query := range queries {
		if err := k.run(ctx, "kadmin.local", "-q", query); err != nil {
			return err
		}
	}
	return nil
}

func (k *KDC) run(ctx context.Context, name string, args ...string) error {
	path, err := Program(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = k.environment()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err = k.host.Start(cmd); err == nil {
		err = cmd.Wait()
	}
	if err != nil || strings.Contains(said.String(), ": Cannot") {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said.String())
	}
	return nil
}
