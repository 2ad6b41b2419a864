//go:build !linux && !darwin

package sock

// unsent is not known on this system.
func unsent(uintptr) (int, error) { return 0, nil }
