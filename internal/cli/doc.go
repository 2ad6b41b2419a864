// Package cli is the command line: its commands, a file each, what they print,
// and the codes they exit with.
//
// The usual path: Main builds the commands (root.go), a command checks all of
// its flags (flags.go) before anything opens, wire.go plugs the other packages
// together, and every error comes back to Main, where hint.go finds a remedy,
// ui.go prints both, and exit.go picks the code.
//
// No other package of the program prints or exits.
package cli
