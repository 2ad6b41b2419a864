// Package proxy reaches an address through a forward proxy: HTTP CONNECT in
// clear or over TLS, and SOCKS5.
//
// The usual path: a [Selector] made by [Fixed] (a flag) or [Environment]
// (HTTPS_PROXY and its relatives) says by which [Way] a URL is reached; [Dial]
// turns a selector into a dial function for one server, and [Transport] into
// an http.RoundTripper. A [Hop] can also be used alone: it is a dialer over a
// dialer.
//
// An HTTP proxy that asks who is there is answered in the strongest scheme that
// it offers and for which there is something to answer with: [Negotiate],
// [Digest] with SHA-256, [NTLM], Digest with MD5, [Basic]. Nothing is sent
// unasked. A password that nobody knows to be right is tried once, by one
// connection, while the others wait; refused, it is not sent again for a
// while, because directories lock accounts.
//
// [Logins] is asked for a user and password that no setting has, when a proxy
// wants them and not before.
//
// A setting that cannot be used is an error, never a direct connection. No
// error and no log line holds a password.
//
// The package is not a proxy server, and it carries no UDP.
package proxy
