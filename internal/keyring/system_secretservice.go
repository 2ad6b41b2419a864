//go:build !windows && !darwin

package keyring

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Names of the Secret Service API, draft 0.2.
const (
	busName     = "org.freedesktop.secrets"
	servicePath = dbus.ObjectPath("/org/freedesktop/secrets")
	ifService   = "org.freedesktop.Secret.Service."
	ifItem      = "org.freedesktop.Secret.Item."
	ifPrompt    = "org.freedesktop.Secret.Prompt"
	ifColl      = "org.freedesktop.Secret.Collection."

	nowhere = dbus.ObjectPath("/") // in place of a prompt, or of a collection
)

// A secret is the structure Secret.
type secret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

// attributes find an item. They are those of secret-tool and of other programs.
func attributes(key string) map[string]string {
	return map[string]string{"service": service, "username": key}
}

func (s Store) load(ctx context.Context, key string) (string, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	defer c.Close()
	item, err := c.find(ctx, key)
	if err != nil || item == "" {
		return "", err
	}
	session, err := c.openSession(ctx)
	if err != nil {
		return "", err
	}
	var got secret
	err = c.object(item).CallWithContext(ctx, ifItem+"GetSecret", 0, session).Store(&got)
	return string(got.Value), err
}

func (s Store) save(ctx context.Context, key, value string) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	collection, err := c.collection(ctx)
	if err != nil {
		return err
	}
	session, err := c.openSession(ctx)
	if err != nil {
		return err
	}
	properties := map[string]dbus.Variant{
		ifItem + "Label":      dbus.MakeVariant(service + " " + key),
		ifItem + "Attributes": dbus.MakeVariant(attributes(key)),
	}
	var item, prompt dbus.ObjectPath
	err = c.object(collection).CallWithContext(ctx, ifColl+"CreateItem", 0, properties,
		secret{session, []byte{}, []byte(value), "text/plain; charset=utf8"}, true).Store(&item, &prompt)
	if err != nil {
		return err
	}
	return c.prompt(ctx, prompt)
}

func (s Store) remove(ctx context.Context, key string) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	item, err := c.find(ctx, key)
	if err != nil || item == "" {
		return err
	}
	var prompt dbus.ObjectPath
	if err := c.object(item).CallWithContext(ctx, ifItem+"Delete", 0).Store(&prompt); err != nil {
		return err
	}
	return c.prompt(ctx, prompt)
}

// A bus is a connection to the session bus, for one question.
type bus struct {
	*dbus.Conn
	patient bool
}

// connect dials the bus that is there. It starts none: what nobody else uses has
// no keyring in it.
func (s Store) connect(ctx context.Context) (*bus, error) {
	addr := os.Getenv("DBUS_SESSION_BUS_ADDRESS")
	if dir := os.Getenv("XDG_RUNTIME_DIR"); addr == "" && dir != "" {
		addr = "unix:path=" + dbus.EscapeBusAddressValue(filepath.Join(dir, "bus"))
	}
	if addr == "" || strings.HasPrefix(addr, "autolaunch:") {
		return nil, fmt.Errorf("%w (DBUS_SESSION_BUS_ADDRESS names no bus)", ErrNone)
	}
	conn, err := dbus.Dial(addr, dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // breaks off what takes no context
	defer stop()
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err == nil {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	return &bus{conn, s.Patient}, nil
}

func (c *bus) object(path dbus.ObjectPath) dbus.BusObject { return c.Object(busName, path) }

// openSession agrees on how secrets travel: as they are. The bus is the person's
// own, and who listens on it can ask for the secret as well.
func (c *bus) openSession(ctx context.Context) (session dbus.ObjectPath, err error) {
	var nothing dbus.Variant
	err = c.object(servicePath).CallWithContext(ctx, ifService+"OpenSession", 0, "plain", dbus.MakeVariant("")).Store(&nothing, &session)
	return session, err
}

// find returns the item of a key, "" if there is none. It unlocks it if need be.
func (c *bus) find(ctx context.Context, key string) (dbus.ObjectPath, error) {
	var open, locked []dbus.ObjectPath
	err := c.object(servicePath).CallWithContext(ctx, ifService+"SearchItems", 0, attributes(key)).Store(&open, &locked)
	switch {
	case isAbsent(err):
		return "", ErrNone
	case err != nil:
		return "", err
	case len(open) > 0:
		return open[0], nil
	case len(locked) > 0:
		return locked[0], c.unlock(ctx, locked[0])
	}
	return "", nil
}

// collection returns where new items go, unlocked.
func (c *bus) collection(ctx context.Context) (path dbus.ObjectPath, err error) {
	err = c.object(servicePath).CallWithContext(ctx, ifService+"ReadAlias", 0, "default").Store(&path)
	switch {
	case isAbsent(err):
		return "", ErrNone
	case err != nil:
		return "", err
	case path == nowhere:
		return "", fmt.Errorf("%w to write to: it has no default collection yet", ErrNone)
	}
	return path, c.unlock(ctx, path)
}

// isAbsent says whether there is a bus without a Secret Service.
func isAbsent(err error) bool {
	e, ok := err.(dbus.Error)
	return ok && strings.HasPrefix(e.Name, "org.freedesktop.DBus.Error.")
}

// unlock opens a collection or item, which may need the person.
func (c *bus) unlock(ctx context.Context, path dbus.ObjectPath) error {
	var open []dbus.ObjectPath
	var prompt dbus.ObjectPath
	err := c.object(servicePath).CallWithContext(ctx, ifService+"Unlock", 0, []dbus.ObjectPath{path}).Store(&open, &prompt)
	if err != nil {
		return err
	}
	return c.prompt(ctx, prompt)
}

// prompt has the service ask the person what it wants to ask, and waits.
func (c *bus) prompt(ctx context.Context, path dbus.ObjectPath) error {
	if path == nowhere {
		return nil
	}
	prompt := c.object(path)
	if !c.patient {
		prompt.CallWithContext(ctx, ifPrompt+".Dismiss", 0)
		return ErrLocked
	}
	if err := c.AddMatchSignalContext(ctx, dbus.WithMatchObjectPath(path), dbus.WithMatchInterface(ifPrompt)); err != nil {
		return err
	}
	completed := make(chan *dbus.Signal, 1)
	c.Signal(completed)
	if err := prompt.CallWithContext(ctx, ifPrompt+".Prompt", 0, "").Err; err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case signal, ok := <-completed:
			switch {
			case !ok:
				return ErrNone
			case signal.Path != path || signal.Name != ifPrompt+".Completed" || len(signal.Body) == 0:
				continue
			case signal.Body[0] == true:
				return ErrDismissed
			}
			return nil
		}
	}
}
