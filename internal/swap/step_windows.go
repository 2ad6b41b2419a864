package swap

import (
	"errors"
	"time"

	"golang.org/x/sys/windows"
)

// patience is how long a step waits for others.
const patience = 2 * time.Second

// step is tried again while somebody is in its way. Windows replaces no file that
// another has open, and opens none that is being replaced; both take a moment.
func step(do func() error) error {
	begin := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := do()
		inTheWay := errors.Is(err, windows.ERROR_ACCESS_DENIED) || errors.Is(err, windows.ERROR_SHARING_VIOLATION)
		if !inTheWay || time.Since(begin) > patience {
			return err
		}
		time.Sleep(pause)
	}
}
