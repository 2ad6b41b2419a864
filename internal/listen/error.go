package listen

// Reason says why a local end could not be opened.
type Reason int

// The reasons that a user can do something about.
const (
	Other      Reason = iota // see Err
	Malformed                // the spec is not one that Check accepts
	InUse                    // another program has it; see Holder
	Forbidden                // the system denies it: a port below 1024, a directory without write permission
	NotOurs                  // the address does not belong to this machine
	NotASocket               // the path exists and is something else
)

// Error says which local end could not be opened, and why.
type Error struct {
	Spec   string // as it was given
	Reason Reason
	Holder string // who might hold it, for instance "postgres (pid 812)"; empty when unknown
	Err    error  // the cause
}

func (e *Error) Error() string {
	s := "listen on " + e.Spec + ": "
	switch {
	case e.Reason == InUse && e.Holder != "":
		return s + "already in use by " + e.Holder
	case e.Reason == InUse:
		return s + "already in use by another program"
	case e.Reason == Forbidden:
		return s + "permission denied"
	case e.Reason == NotOurs:
		return s + "this machine does not have that address"
	case e.Reason == NotASocket:
		return s + "exists and is not a socket"
	default:
		return s + e.Err.Error()
	}
}

func (e *Error) Unwrap() error { return e.Err }
