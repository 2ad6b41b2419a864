// Package login answers who is asking: with the token of a person who signs in
// through a browser ([SignIn]) or with that of a service account
// ([ServiceAccount]). Both have the two methods that a tunnel wants, Current
// and Renew.
//
// The usual path of a sign-in: the edge says 401 to a tunnel, the tunnel calls
// Renew, Renew asks the edge for a sign-in URL, waits on a loopback address
// for the browser to come back with a token, keeps it and returns it. However
// many callers wait, there is one sign-in.
//
// The package opens no connection to the edge by itself: requests leave through
// the RoundTripper it is given. It prints nothing, and neither tokens nor
// sign-in URLs are in its logs and errors.
package login
