package lock

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is what CLOCK_BOOTTIME says: it goes on while the machine is suspended, whatever becomes of
// the wall clock. Zero is a kernel without it.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
