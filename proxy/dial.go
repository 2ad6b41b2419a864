package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// attemptDelay is how long an attempt has before the next one starts beside it
// (Connection Attempt Delay, RFC 8305 8).
const attemptDelay = 250 * time.Millisecond

// Dialer dials directly. It tries every address of a name, IPv6 and IPv4 in
// turn, beginning with what the resolver puts first, each 250 ms after the one
// before or when that has failed, and takes the first that answers (RFC 8305).
// Names under "localhost" are loopback addresses, whatever a resolver says (RFC
// 6761 6.3). The zero value is ready to use.
type Dialer struct {
	Timeout time.Duration                                                     // for lookup and all attempts; 0: DefaultTimeout
	Lookup  func(ctx context.Context, host string) ([]netip.Addr, error)      // nil: the system's resolver
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // dials one IP address; nil: net.Dialer
	Log     *slog.Logger                                                      // nil: no logs
}

// DialContext opens a TCP connection to addr, "host:port"; the port is a number.
func (d Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" {
		return nil, fmt.Errorf("dialing %s: network %q is not tcp", addr, network)
	}
	host, port, err := splitAddr(addr)
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	start := time.Now()
	ctx, cancel := withLimit(ctx, d.Timeout)
	defer cancel()
	ips, err := d.addresses(ctx, host)
	if err == nil && len(ips) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	if err != nil {
		return nil, cut(ctx, addr, err)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		logger(d.Log).DebugContext(ctx, "resolved", "name", host, "addrs", ips, "took", time.Since(start))
		start = time.Now()
	}
	conn, err := d.race(ctx, interleave(ips), port)
	if err != nil {
		return nil, cut(ctx, addr, err)
	}
	logger(d.Log).DebugContext(ctx, "dialed", "addr", addr, "at", conn.RemoteAddr().String(), "took", time.Since(start))
	return conn, nil
}

// cut gives the reason why ctx ended, where it has.
func cut(ctx context.Context, addr string, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("dial tcp %s: %w", addr, context.Cause(ctx))
}

func (d Dialer) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if ips := loopback(host); ips != nil {
		return ips, nil
	}
	name, err := asciiHost(host)
	if err != nil {
		return nil, err
	}
	if d.Lookup != nil {
		return d.Lookup(ctx, name)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// interleave puts the families in turn, the first address staying first (RFC
// 8305 4).
func interleave(ips []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); len(first) == 0 || ip.Is4() == first[0].Is4() {
			first = append(first, ip)
		} else {
			second = append(second, ip)
		}
	}
	all := make([]netip.Addr, 0, len(ips))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			all = append(all, first[i])
		}
		if i < len(second) {
			all = append(all, second[i])
		}
	}
	return all
}

// race dials the addresses one after the other, overlapping. All attempts have
// ended when it returns.
func (d Dialer) race(ctx context.Context, ips []netip.Addr, port uint16) (net.Conn, error) {
	dial := d.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	type result struct {
		conn net.Conn
		err  error
	}
	attempts, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result)
	next := time.NewTimer(attemptDelay)
	defer next.Stop()
	started, ended := 0, 0
	start := func() {
		addr := netip.AddrPortFrom(ips[started], port).String()
		started++
		next.Reset(attemptDelay)
		// Joined by the loop below, which receives as many results as it started.
		go func() {
			conn, err := dial(attempts, "tcp", addr)
			results <- result{conn, err}
		}()
	}
	var winner net.Conn
	var failed attemptErrors
	for start(); ended < started; {
		select {
		case <-next.C:
			if winner == nil && started < len(ips) && ctx.Err() == nil {
				start()
			}
		case r := <-results:
			ended++
			switch {
			case r.err == nil && winner == nil:
				winner = r.conn
				cancel()
			case r.err == nil:
				r.conn.Close()
			case winner == nil:
				failed = append(failed, r.err)
				if started < len(ips) && ctx.Err() == nil {
					start()
				}
			}
		}
	}
	if winner != nil {
		return winner, nil
	}
	if len(failed) == 1 {
		return nil, failed[0]
	}
	return nil, failed
}

// attemptErrors are the errors of all addresses, on one line.
type attemptErrors []error

func (e attemptErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e attemptErrors) Unwrap() []error { return e }

// splitAddr splits "host:port".
func splitAddr(addr string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if host == "" {
		return "", 0, fmt.Errorf("address %q has no host", addr)
	}
	port, err = parsePort(text)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: %w", addr, err)
	}
	return host, port, nil
}

func parsePort(text string) (uint16, error) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, errors.New("the port is not a number")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	switch {
	case err != nil:
		return 0, errors.New("the port is over 65535")
	case n == 0:
		return 0, errors.New("the port is 0")
	}
	return uint16(n), nil
}
