//go:build !linux

package listen

// holder would name the program that listens on a TCP port; systems other than
// Linux do not tell without a tool.
func holder(uint16) string { return "" }
