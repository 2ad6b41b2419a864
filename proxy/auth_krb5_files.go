//go:build !windows && !darwin

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
)

// krb5Conf is krb5.conf, with what gokrb5 leaves out.
type krb5Conf struct {
	*config.Config
	cacheName string // default_ccache_name
}

// loadKrb5Conf reads the files of KRB5_CONFIG, or /etc/krb5.conf. One that is not
// there is empty: DNS may know the KDCs.
func loadKrb5Conf() (*krb5Conf, error) {
	names := os.Getenv("KRB5_CONFIG")
	if names == "" {
		names = "/etc/krb5.conf"
	}
	sections := make(map[string][]string)
	for _, name := range filepath.SplitList(names) {
		if err := readKrb5Conf(name, sections, 0); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	text := ""
	for _, section := range []string{"libdefaults", "realms", "domain_realm"} {
		text += "[" + section + "]\n" + strings.Join(sections[section], "\n") + "\n"
	}
	c, err := config.NewFromString(text)
	if unsupported := (config.UnsupportedDirective{}); err != nil && !errors.As(err, &unsupported) {
		return nil, fmt.Errorf("reading %s: %w", names, err)
	}
	conf := &krb5Conf{Config: c}
	c.LibDefaults.DNSLookupKDC = true // as MIT has it
	for _, line := range sections["libdefaults"] {
		switch name, value, _ := strings.Cut(line, "="); strings.TrimSpace(name) {
		case "default_ccache_name":
			conf.cacheName = strings.TrimSpace(value)
		case "dns_lookup_kdc":
			c.LibDefaults.DNSLookupKDC = slices.Contains([]string{"true", "yes", "y", "t", "1", "on"}, strings.ToLower(strings.TrimSpace(value)))
		}
	}
	return conf, nil
}

const maxIncludes = 10 // of files within files

// readKrb5Conf collects the lines of each section; gokrb5 knows neither include
// and includedir, nor a section in two parts.
func readKrb5Conf(name string, sections map[string][]string, depth int) error {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.New("it cannot be read")
	}
	if depth > maxIncludes {
		return errors.New("it includes itself")
	}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[] \t")
		case word == "include":
			err = readKrb5Conf(strings.TrimSpace(rest), sections, depth+1)
		case word == "includedir":
			err = readKrb5Dir(strings.TrimSpace(rest), sections, depth+1)
		default:
			sections[section] = append(sections[section], line)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// includable are the names that includedir takes.
var includable = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.conf)?$`)

func readKrb5Dir(dir string, sections map[string][]string, depth int) error {
	entries, _ := os.ReadDir(dir) // none is no error
	for _, e := range entries {
		if !includable.MatchString(e.Name()) {
			continue
		}
		if err := readKrb5Conf(filepath.Join(dir, e.Name()), sections, depth); err != nil {
			return err
		}
	}
	return nil
}

// cacheFile is the user's ticket cache.
func (c *krb5Conf) cacheFile() (string, error) {
	name := os.Getenv("KRB5CCNAME")
	if name == "" {
		name = c.cacheName
	}
	uid := strconv.Itoa(os.Getuid())
	if name == "" {
		name = "/tmp/krb5cc_" + uid
	}
	name = strings.NewReplacer("%{uid}", uid, "%{euid}", strconv.Itoa(os.Geteuid()), "%{TEMP}", os.TempDir()).Replace(name)
	kind, path, ok := strings.Cut(name, ":")
	switch {
	case !ok || strings.HasPrefix(name, "/"):
		return name, nil
	case kind == "FILE":
		return path, nil
	case kind == "DIR" && strings.HasPrefix(path, ":"):
		return path[1:], nil
	case kind == "DIR":
		primary, err := os.ReadFile(filepath.Join(path, "primary"))
		if err != nil {
			return filepath.Join(path, "tkt"), nil
		}
		return filepath.Join(path, filepath.Base(strings.TrimSpace(string(primary)))), nil
	}
	return "", fmt.Errorf("%w: the ticket cache is of the kind %s, and only files can be read", ErrNoTicket, kind)
}

// loadCache reads a ticket cache that has a ticket in it which gets others.
func loadCache(path string) (*credentials.CCache, error) {
	cache, err := credentials.LoadCCache(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no ticket cache %s", ErrNoTicket, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: the ticket cache %s may not be read", ErrNoTicket, path)
	case err != nil:
		return nil, fmt.Errorf("%w: the ticket cache %s cannot be understood", ErrNoTicket, path)
	}
	switch t := tgt(cache); {
	case t == nil:
		return nil, fmt.Errorf("%w: the ticket cache %s is empty", ErrNoTicket, path)
	case time.Now().After(t.EndTime):
		return nil, fmt.Errorf("%w: the one in %s has expired", ErrNoTicket, path)
	}
	return cache, nil
}

// tgt is the ticket of the user's realm that gets other tickets, or nil.
func tgt(cache *credentials.CCache) *credentials.Credential {
	for _, c := range cache.GetEntries() {
		if name := c.Server.PrincipalName.NameString; len(name) == 2 && name[0] == "krbtgt" && name[1] == cache.DefaultPrincipal.Realm {
			return c
		}
	}
	return nil
}

func keytabFile() string { return strings.TrimPrefix(os.Getenv("KRB5_CLIENT_KTNAME"), "FILE:") }

func joinName(components []string) string { return strings.Join(components, "/") }

// cacheState says which files a ticket came from, and which version of them.
type cacheState struct {
	names   string
	changed time.Time
	size    int64
}

func readCacheState() cacheState {
	s := cacheState{names: strings.Join([]string{os.Getenv("KRB5CCNAME"), os.Getenv("KRB5_CONFIG"), os.Getenv("KRB5_CLIENT_KTNAME")}, "\n")}
	conf, err := loadKrb5Conf()
	if err != nil {
		return s
	}
	if path, err := conf.cacheFile(); err == nil {
		if info, err := os.Stat(path); err == nil {
			s.changed, s.size = info.ModTime(), info.Size()
		}
	}
	return s
}

// canonical is an SPN with the name that its host is an alias of, if DNS may be
// asked for that.
func (c *krb5Conf) canonical(spn string) string {
	service, host, ok := strings.Cut(spn, "/")
	if !ok || !c.LibDefaults.DNSCanonicalizeHostname {
		return spn
	}
	ctx, cancel := context.WithTimeout(context.Background(), kdcLimit)
	defer cancel()
	name, err := net.DefaultResolver.LookupCNAME(ctx, host)
	if name = strings.ToLower(strings.TrimSuffix(name, ".")); err != nil || name == "" {
		return spn
	}
	return service + "/" + name
}

// explainKDC says in one line what a KDC, or the lack of one, means. gokrb5 has
// no types for it.
func explainKDC(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, row := range []struct{ has, says string }{
		{"KDC_ERR_TGT_REVOKED", "the ticket has been revoked"},
		{"AP_ERR_SKEW", "the clocks of this machine and of the KDC differ too much"},
		{"AP_ERR_TKT_EXPIRED", "the ticket has expired"},
		{"etworking_Error", "no KDC answers"},
	} {
		if strings.Contains(text, row.has) {
			return errors.New(row.says)
		}
	}
	if strings.Contains(text, "S_PRINCIPAL_UNKNOWN") {
		return ErrNoService
	}
	return errors.New(quote(printable(text), nil))
}
