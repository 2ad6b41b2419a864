package listen

import (
	"fmt"
	"net"
	"strings"
)

// unixPrefix marks a path of a Unix socket in a spec.
const unixPrefix = "unix:"

// IsStdio reports whether a spec means standard input and output.
func IsStdio(spec string) bool { return spec == "-" }

// Check tells whether a spec can be understood, without opening anything.
// A spec is "host:port", ":port" (every address of this machine), port 0 for
// any free port, "unix:/path", or "-" for standard input and output.
func Check(spec string) error {
	if IsStdio(spec) {
		return nil
	}
	if path, ok := strings.CutPrefix(spec, unixPrefix); ok {
		return checkUnix(path)
	}
	_, _, err := splitTCP(spec)
	return err
}

// Open opens the local end that spec names (see Check). It does not open "-",
// which is not a listener: see NewStdio.
func Open(spec string) (net.Listener, error) {
	if IsStdio(spec) {
		return nil, fmt.Errorf("listen on %q: standard input and output is not a listener", spec)
	}
	if path, ok := strings.CutPrefix(spec, unixPrefix); ok {
		return openUnix(path)
	}
	return openTCP(spec)
}
