//go:build !windows && !darwin

package proxy_test

import (
	"encoding/asn1"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/pomerium/pomerium-cli/proxy"
)

const realm = "LAB.TEST"

// A kerberos is a realm without a KDC: it puts tickets straight into the user's
// cache.
type kerberos struct {
	t     testing.TB
	keys  *keytab.Keytab
	other *keytab.Keytab
	cache string
}

func newKerberos(t testing.TB) *kerberos {
	t.Helper()
	k := &kerberos{t: t, keys: keytab.New(), other: keytab.New(), cache: filepath.Join(t.TempDir(), "cache")}
	for _, name := range []string{"HTTP/proxy.test", "HTTP/other.test", "krbtgt/" + realm} {
		for password, keys := range map[string]*keytab.Keytab{"secret": k.keys, "old secret": k.other} {
			if err := keys.AddEntry(name, realm, password, time.Now(), 1, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
				t.Fatal(err)
			}
		}
	}
	conf := filepath.Join(t.TempDir(), "krb5.conf")
	text := "[libdefaults]\ndefault_realm = " + realm + "\ndns_lookup_kdc = false\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	setenv(t, "KRB5_CONFIG", conf)
	setenv(t, "KRB5CCNAME", "FILE:"+k.cache)
	setenv(t, "KRB5_CLIENT_KTNAME", "")
	return k
}

func setenv(t testing.TB, name, value string) {
	before, had := os.LookupEnv(name)
	os.Setenv(name, value)
	t.Cleanup(func() {
		os.Unsetenv(name)
		if had {
			os.Setenv(name, before)
		}
	})
}

// kinit writes the cache, with a ticket for the service under the key in keys.
func (k *kerberos) kinit(service string, keys *keytab.Keytab, end time.Time) {
	k.t.Helper()
	file := []byte{5, 4, 0, 0}
	file = append(file, principal("alice")...)
	for _, name := range []string{"krbtgt/" + realm, service} {
		file = append(file, k.entry(name, keys, end)...)
	}
	if err := os.WriteFile(k.cache, file, 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// entry is a credential of the file format, version 4.
func (k *kerberos) entry(name string, keys *keytab.Keytab, end time.Time) []byte {
	k.t.Helper()
	start := time.Now().Add(-time.Hour).UTC()
	client := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, "alice")
	ticket, key, err := messages.NewTicket(client, realm, types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, name), realm,
		types.NewKrbFlags(), keys, etypeID.AES256_CTS_HMAC_SHA1_96, 1, start, start, end.UTC(), end.UTC())
	if err != nil {
		k.t.Fatal(err)
	}
	der, err := ticket.Marshal()
	if err != nil {
		k.t.Fatal(err)
	}
	b := append(principal("alice"), principal(name)...)
	b = binary.BigEndian.AppendUint16(b, uint16(key.KeyType))
	b = data(b, key.KeyValue)
	for _, at := range []time.Time{start, start, end, end} {
		b = binary.BigEndian.AppendUint32(b, uint32(at.Unix()))
	}
	b = append(b, 0, 0, 0, 0, 0)           // is_skey, flags
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)  // addresses, authdata
	return data(data(b, der), []byte(nil)) // ticket, second ticket
}

func principal(name string) []byte {
	parts := strings.Split(name, "/")
	b := binary.BigEndian.AppendUint32(nil, uint32(nametype.KRB_NT_PRINCIPAL))
	b = binary.BigEndian.AppendUint32(b, uint32(len(parts)))
	b = data(b, []byte(realm))
	for _, part := range parts {
		b = data(b, []byte(part))
	}
	return b
}

func data(b, content []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(content))), content...)
}

// open verifies a token of Negotiate, and returns the binding in it (RFC 4121 4.1.1).
func (k *kerberos) open(token []byte, service string) (binding []byte, ok bool) {
	// RFC 2743 3.1 around RFC 4178 4.2.1 around RFC 2743 3.1 around RFC 4120 5.5.1.
	var outer, inner asn1.RawValue
	var mechanism asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(token, &outer); err != nil {
		return nil, false
	}
	rest, err := asn1.Unmarshal(outer.Bytes, &mechanism)
	if err != nil || mechanism.String() != "1.3.6.1.5.5.2" {
		return nil, false
	}
	var init struct {
		Types []asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
		Token []byte                  `asn1:"explicit,tag:2"`
	}
	if _, err := asn1.UnmarshalWithParams(rest, &init, "explicit,tag:0"); err != nil {
		return nil, false
	}
	if _, err := asn1.Unmarshal(init.Token, &inner); err != nil {
		return nil, false
	}
	rest, err = asn1.Unmarshal(inner.Bytes, &mechanism)
	if err != nil || mechanism.String() != "1.2.840.113554.1.2.2" || len(rest) < 2 || rest[0] != 1 {
		return nil, false
	}
	var request messages.APReq
	if err := request.Unmarshal(rest[2:]); err != nil || request.Ticket.SName.PrincipalNameString() != service {
		return nil, false
	}
	if err := request.Ticket.DecryptEncPart(k.keys, nil); err != nil {
		return nil, false
	}
	if err := request.DecryptAuthenticator(request.Ticket.DecryptedEncPart.Key); err != nil {
		return nil, false
	}
	sum := request.Authenticator.Cksum
	if sum.CksumType != 0x8003 || len(sum.Checksum) < 24 || request.Authenticator.CName.PrincipalNameString() != "alice" {
		return nil, false
	}
	return sum.Checksum[4:20], true
}

var ntlmInsideGate = insideGate

func negotiateGate(t testing.TB) *gate {
	k := newKerberos(t)
	var mu sync.Mutex
	seen := make(map[string]bool) // a token is good once
	return &gate{
		scheme:    "Negotiate",
		challenge: func() string { return "Negotiate" },
		judge: func(v *visit, credentials string) (bool, string, bool) {
			binding, ok := k.open(decode(credentials), "HTTP/proxy.test")
			mu.Lock()
			defer mu.Unlock()
			ok = ok && string(binding) == string(v.binding[:]) && !seen[credentials]
			seen[credentials] = true
			return ok, "", false
		},
		hop: func(h *proxy.Hop, good bool) {
			h.Auth = []proxy.Authenticator{&proxy.Negotiate{}}
			keys := k.keys
			if !good {
				keys = k.other
			}
			k.kinit("HTTP/proxy.test", keys, time.Now().Add(time.Hour))
		},
		said: "the proxy offers Negotiate; Negotiate: the proxy refused the Kerberos ticket for HTTP/proxy.test, and there is no fresh one: " +
			"no ticket for HTTP/proxy.test: no KDC answers",
	}
}
