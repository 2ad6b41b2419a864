// Package sysproxy reads what the operating system says about forward proxies.
//
// [Read] asks whoever has the say on this system: GNOME or KDE, and
// /etc/environment where neither does; the registry on Windows; System
// Configuration on macOS. It returns plain data: a script, variables, or proxies
// for each kind of target, and the hosts that are excepted. There is a file for
// each of them that understands its syntax and runs anywhere; what reads the
// system is in read_*.go.
//
// Reading dials nothing and changes nothing. Automatic detection (WPAD) is
// reported and never done: see [Settings].Detect.
//
// The package does not choose, connect or run scripts.
package sysproxy
