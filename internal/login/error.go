package login

import "errors"

// ErrRefused says that the edge refused the token of a service account. No
// sign-in replaces it.
var ErrRefused = errors.New("refused by the edge")

// ErrFreshRefused says that the edge refused the token of a sign-in that was
// completed a moment before. Another sign-in would end the same way: the route
// has an identity provider of its own or wants a registered device, or the
// token comes from another cluster.
var ErrFreshRefused = errors.New("the edge refuses the token of the sign-in just completed")

// Error says that there is no token to go on with. What came from the edge or
// from a forward proxy on the way is in its chain.
type Error struct {
	Op  string // "signing in to pomerium.example.com", "service account in /path"
	Err error
	// Account says that it is about a service account, which no sign-in replaces.
	Account bool
}

// Error returns the operation and its cause.
func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
