package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/Azure/go-ntlmssp"
)

// NTLM is Microsoft's scheme of that name, version 2 [MS-NLMP]. It
// authenticates a connection: all three messages travel on one. To an https
// proxy the answer is bound to its certificate. Windows answers by itself for
// the user who is logged on when Username is empty.
type NTLM struct {
	Username string // DOMAIN\user, user@realm, or user alone: the proxy's own domain
	Password string
	Unasked  bool // begins with the first request, where NTLM comes first in Hop.Auth
	// Inside makes it an answer to Negotiate, in which it travels (RFC 4178), for a
	// proxy that offers no NTLM by that name. Username may not be empty then.
	Inside bool
}

// Scheme implements Authenticator.
func (n NTLM) Scheme() string {
	if n.Inside {
		return "Negotiate"
	}
	return "NTLM"
}

// Begin implements Authenticator.
func (n NTLM) Begin(ctx context.Context, peer Peer) (Exchange, error) {
	if n.Username == "" {
		session, err := logonSession(ctx, "NTLM", peer)
		return &sessionExchange{scheme: "NTLM", session: session}, err
	}
	return &ntlmExchange{ntlm: n, peer: peer}, nil
}

// String keeps the password out of what is printed.
func (n NTLM) String() string { return "NTLM" }

// GoString keeps it out of %#v too.
func (n NTLM) GoString() string { return "proxy.NTLM{}" }

func (n NTLM) unasked() bool { return n.Unasked }

func (n NTLM) secrets() []string { return []string{n.Password} }

func (w who) ntlm() Authenticator {
	if !w.known && !hasLogonSession {
		return nil
	}
	return NTLM{Username: w.name, Password: w.secret, Unasked: w.alone()}
}

// ntlmInside is for who has a password and no ticket. Windows does it by itself.
func (w who) ntlmInside() Authenticator {
	if !w.known || hasLogonSession {
		return nil
	}
	return NTLM{Username: w.name, Password: w.secret, Inside: true}
}

// isNTLM says whether credentials are a message of NTLM, by themselves or inside
// Negotiate [MS-NLMP 2.2.1].
func isNTLM(credentials string) bool {
	message, err := token68(credentials)
	return err == nil && bytes.Contains(message, []byte("NTLMSSP\x00"))
}

type ntlmExchange struct {
	ntlm NTLM
	peer Peer
	leg  int // messages sent
}

// Answer sends NEGOTIATE, then AUTHENTICATE for the CHALLENGE.
func (x *ntlmExchange) Answer(_ context.Context, challenge string) (string, error) {
	token, err := token68(challenge)
	if x.ntlm.Inside && token != nil {
		token = spnegoToken(token)
	}
	var message []byte
	switch {
	case x.leg == 2:
		return "", ErrRejected
	case x.leg == 0:
		message, err = ntlmssp.NewNegotiateMessage("", "")
		if err == nil {
			message[flagsAt] |= requestTarget
		}
	case err == nil && token == nil:
		return "", errors.New("NTLM: the proxy does not go on with it")
	case err == nil:
		message, err = ntlmssp.NewAuthenticateMessage(forLibrary(token, tlsBinding(x.peer.Certificate)), x.ntlm.Username, x.ntlm.Password, nil)
	}
	switch {
	case err != nil || !x.ntlm.Inside:
	case x.leg == 0:
		message, err = spnegoInit(oidNTLM, message)
	default:
		message, err = spnegoAnswer(message)
	}
	if err != nil {
		return "", errors.New("NTLM: the proxy's challenge cannot be understood")
	}
	x.leg++
	return x.ntlm.Scheme() + " " + base64.StdEncoding.EncodeToString(message), nil
}

// Bound: AUTHENTICATE answers the challenge of this connection.
func (x *ntlmExchange) Bound() bool { return x.leg == 2 }

// Without requestTarget in NEGOTIATE some servers send no target information,
// and there is no place for a channel binding [MS-NLMP 2.2.1.1, 2.2.2.5].
const (
	flagsAt       = 12
	requestTarget = 0x04
)

// The parts of a CHALLENGE that are known here [MS-NLMP 2.2.1.2, 2.2.2.1]. Each
// field is its length, its length again, and its offset.
const (
	targetNameAt     = 12
	targetInfoAt     = 40
	shortChallenge   = 32 // the oldest end here
	fullChallenge    = 48
	avEOL            = 0
	avChannelBinding = 10
)

// forLibrary makes a CHALLENGE one that the library can read: the target's name,
// which nothing depends on, and the target information, if they are not where
// they are said to be (squid's ntlm_fake_auth), count as absent. The binding goes
// into the target information, which is copied into the answer and signed; a
// challenge without it is old and has no place for it.
func forLibrary(challenge, binding []byte) []byte {
	if len(challenge) < shortChallenge {
		return challenge
	}
	c := append([]byte(nil), challenge...)
	if len(c) < fullChallenge {
		c = append(c, make([]byte, fullChallenge-len(c))...)
	}
	setField(c, targetNameAt, nil, 0)
	info, ok := field(c, targetInfoAt)
	if !ok {
		setField(c, targetInfoAt, nil, 0)
	}
	if len(info) == 0 || binding == nil {
		return c
	}
	info = withBinding(info, bindingHash(binding))
	setField(c, targetInfoAt, info, len(c))
	return append(c, info...)
}

// withBinding replaces the channel binding in a list of AV pairs.
func withBinding(pairs []byte, hash [16]byte) []byte {
	var list []byte
	for len(pairs) >= 4 {
		id, size := binary.LittleEndian.Uint16(pairs), 4+int(binary.LittleEndian.Uint16(pairs[2:]))
		if id == avEOL || size > len(pairs) {
			break
		}
		if id != avChannelBinding {
			list = append(list, pairs[:size]...)
		}
		pairs = pairs[size:]
	}
	list = append(list, avChannelBinding, 0, byte(len(hash)), 0)
	list = append(list, hash[:]...)
	return append(list, avEOL, 0, 0, 0)
}

func field(message []byte, at int) (content []byte, ok bool) {
	length := uint64(binary.LittleEndian.Uint16(message[at:]))
	start := uint64(binary.LittleEndian.Uint32(message[at+4:]))
	if start+length > uint64(len(message)) {
		return nil, false
	}
	return message[start:][:length], true
}

func setField(message []byte, at int, content []byte, start int) {
	binary.LittleEndian.PutUint16(message[at:], uint16(len(content)))
	binary.LittleEndian.PutUint16(message[at+2:], uint16(len(content)))
	binary.LittleEndian.PutUint32(message[at+4:], uint32(start))
}
