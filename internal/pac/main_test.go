package pac_test

import (
	"context"
	"net/url"
	"testing"

	"go.uber.org/goleak"

	"github.com/pomerium/pomerium-cli/internal/pac"
)

// The clock of regexp2 stops by itself, a second after the last match.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}

var edge = &url.URL{Scheme: "https", Host: "pomerium.example.com"}

// parse compiles a script that must be well.
func parse(t testing.TB, source string) *pac.Script {
	t.Helper()
	script, err := pac.Parse(context.Background(), []byte(source), "test.pac")
	if err != nil {
		t.Fatal(err)
	}
	return script
}

// eval is the value of an expression, as text.
func eval(t testing.TB, expression string, env pac.Env) string {
	t.Helper()
	script := parse(t, `function FindProxyForURL(url, host) {
		var value = `+expression+`;
		alert(typeof value + " " + value);
		return "DIRECT";
	}`)
	log := new(record)
	env.Log = log.logger()
	if _, err := script.Find(t.Context(), edge, env); err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return log.text()
}
