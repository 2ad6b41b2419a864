package kubecred_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/kubecred"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseRequest(t *testing.T) {
	const v1 = `"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"`
	for info, want := range map[string]kubecred.Request{
		"": {Version: "v1beta1", Interactive: true},
		`{` + v1 + `,"spec":{"interactive":false}}`:                                                {Version: "v1"},
		`{` + v1 + `,"spec":{"interactive":true,"cluster":{"server":"https://api.test"}}}`:         {Version: "v1", Interactive: true, Server: "https://api.test"},
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{}}`:  {Version: "v1beta1", Interactive: true},
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1","spec":{}}`: {},
		`{"kind":"Other","apiVersion":"client.authentication.k8s.io/v1"}`:                          {},
		`{` + v1 + `,"spec":{"interactive":"no"}}`:                                                 {},
		`[]`: {}, `x`: {},
	} {
		got, err := kubecred.ParseRequest(info)
		if (err != nil) != (want == kubecred.Request{}) || got != want {
			t.Errorf("%s: got %+v, %v", info, got, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	got := string(kubecred.Request{Version: "v1"}.Answer(kubecred.Credential{Token: "a.b.c"}))
	if want := `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"Pomerium-a.b.c"}}` + "\n"; got != want {
		t.Error(cmp.Diff(want, got))
	}
	got = string(kubecred.Request{Version: "v1beta1"}.Answer(kubecred.Credential{Token: "a.b.c", Certificate: "CERT\n", Key: "KEY\n", Until: time.Unix(1<<31, 0)}))
	if !strings.Contains(got, `/v1beta1"`) || !strings.Contains(got, `{"expirationTimestamp":"2038-01-19T03:14:08Z","token":`) ||
		!strings.Contains(got, `"clientCertificateData":"CERT\n","clientKeyData":"KEY\n"`) {
		t.Error(got)
	}
}

// The name and the content of a file as the existing client has them.
func TestCache(t *testing.T) {
	c := kubecred.Cache{Dir: filepath.Join(t.TempDir(), "exec-credential")}
	const url = "https://auth.example.com/token"
	path := filepath.Join(c.Dir, "27f4439380a643f3f500cfdf6e2ab9b707eeb6fe712e8b3d1dd726f2bb67100c.json")
	expect(t, c, url, "")
	must(t, c.Remove(url))
	must(t, c.Save(url, "a.b.c"))
	expect(t, c, url, "a.b.c")
	var kept struct {
		Kind, APIVersion string
		Status           struct {
			ExpirationTimestamp time.Time
			Token               string
		}
	}
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, json.Unmarshal(data, &kept))
	if kept.Kind != "ExecCredential" || kept.Status.Token != "Pomerium-a.b.c" || !kept.Status.ExpirationTimestamp.After(time.Now()) {
		t.Errorf("%s", data)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	must(t, c.Delete(url, "another"))
	expect(t, c, url, "a.b.c")
	must(t, c.Delete(url, "a.b.c"))
	expect(t, c, url, "")
	must(t, os.WriteFile(path, []byte(`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"expirationTimestamp":"1970-01-01T00:00:00Z","token":"Pomerium-d.e.f"}}`), 0o600))
	expect(t, c, url, "d.e.f")
	must(t, c.Clear())
	expect(t, c, url, "")
}

// Forgotten is a token for every URL.
func TestForget(t *testing.T) {
	c := kubecred.Cache{Dir: filepath.Join(t.TempDir(), "exec-credential")}
	must(t, c.Forget("a.b.c"))
	for url, token := range map[string]string{"one": "a.b.c", "two": "d.e.f", "three": "a.b.c"} {
		must(t, c.Save(url, token))
	}
	must(t, c.Forget("a.b.c"))
	for url, want := range map[string]string{"one": "", "two": "d.e.f", "three": ""} {
		expect(t, c, url, want)
	}
}

func expect(t *testing.T, c kubecred.Cache, url, want string) {
	t.Helper()
	if got, err := c.Load(url); got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":true,"cluster":{"server":"x"}}}`)
	f.Add(`{"spec":{"cluster":null}}`)
	f.Add(``)
	f.Fuzz(func(t *testing.T, info string) {
		r, err := kubecred.ParseRequest(info)
		if (err == nil) != (r.Version == "v1" || r.Version == "v1beta1") {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// FuzzCache: what another program left is a token that a header can carry, or none.
func FuzzCache(f *testing.F) {
	f.Add([]byte(`{"status":{"token":"Pomerium-a.b.c"}}`))
	f.Add([]byte(`{"status":{"token":"other"}}`))
	f.Add([]byte(`{"status":null}`))
	f.Add([]byte(`x`))
	f.Fuzz(func(t *testing.T, content []byte) {
		c := kubecred.Cache{Dir: t.TempDir()}
		must(t, c.Save("u", "a"))
		names, err := filepath.Glob(filepath.Join(c.Dir, "*.json"))
		must(t, err)
		must(t, os.WriteFile(names[0], content, 0o600))
		got, err := c.Load("u")
		if err != nil || strings.ContainsAny(got, " \r\n\x00") {
			t.Errorf("%q, %v", got, err)
		}
		must(t, c.Save("u", "b"))
		expect(t, c, "u", "b")
	})
}
