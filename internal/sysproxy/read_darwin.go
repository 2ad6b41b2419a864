package sysproxy

import "context"

// Read reads the settings as they are now, of System Configuration. An error is
// an [*Error].
//
// They are asked of the program scutil, which comes with the system: binding its
// framework by purego would cost more code and size than reading ten lines, and
// a new process costs milliseconds, once.
func Read(ctx context.Context, _ func(string) string) (Settings, error) {
	output, err := printed(ctx, "/usr/sbin/scutil", "--proxy")
	if err != nil {
		return Settings{}, &Error{Setting: macOSSource, Err: err}
	}
	s, err := parseScutil(output)
	s.Reason = "this is macOS"
	return s, err
}
