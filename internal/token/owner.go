package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// maxOwner bounds what a lock file says, in bytes.
const maxOwner = 4 << 10

// maxReason bounds the words of a failure, in bytes.
const maxReason = 512

// owner is whose turn it is to sign in, or whose it was last: the content of a
// lock file.
type owner struct {
	ID      string    `json:"id"` // of the run; a process id comes again
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Command string    `json:"command"`
	Start   time.Time `json:"start"`
	Beat    int       `json:"beat"`              // counts up while the sign-in goes on
	Ended   time.Time `json:"ended,omitzero"`    // zero: it goes on, or the process was killed
	Failure string    `json:"failure,omitempty"` // what is said after "the sign-in of ..."
}

// decodeOwner reads a lock file. What cannot be understood is somebody unknown
// of this machine: the lock itself says whether the sign-in goes on.
func decodeOwner(content []byte) owner {
	var o owner
	if json.Unmarshal(content, &o) != nil {
		return owner{}
	}
	o.Host, o.Command, o.Failure = line(o.Host), line(o.Command), line(o.Failure)
	return o
}

func (o owner) encode() []byte {
	content, err := json.Marshal(o)
	if err != nil || len(content) > maxOwner {
		return nil
	}
	return append(content, '\n')
}

// end notes how the sign-in ended.
func (o *owner) end(failure error) {
	o.Ended = time.Now()
	switch {
	case failure == nil:
	case errors.Is(failure, context.Canceled):
		o.Failure = "was cancelled"
	default:
		o.Failure = "failed: " + line(failure.Error())
	}
}

// over reports whether nobody's sign-in goes on, as far as the file tells.
func (o owner) over() bool { return o.ID == "" || !o.Ended.IsZero() }

// here reports whether the owner is on this machine: whether it is alive, the
// lock tells then. From another machine the lock may not be seen, or not given
// back.
func (o owner) here() bool {
	host, err := os.Hostname()
	return err == nil && o.Host == host
}

// String names the owner to a person.
func (o owner) String() string {
	if o.ID == "" {
		return "another process"
	}
	s := fmt.Sprintf("process %d", o.PID)
	if o.Command != "" {
		s += " (" + o.Command + ")"
	}
	if !o.here() {
		s += " on " + o.Host
	}
	return s
}

// line makes one short line of a text that another process wrote.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	return s
}
