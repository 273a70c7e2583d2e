package check

import (
	"context"
	"fmt"
	"time"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// clock looks whether the router knows what time it is.
type clock struct{ onRouter }

// KindClock is a router whose clock is wrong.
const KindClock remedy.Kind = "clock"

// maxClockError is how far the two clocks may be apart.
const maxClockError = 5 * time.Minute

// Name implements Probe.
func (clock) Name() string { return "clock" }

// Run implements Probe.
func (clock) Run(ctx context.Context, v *visit) ([]Finding, error) {
	rows, err := v.rows(ctx, "/system/clock")
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	there, ok := parseClock(rows[0])
	if !ok {
		return []Finding{good("the router's clock says %q %q", rows[0].Value("date"), rows[0].Value("time"))}, nil
	}
	off := time.Until(there).Round(time.Second)
	if off.Abs() <= maxClockError {
		return []Finding{good("the clocks here and there agree")}, nil
	}
	return []Finding{bad(Warn, KindClock,
		fmt.Sprintf("the router's clock is %v off ours: certificates may not be valid, and the two logs do not fit", off),
		"let the router ask a time server, or mend the clock of this host",
		remedy.NewCommand("/system/ntp/client/set", "enabled", "yes", "servers", "pool.ntp.org"))}, nil
}

// parseClock reads a row of /system/clock.
func parseClock(row routeros.Row) (time.Time, bool) {
	text := row.Value("date") + " " + row.Value("time") + " " + row.Value("gmt-offset")
	// Up to 7.9 months are written as words; letters of either case are taken.
	for _, layout := range []string{"2006-01-02 15:04:05 -07:00", "Jan/02/2006 15:04:05 -07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
