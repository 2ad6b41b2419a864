package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/pomerium/pomerium-cli/internal/sock"
)

// The numbers of RFC 1928 and RFC 1929.
const (
	socksVersion    = 0x05
	methodNone      = 0x00 // NO AUTHENTICATION REQUIRED
	methodGSSAPI    = 0x01 // RFC 1961: not spoken here
	methodPassword  = 0x02 // USERNAME/PASSWORD
	methodNoneOf    = 0xff // NO ACCEPTABLE METHODS
	passwordVersion = 0x01
	commandConnect  = 0x01
	commandUDP      = 0x03 // UDP ASSOCIATE
	addressIPv4     = 0x01
	addressName     = 0x03
	addressIPv6     = 0x04
	replySucceeded  = 0x00
)

// Reply is the reply field with which a SOCKS5 proxy refuses (RFC 1928 6). It
// is the cause in an Error.
type Reply byte

var replies = map[Reply]string{
	1: "the proxy failed (general SOCKS server failure)",
	2: "the proxy's rules do not allow this connection",
	3: "the network of the target is unreachable for the proxy",
	4: "the target is unreachable for the proxy, or its name is unknown there (host unreachable)",
	5: "the target refused the proxy's connection",
	6: "the proxy's connection to the target took too long (TTL expired)",
	7: "the proxy does not know the command CONNECT",
	8: "the proxy does not support this type of address",
}

func (r Reply) Error() string {
	if text, ok := replies[r]; ok {
		return fmt.Sprintf("%s (SOCKS5 reply %d)", text, byte(r))
	}
	return fmt.Sprintf("the proxy refused for a reason that RFC 1928 does not define (SOCKS5 reply %d)", byte(r))
}

// socks asks a SOCKS5 proxy for a tunnel (RFC 1928).
func (h *Hop) socks(ctx context.Context, target string) (net.Conn, error) {
	address, err := socksAddress(target)
	if err != nil {
		return nil, h.fail(ctx, OpConnect, target, err)
	}
	w, err := h.socksOpen(ctx, target)
	if err != nil {
		return nil, err
	}
	if _, err := w.socksAsk(commandConnect, address); err != nil {
		w.close()
		if host, _, _ := net.SplitHostPort(target); err == Reply(8) && isIPv6(host) {
			err = fmt.Errorf("the proxy cannot reach IPv6 addresses, try the name of the target: %w", err)
		}
		return nil, h.fail(ctx, OpConnect, target, err)
	}
	return w.opened(ctx, target, replySucceeded)
}

// socksOpen reaches the proxy and says who is asking.
func (h *Hop) socksOpen(ctx context.Context, target string) (*wire, error) {
	w, err := h.open(ctx)
	if err != nil {
		return nil, err
	}
	id := h.me()
	method, err := w.socksGreet(id.user)
	if err != nil {
		w.close()
		return nil, h.fail(ctx, OpConnect, target, err)
	}
	if err := h.socksLogin(ctx, w, method, id); err != nil {
		w.close()
		return nil, h.fail(ctx, OpAuth, target, err)
	}
	if method == methodPassword {
		h.log().DebugContext(ctx, "proxy authenticated", "hop", h.String(), "scheme", "user and password")
	}
	return w, nil
}

// checkSOCKS refuses what RFC 1929 cannot carry: one to 255 bytes each.
func checkSOCKS(user *url.Userinfo) error {
	if user == nil {
		return nil
	}
	password, _ := user.Password()
	switch {
	case user.Username() == "", password == "":
		return errors.New("SOCKS5 needs both a user name and a password, or neither (RFC 1929)")
	case len(user.Username()) > 255, len(password) > 255:
		return errors.New("the user name or password is longer than 255 bytes, which SOCKS5 cannot carry")
	}
	return nil
}

// socksGreet offers methods and returns the proxy's choice.
func (w *wire) socksGreet(user *url.Userinfo) (method byte, err error) {
	methods := []byte{methodNone}
	if user != nil {
		methods = append(methods, methodPassword)
	}
	greeting := append([]byte{socksVersion, byte(len(methods))}, methods...)
	if _, err := w.conn.Write(greeting); err != nil {
		return 0, fmt.Errorf("sending the SOCKS5 greeting: %w", err)
	}
	answer, err := w.socksAnswer(2)
	if err != nil {
		return 0, err
	}
	return answer[1], nil
}

// socksLogin does what the method asks for. A method that was not offered must
// not be mistaken for none.
func (h *Hop) socksLogin(ctx context.Context, w *wire, method byte, id *identity) error {
	switch {
	case method == methodNone:
		return nil
	case method == methodPassword && id.user != nil:
		return h.socksPassword(ctx, w, id)
	case method == methodNoneOf && id.user == nil:
		want := h.want("SOCKS5", "")
		want.Clear = true
		return &wanted{error: errors.New("the proxy does not let anyone in without authentication, and its URL has no user and password"), want: want}
	case method == methodNoneOf:
		return errors.New("the proxy accepts neither user and password nor no authentication")
	case method == methodGSSAPI:
		return errors.New("the proxy wants GSS-API authentication (SOCKS5 method 1), which is not spoken here")
	default:
		return fmt.Errorf("the proxy chose authentication method %d, which was not offered", method)
	}
}

// socksPassword has the password judged, one at a time as long as nobody knows
// whether it is right.
func (h *Hop) socksPassword(ctx context.Context, w *wire, id *identity) error {
	turn, err := id.standing.admit(ctx, nil)
	if err != nil {
		return err
	}
	if turn {
		defer id.standing.pass()
	}
	err = w.socksPassword(id.user)
	switch {
	case err == nil:
		h.accepted(id, &demand{})
	case errors.Is(err, ErrRejected):
		id.standing.refuse()
	}
	return err
}

// socksPassword is RFC 1929. Not all proxies put its version into the answer.
func (w *wire) socksPassword(user *url.Userinfo) error {
	password, _ := user.Password()
	request := []byte{passwordVersion, byte(len(user.Username()))}
	request = append(request, user.Username()...)
	request = append(request, byte(len(password)))
	request = append(request, password...)
	if _, err := w.conn.Write(request); err != nil {
		return fmt.Errorf("sending user and password: %w", err)
	}
	answer, err := w.take(2)
	if errors.Is(err, io.EOF) || errors.Is(err, sock.ErrReset) {
		return fmt.Errorf("%w (it closed the connection)", ErrRejected)
	}
	if err != nil {
		return fmt.Errorf("reading the answer to user and password: %w", err)
	}
	if answer[1] != 0 {
		return ErrRejected
	}
	return nil
}

// socksAddress encodes host and port, behind the type of the host (RFC 1928 5).
// Names are sent as names.
func socksAddress(target string) ([]byte, error) {
	host, portText, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	var address []byte
	if ip, err := netip.ParseAddr(host); err == nil {
		kind := byte(addressIPv4)
		if ip.Is6() {
			kind = addressIPv6
		}
		address = append([]byte{kind}, ip.AsSlice()...)
	} else {
		if len(host) > 255 {
			return nil, errors.New("the host name is longer than 255 bytes, which SOCKS5 cannot carry")
		}
		address = append([]byte{addressName, byte(len(host))}, host...)
	}
	return binary.BigEndian.AppendUint16(address, uint16(port)), nil
}

// socksAsk sends a request and reads the reply to its exact end: what follows
// belongs to the target. The reserved byte is not ours to judge, and a refusal
// may be cut short. bound is BND.ADDR and BND.PORT, which CONNECT has no use for.
func (w *wire) socksAsk(command byte, address []byte) (bound string, err error) {
	if _, err := w.conn.Write(append([]byte{socksVersion, command, 0}, address...)); err != nil {
		return "", fmt.Errorf("sending the SOCKS5 request: %w", err)
	}
	if err := w.peek(); errors.Is(err, io.EOF) { // it has answered the greeting, so it is a SOCKS5 proxy
		return "", fmt.Errorf("the proxy closed the connection in place of a reply, as ssh -D does where it does not reach the target: %w", io.ErrUnexpectedEOF)
	}
	answer, err := w.socksAnswer(2)
	if err != nil {
		return "", err
	}
	if code := answer[1]; code != replySucceeded {
		return "", Reply(code)
	}
	if answer, err = w.take(2); err != nil {
		return "", ended(err, true, "a SOCKS5")
	}
	kind := answer[1]
	var length int
	switch kind {
	case addressIPv4:
		length = net.IPv4len
	case addressIPv6:
		length = net.IPv6len
	case addressName:
		if answer, err = w.take(1); err != nil {
			return "", ended(err, true, "a SOCKS5")
		}
		length = int(answer[0])
	default:
		return "", fmt.Errorf("the proxy's reply has an address of type %d, which RFC 1928 does not define", kind)
	}
	if answer, err = w.take(length + 2); err != nil {
		return "", ended(err, true, "a SOCKS5")
	}
	host := string(answer[:length])
	if ip, ok := netip.AddrFromSlice(answer[:length]); ok && kind != addressName {
		host = ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(answer[length:])))), nil
}

// socksAnswer takes n bytes that begin with the version.
func (w *wire) socksAnswer(n int) ([]byte, error) {
	if err := w.peek(); err != nil {
		return nil, ended(err, false, "a SOCKS5")
	}
	if w.in[0] != socksVersion {
		got, said := identify(w.in)
		return nil, &WrongProtocol{Want: "SOCKS5", Got: got, Said: said}
	}
	answer, err := w.take(n)
	if err != nil {
		return nil, ended(err, true, "a SOCKS5")
	}
	return answer, nil
}

func isIPv6(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Is6()
}
