package listen

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// openTCP listens on host:port. Multipath TCP, Go's default for listeners, is
// switched off: nothing is gained on loopback, and plain sockets are what
// package sock tunes.
func openTCP(spec string) (net.Listener, error) {
	host, port, err := splitTCP(spec)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	network := "tcp"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		network = "tcp4" // else Go takes 0.0.0.0 for IPv6 as well, and says so
	}
	ln, err := lc.Listen(context.Background(), network, net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err == nil {
		return ln, nil
	}
	e := &Error{Spec: spec, Err: bare(err)}
	switch {
	case errors.Is(err, sock.ErrInUse):
		e.Reason, e.Holder = InUse, holder(port)
	case errors.Is(err, fs.ErrPermission):
		e.Reason = Forbidden
	case errors.Is(err, sock.ErrNotAvailable):
		e.Reason = NotOurs
	}
	return nil, e
}

// splitTCP takes host:port apart. The port is a number: names of services
// differ from machine to machine.
func splitTCP(spec string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(spec)
	if err != nil {
		return "", 0, &Error{Spec: strconv.Quote(spec), Reason: Malformed,
			Err: errors.New("not host:port, :port, unix:/path or -")}
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, &Error{Spec: strconv.Quote(spec), Reason: Malformed,
			Err: errors.New("the port is not a number from 0 to 65535")}
	}
	return host, uint16(n), nil
}

// bare takes the system's own words out of what net wraps around them, because
// Error names the address already.
func bare(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
