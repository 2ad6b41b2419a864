// Package proxy reaches an address through a forward proxy: HTTP CONNECT in
// clear or over TLS, and SOCKS5.
//
// The usual path: a [Selector] made by [Fixed] (a flag) or [Environment]
// (HTTPS_PROXY and its relatives) says by which [Way] a URL is reached; [Dial]
// turns a selector into a dial function for one server, and [Transport] into
// an http.RoundTripper. A [Hop] can also be used alone: it is a dialer over a
// dialer.
//
// A setting that cannot be used is an error, never a direct connection. No
// error and no log line holds a password.
//
// The package is not a proxy server, and it carries no UDP.
package proxy
