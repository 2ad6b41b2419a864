package sysproxy

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/windows/registry"
)

const (
	settingsKey    = `Software\Microsoft\Windows\CurrentVersion\Internet Settings`
	policiesKey    = `Software\Policies\Microsoft\Windows\CurrentVersion\Internet Settings`
	connectionsKey = settingsKey + `\Connections`
)

// Read reads the settings as they are now, of the registry: the user's, or the
// machine's where the policy ProxySettingsPerUser is 0; and those of WinHTTP
// where these name no proxy. An error is an [*Error].
func Read(context.Context, func(string) string) (Settings, error) {
	root, reason := registry.CURRENT_USER, "they are the user's"
	policies := values{root: registry.LOCAL_MACHINE, path: policiesKey}
	if perUser, ok := policies.number("ProxySettingsPerUser"); ok && perUser == 0 {
		root, reason = registry.LOCAL_MACHINE, "the policy ProxySettingsPerUser is 0: they are the machine's"
	}
	main, connections := values{root: root, path: settingsKey}, values{root: root, path: connectionsKey}
	machine := values{root: registry.LOCAL_MACHINE, path: connectionsKey}
	v := internetSettings{
		ProxyServer:               main.text("ProxyServer"),
		ProxyOverride:             main.text("ProxyOverride"),
		AutoConfigURL:             main.text("AutoConfigURL"),
		DefaultConnectionSettings: connections.blob("DefaultConnectionSettings"),
		WinHTTPSettings:           machine.blob("WinHttpSettings"),
	}
	v.ProxyEnable, _ = main.number("ProxyEnable")
	if err := errors.Join(policies.err, main.err, connections.err, machine.err); err != nil {
		return Settings{}, &Error{Setting: windowsSource, Err: err}
	}
	s, err := v.settings()
	s.Reason = reason
	return s, err
}

// values are those of a key, which need not be there. An error of any other kind
// than that is kept.
type values struct {
	root registry.Key
	path string
	err  error
}

func (v *values) number(name string) (n uint64, ok bool) {
	v.get(name, func(k registry.Key) (err error) {
		n, _, err = k.GetIntegerValue(name)
		ok = err == nil
		return err
	})
	return n, ok
}

func (v *values) text(name string) (s string) {
	v.get(name, func(k registry.Key) (err error) {
		s, _, err = k.GetStringValue(name)
		return err
	})
	return s
}

func (v *values) blob(name string) (b []byte) {
	v.get(name, func(k registry.Key) (err error) {
		b, _, err = k.GetBinaryValue(name)
		return err
	})
	return b
}

func (v *values) get(name string, from func(registry.Key) error) {
	k, err := registry.OpenKey(v.root, v.path, registry.QUERY_VALUE)
	if err == nil {
		err = from(k)
		k.Close()
	}
	if err != nil && !errors.Is(err, registry.ErrNotExist) && v.err == nil {
		v.err = fmt.Errorf("reading %s: %w", name, err)
	}
}
