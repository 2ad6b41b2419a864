// Package listen opens the local ends of tunnels: a TCP port, a Unix socket,
// or our own standard input and output, and serves what connects to them.
//
// The usual path: Open a listener, then Server.Serve it with a function that
// opens the far end. For "-", NewStdio gives the one local end there is.
//
// It does not know what a tunnel is, nor what to tell a user: a tunnel that
// could not be opened is an error handed to Server.Failed.
package listen
