//go:build windows || darwin

package proxy_test

import "testing"

// negotiateGate is nil: the system's own Negotiate takes the tickets of its
// logon alone. That wants a domain, where no test has run.
var negotiateGate func(testing.TB) *gate

// ntlmInsideGate is nil: the system's own Negotiate is asked first.
var ntlmInsideGate func(testing.TB) *gate
