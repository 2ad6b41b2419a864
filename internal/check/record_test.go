package check_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pomerium/pomerium-cli/internal/check"
)

// TestRecorder: a proxy that closes behind its 407 is dialed twice, and told of
// once; a warning becomes a step and is not said again elsewhere.
func TestRecorder(t *testing.T) {
	var passed bytes.Buffer
	r := &check.Recorder{Next: slog.NewTextHandler(&passed, nil)}
	log := slog.New(r)
	const hop, edge = "http://proxy.test:80", "https://edge.test"
	var got []check.Step
	stop := check.Listen(r, hop, edge, func(s check.Step) { got = append(got, s) })
	for range 2 {
		log.Debug("resolved", "name", "proxy.test", "addrs", []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("10.0.0.1")}, "took", 2*time.Millisecond)
		log.Debug("dialed", "addr", "proxy.test:80", "at", "10.0.0.1:80", "took", time.Millisecond)
		log.Debug("dialed", "hop", hop, "took", 3*time.Millisecond)
		log.Debug("proxy answered", "hop", hop, "status", 407, "agent", "Server: x", "offered", "NTLM, Basic")
		log.Warn("the password goes unencrypted", "hop", hop)
	}
	log.Debug("proxy answered", "hop", hop, "status", 200, "agent", "", "offered", "")
	log.Debug("proxy authenticated", "hop", hop, "scheme", "NTLM")
	log.Debug("proxy connected", "hop", hop, "target", "edge.test:443", "status", 200, "took", 5*time.Millisecond)
	log.Info("something else", "err", errors.New("x"))
	log.Debug("edge tls", "edge", "edge.test", "version", "TLS 1.3", "alpn", "h2", "issuer", "CN=x")
	stop()
	log.Debug("dialed", "addr", "proxy.test:80", "at", "10.0.0.2:80", "took", time.Millisecond)
	log.Warn("after the way")
	want := []check.Step{
		{Name: check.StepResolve, State: check.OK, At: hop, Millis: 2, Addresses: []string{"10.0.0.1"}},
		{Name: check.StepTCP, State: check.OK, At: hop, Millis: 1, Addresses: []string{"10.0.0.1:80"}},
		{Name: check.StepAgent, State: check.OK, At: hop, Agent: "Server: x"},
		{Name: check.StepOffered, State: check.OK, At: hop, Status: 407, Schemes: []string{"NTLM", "Basic"}},
		{Name: check.StepWarning, State: check.Note, At: hop, Error: "the password goes unencrypted"},
		{Name: check.StepAuth, State: check.OK, At: hop, Schemes: []string{"NTLM"}},
		{Name: check.StepConnect, State: check.OK, At: hop, Millis: 5, Target: "edge.test:443", Status: 200},
		{Name: check.StepTLS, State: check.OK, At: edge, TLS: "TLS 1.3", Protocol: "h2", Issuer: "CN=x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if said := passed.String(); strings.Contains(said, "unencrypted") || !strings.Contains(said, "something else") || !strings.Contains(said, "after the way") {
		t.Errorf("passed on: %s", said)
	}
}
