package proxy

import (
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
}

// Scheme implements Authenticator.
func (NTLM) Scheme() string { return "NTLM" }

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

func (n NTLM) secrets() []string { return []string{n.Password} }

func (w who) ntlm() Authenticator {
	if !w.known && !hasLogonSession {
		return nil
	}
	return NTLM{Username: w.name, Password: w.secret}
}

type ntlmExchange struct {
	ntlm NTLM
	peer Peer
	leg  int // messages sent
}

// Answer sends NEGOTIATE, then AUTHENTICATE for the CHALLENGE.
func (x *ntlmExchange) Answer(_ context.Context, challenge string) (string, error) {
	token, err := token68(challenge)
	var message []byte
	switch {
	case x.leg == 2:
		return "", ErrRejected
	case x.leg == 0:
		message, err = ntlmssp.NewNegotiateMessage("", "")
	case err == nil && token == nil:
		return "", errors.New("NTLM: the proxy does not go on with it")
	case err == nil:
		message, err = ntlmssp.NewAuthenticateMessage(bindNTLM(token, tlsBinding(x.peer.Certificate)), x.ntlm.Username, x.ntlm.Password, nil)
	}
	if err != nil {
		return "", errors.New("NTLM: the proxy's challenge cannot be understood")
	}
	x.leg++
	return "NTLM " + base64.StdEncoding.EncodeToString(message), nil
}

// Bound: AUTHENTICATE answers the challenge of this connection.
func (x *ntlmExchange) Bound() bool { return x.leg == 2 }

// The parts of a CHALLENGE that bindNTLM knows [MS-NLMP 2.2.1.2, 2.2.2.1].
const (
	targetInfoAt     = 40 // length, length, offset
	challengeLen     = 48
	avEOL            = 0
	avChannelBinding = 10
)

// bindNTLM puts a channel binding into the target information of a CHALLENGE,
// which the library copies into the answer and signs. A challenge without target
// information is old and has no place for it.
func bindNTLM(challenge, binding []byte) []byte {
	if binding == nil || len(challenge) < challengeLen {
		return challenge
	}
	length := int(binary.LittleEndian.Uint16(challenge[targetInfoAt:]))
	start := uint64(binary.LittleEndian.Uint32(challenge[targetInfoAt+4:]))
	if length == 0 || start+uint64(length) > uint64(len(challenge)) {
		return challenge
	}
	var info []byte
	for rest := challenge[start:][:length]; len(rest) >= 4; {
		id, size := binary.LittleEndian.Uint16(rest), 4+int(binary.LittleEndian.Uint16(rest[2:]))
		if id == avEOL || size > len(rest) {
			break
		}
		if id != avChannelBinding {
			info = append(info, rest[:size]...)
		}
		rest = rest[size:]
	}
	hash := bindingHash(binding)
	info = binary.LittleEndian.AppendUint16(info, avChannelBinding)
	info = binary.LittleEndian.AppendUint16(info, uint16(len(hash)))
	info = append(append(info, hash[:]...), 0, 0, 0, 0) // MsvAvEOL
	if len(info) > 0xffff {
		return challenge
	}
	bound := append(append([]byte(nil), challenge...), info...)
	binary.LittleEndian.PutUint16(bound[targetInfoAt:], uint16(len(info)))
	binary.LittleEndian.PutUint16(bound[targetInfoAt+2:], uint16(len(info)))
	binary.LittleEndian.PutUint32(bound[targetInfoAt+4:], uint32(len(challenge)))
	return bound
}
