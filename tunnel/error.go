package tunnel

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pomerium/pomerium-cli/internal/edge"
	"github.com/pomerium/pomerium-cli/internal/h2connect"
)

// An AnswerError is the edge's refusal of a tunnel.
type AnswerError = edge.AnswerError

// An Error is a failure between us and the edge, behind whatever Dial reached.
type Error struct {
	Edge        string // host:port
	Destination string // "" while there is none
	Op          string // "tls", "connect" or "tunnel"
	Err         error
}

func (e *Error) Error() string {
	if e.Destination != "" {
		return fmt.Sprintf("edge %s: %s to %s: %v", e.Edge, e.Op, e.Destination, e.Err)
	}
	return fmt.Sprintf("edge %s: %s: %s", e.Edge, e.Op, strings.TrimPrefix(e.Err.Error(), "tls: ")) // crypto/tls says it, too
}

func (e *Error) Unwrap() error { return e.Err }

// An IdleError is the end of an HTTP/1.1 tunnel that was cut while nobody said
// anything: by the idle limit of a proxy, most often. Nothing in band can keep
// such a tunnel open; HTTP/2 has PING.
type IdleError struct {
	Quiet time.Duration // since the last byte either way
	Err   error
}

func (e *IdleError) Error() string {
	return fmt.Sprintf("closed by something on the way after %s idle: %v", e.Quiet.Round(time.Second), e.Err)
}

func (e *IdleError) Unwrap() error { return e.Err }

// Errors that decide what to tell the user.
var (
	// ErrCut means that the connection ended without the proper close that an
	// edge sends, so that bytes may be missing.
	ErrCut = h2connect.ErrCut
	// ErrDeadPath means that nothing came back, not even the answer to a PING.
	ErrDeadPath = h2connect.ErrDeadPath
	// ErrNotTLS means that something on the way answered the TLS handshake in
	// plain text: a captive portal, or a port that does not speak TLS.
	ErrNotTLS = errors.New("the answer is plain text, not TLS: a sign-in page of the network, or the wrong port")
	// ErrSilent means that nothing came for minutes after the local program had
	// ended its side.
	ErrSilent = errors.New("no answer after the end of the local program's input")
	// ErrNoAnswer means that a CONNECT was not answered, which an edge always
	// does: something on the way does not pass it on.
	ErrNoAnswer = errors.New("no answer to CONNECT within 35 s")
	// ErrNoH2 means that h2 was insisted on and the edge does not offer it.
	ErrNoH2 = errors.New("the edge does not offer h2")
)

// Lost tells whether err ended a tunnel because the whole connection under it
// was lost. A Client logs such a loss once, however many tunnels it took.
func Lost(err error) bool { return h2connect.Lost(err) }

// handshakeError explains what a TLS handshake met. A certificate that is not
// trusted is named, with who issued it: a forward proxy that takes TLS apart
// shows one of its own.
func handshakeError(err error) error {
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0 {
		shown := unverified.UnverifiedCertificates[0]
		return fmt.Errorf("%w (certificate of %s, issued by %s)", err, shown.Subject, shown.Issuer)
	}
	var record tls.RecordHeaderError
	if !errors.As(err, &record) {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the connection was closed during the handshake: %w", io.ErrUnexpectedEOF)
		}
		return err
	}
	head := bytes.TrimSpace(record.RecordHeader[:])
	if bytes.HasPrefix(head, []byte("HTTP")) || bytes.HasPrefix(head, []byte("<")) {
		return ErrNotTLS
	}
	return err
}
