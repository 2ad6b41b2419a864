package h2connect

import (
	"errors"
	"fmt"

	"golang.org/x/net/http2"
)

// Why a request did not go out, or a connection ended.
var (
	errRetired = errors.New("the connection takes no new streams")
	errFull    = errors.New("the peer's stream limit is reached")

	// ErrDeadPath means that nothing came back, not even the answer to a PING.
	ErrDeadPath = errors.New("the path is dead: no answer to a ping")
	// ErrNotHTTP2 means that the peer agreed on h2 and speaks something else.
	ErrNotHTTP2 = errors.New("the peer agreed on h2 but speaks another protocol")
	// ErrCut means that the connection ended without a proper close.
	ErrCut = errors.New("the connection was cut")
	// ErrStopped means that the caller has stopped a wait. The stream goes on.
	ErrStopped = errors.New("stopped")
	// ErrQueueLimit means that the queues of all streams held too much, and
	// this one held the most.
	ErrQueueLimit = errors.New("the local program read too slowly: the queue limit is reached")
)

// An Error says what ended a stream, or kept it from opening.
type Error struct {
	Op   string // "open", "stream", "connection"
	Code http2.ErrCode
	Err  error // nil: a reset by the peer, with Code
	// Cut says that bytes were lost on the way: the peer reset a shared stream
	// for its own reasons before the destination's end.
	Cut bool

	unprocessed bool
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("http/2 %s: %v", e.Op, e.Err)
	}
	if e.Cut {
		return fmt.Sprintf("http/2 %s: cut by the peer (%v): bytes are lost, perhaps because the local program read slowly", e.Op, e.Code)
	}
	return fmt.Sprintf("http/2 %s: reset by the peer (%v)", e.Op, e.Code)
}

func (e *Error) Unwrap() error { return e.Err }

// A violation is a rule of the protocol that the peer broke, and that ends the
// connection.
type violation struct {
	code http2.ErrCode
	what string
}

func (v *violation) Error() string { return v.what }

// brokenRule returns the code of the rule whose breach err is, or NO_ERROR.
func brokenRule(err error) http2.ErrCode {
	var v *violation
	var found http2.ConnectionError // by the framer
	switch {
	case errors.As(err, &v):
		return v.code
	case errors.As(err, &found):
		return http2.ErrCode(found)
	}
	return http2.ErrCodeNo
}

// Unprocessed tells whether err says that the peer did not act on a request,
// so that it is safe to send it again (RFC 9113 section 8.7).
func Unprocessed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.unprocessed
}

// Full tells whether err says that a request stayed here, because the peer's
// stream limit was reached.
func Full(err error) bool { return errors.Is(err, errFull) }

// Lost tells whether err says that the whole connection is gone.
func Lost(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Op == "connection"
}

// Wants11 tells whether the peer says that HTTP/1.1 has to be used in place of
// HTTP/2 (RFC 9113 section 7, HTTP_1_1_REQUIRED), or speaks something else.
func Wants11(err error) bool {
	var e *Error // of the stream, or of all by GOAWAY
	return errors.Is(err, ErrNotHTTP2) || errors.As(err, &e) && e.Code == http2.ErrCodeHTTP11Required
}

// Malformed tells whether the peer takes a request for malformed (RFC 9113
// section 8.1.1): that one, or every CONNECT because it knows of none.
func Malformed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Err == nil && e.Code == http2.ErrCodeProtocol
}
