package keyring_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/pomerium/pomerium-cli/internal/keyring"
)

// bus is a session bus with a Secret Service behind it, as far as one program
// with one item sees them.
type bus struct {
	absent    bool // nobody has the service's name
	homeless  bool // there is no default collection
	locked    bool // unlocking needs the person
	dismisses bool // who does not

	mu        sync.Mutex
	key       string // of the item; "": there is none
	secret    []byte
	prompted  int
	dismissed int
}

const (
	item       = dbus.ObjectPath("/org/freedesktop/secrets/collection/login/1")
	collection = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
	prompt     = dbus.ObjectPath("/org/freedesktop/secrets/prompt/p1")
	nowhere    = dbus.ObjectPath("/")
)

// start serves the bus and makes it that of this process.
func (b *bus) start(t *testing.T) {
	t.Helper()
	serveBus(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for line := ""; !strings.HasPrefix(line, "BEGIN"); {
			line, _ = in.ReadString('\n')
			switch {
			case line == "":
				return
			case strings.Contains(line, "EXTERNAL"):
				io.WriteString(c, "OK 0123456789abcdef0123456789abcdef\r\n")
			case strings.Contains(line, "AUTH"):
				io.WriteString(c, "REJECTED EXTERNAL\r\n")
			case strings.HasPrefix(line, "NEGOTIATE"):
				io.WriteString(c, "ERROR\r\n")
			}
		}
		for {
			call, err := dbus.DecodeMessage(in)
			if err != nil {
				return
			}
			for _, m := range b.answer(call) {
				if err := m.EncodeTo(c, binary.LittleEndian); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func serveBus(t *testing.T, serve func(net.Conn)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+dbus.EscapeBusAddressValue(path))
}

// answer is what comes back for a call: a reply, and a signal behind it.
func (b *bus) answer(call *dbus.Message) []*dbus.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	member, _ := call.Headers[dbus.FieldMember].Value().(string)
	dest, _ := call.Headers[dbus.FieldDestination].Value().(string)
	if b.absent && dest == "org.freedesktop.secrets" {
		return []*dbus.Message{message(dbus.TypeError, call, map[dbus.HeaderField]any{
			dbus.FieldErrorName: "org.freedesktop.DBus.Error.ServiceUnknown"}, "none")}
	}
	body, signal := b.do(member, call.Body)
	all := []*dbus.Message{message(dbus.TypeMethodReply, call, nil, body...)}
	if signal {
		all = append(all, message(dbus.TypeSignal, call, map[dbus.HeaderField]any{
			dbus.FieldPath: prompt, dbus.FieldInterface: "org.freedesktop.Secret.Prompt", dbus.FieldMember: "Completed",
		}, b.dismisses, dbus.MakeVariant("")))
	}
	return all
}

func (b *bus) do(member string, args []any) (body []any, signal bool) {
	none := []dbus.ObjectPath{}
	switch member {
	case "Hello":
		return []any{":1.1"}, false
	case "SearchItems":
		found := none
		if want := args[0].(map[string]string); want["service"] == "pomerium-cli" && want["username"] == b.key && b.key != "" {
			found = []dbus.ObjectPath{item}
		}
		if b.locked {
			return []any{none, found}, false
		}
		return []any{found, none}, false
	case "ReadAlias":
		if b.homeless {
			return []any{nowhere}, false
		}
		return []any{collection}, false
	case "Unlock":
		if b.locked {
			return []any{none, prompt}, false
		}
		return []any{args[0], nowhere}, false
	case "Prompt":
		b.prompted++
		b.locked = b.dismisses
		return nil, true
	case "Dismiss":
		b.dismissed++
	case "OpenSession":
		return []any{dbus.MakeVariant(""), dbus.ObjectPath("/s")}, false
	case "GetSecret":
		return []any{struct {
			Session     dbus.ObjectPath
			Parameters  []byte
			Value       []byte
			ContentType string
		}{"/s", nil, b.secret, "text/plain"}}, false
	case "CreateItem":
		attributes := args[0].(map[string]dbus.Variant)["org.freedesktop.Secret.Item.Attributes"].Value().(map[string]string)
		b.key, b.secret = attributes["username"], args[1].([]any)[2].([]byte)
		return []any{item, nowhere}, false
	case "Delete":
		b.key = ""
		return []any{nowhere}, false
	}
	return nil, false
}

func message(kind dbus.Type, call *dbus.Message, headers map[dbus.HeaderField]any, body ...any) *dbus.Message {
	m := &dbus.Message{Type: kind, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: body}
	for field, value := range headers {
		m.Headers[field] = dbus.MakeVariant(value)
	}
	if kind != dbus.TypeSignal {
		m.Headers[dbus.FieldReplySerial] = dbus.MakeVariant(call.Serial())
	}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	return m
}

const key, value = "http://proxy.test:3128", "u:p:w 1"

func TestSecretService(t *testing.T) {
	full := func(b *bus) *bus { b.key, b.secret = key, []byte(value); return b }
	load := func(ctx context.Context, s keyring.Store) (string, error) { return s.Load(ctx, key) }
	save := func(ctx context.Context, s keyring.Store) (string, error) { return "", s.Save(ctx, key, value) }
	remove := func(ctx context.Context, s keyring.Store) (string, error) { return "", s.Delete(ctx, key) }
	type do func(context.Context, keyring.Store) (string, error)
	for name, tc := range map[string]struct {
		bus     *bus
		patient bool
		do      do
		got     string
		err     error
		has     string // afterwards
	}{
		"load":                     {full(&bus{}), false, load, value, nil, key},
		"load nothing":             {&bus{}, false, load, "", nil, ""},
		"load, no service":         {&bus{absent: true}, true, load, "", keyring.ErrNone, ""},
		"load, locked":             {full(&bus{locked: true}), false, load, "", keyring.ErrLocked, key},
		"load, unlocked by person": {full(&bus{locked: true}), true, load, value, nil, key},
		"load, dismissed":          {full(&bus{locked: true, dismisses: true}), true, load, "", keyring.ErrDismissed, key},
		"save":                     {&bus{}, false, save, "", nil, key},
		"save, locked":             {&bus{locked: true}, false, save, "", keyring.ErrLocked, ""},
		"save, unlocked by person": {&bus{locked: true}, true, save, "", nil, key},
		"save, no collection":      {&bus{homeless: true}, true, save, "", keyring.ErrNone, ""},
		"save, no service":         {&bus{absent: true}, true, save, "", keyring.ErrNone, ""},
		"delete":                   {full(&bus{}), false, remove, "", nil, ""},
		"delete nothing":           {&bus{}, false, remove, "", nil, ""},
		"delete, locked":           {full(&bus{locked: true}), false, remove, "", keyring.ErrLocked, key},
	} {
		t.Run(name, func(t *testing.T) {
			tc.bus.start(t)
			locked := tc.bus.locked
			got, err := tc.do(t.Context(), keyring.Store{Patient: tc.patient})
			if got != tc.got || !errors.Is(err, tc.err) {
				t.Errorf("got %q, %v, want %q, %v", got, err, tc.got, tc.err)
			}
			if err != nil && strings.Contains(err.Error(), "p:w") {
				t.Errorf("the secret is in %v", err)
			}
			tc.bus.mu.Lock()
			defer tc.bus.mu.Unlock()
			if tc.bus.key != tc.has || tc.has != "" && string(tc.bus.secret) != value {
				t.Errorf("the keyring has %q, %q", tc.bus.key, tc.bus.secret)
			}
			if asked := tc.bus.prompted > 0; asked != (locked && tc.patient) {
				t.Errorf("the person was asked: %v", asked)
			}
		})
	}
}

// TestNoSessionBus: each way in which there is none.
func TestNoSessionBus(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"nothing set":    {},
		"no socket":      {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"},
		"no runtime":     {"XDG_RUNTIME_DIR": "/nonexistent"},
		"none is begun":  {"DBUS_SESSION_BUS_ADDRESS": "autolaunch:"},
		"an odd address": {"DBUS_SESSION_BUS_ADDRESS": "what"},
	} {
		t.Run(name, func(t *testing.T) {
			set := map[string]string{"DBUS_SESSION_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": ""}
			maps.Copy(set, env)
			for name, value := range set {
				t.Setenv(name, value)
			}
			if _, err := (keyring.Store{Patient: true}).Load(t.Context(), key); !errors.Is(err, keyring.ErrNone) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestSilentBus: a bus that accepts and says nothing, at each step.
func TestSilentBus(t *testing.T) {
	for _, says := range []string{"", "REJECTED EXTERNAL\r\n", "REJECTED EXTERNAL\r\nOK 0123456789abcdef0123456789abcdef\r\n", "REJECTED EXTERNAL\r\nOK 0123456789abcdef0123456789abcdef\r\nERROR\r\n"} {
		ctx, cancel := context.WithCancel(t.Context())
		serveBus(t, func(c net.Conn) {
			io.WriteString(c, says)
			c.Read(make([]byte, 1))
			cancel()
			io.Copy(io.Discard, c)
		})
		if _, err := (keyring.Store{}).Load(ctx, key); !errors.Is(err, context.Canceled) {
			t.Errorf("after %q: error %v", says, err)
		}
		cancel()
	}
}
