package routerostest

import (
	"strconv"
	"strings"
	"time"
)

// refreshResource brings uptime and flash wear up to date.
func refreshResource(r *Router, it *item) {
	order := r.tables["/system/resource"].menu.order
	it.set(order, "uptime", formatUptime(time.Since(r.booted)))
	it.set(order, "write-sect-since-reboot", strconv.FormatUint(r.writesSinceBoot, 10))
	it.set(order, "write-sect-total", strconv.FormatUint(r.stats.Writes, 10))
}

// refreshClock sets the clock to the time of the test.
func refreshClock(r *Router, it *item) {
	now := time.Now().UTC()
	order := r.tables["/system/clock"].menu.order
	it.set(order, "time", now.Format(time.TimeOnly))
	date := now.Format(time.DateOnly)
	if r.version < v710 {
		date = strings.ToLower(now.Format("Jan/02/2006"))
	}
	it.set(order, "date", date)
}

// formatUptime writes a duration as RouterOS 7 does: 1w2d3h4m5s.
func formatUptime(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	var b strings.Builder
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{7 * 24 * time.Hour, "w"}, {24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d >= unit.size {
			b.WriteString(strconv.FormatInt(int64(d/unit.size), 10) + unit.name)
			d %= unit.size
		}
	}
	return b.String()
}

// parseDuration reads a duration as RouterOS writes it: 1w2d3h4m5s, or seconds alone.
func parseDuration(s string) (time.Duration, bool) {
	const limit = 1000 * 7 * 24 * time.Hour
	var total time.Duration
	digits := 0
	for i := 0; i < len(s); i++ {
		if s[i] >= '0' && s[i] <= '9' {
			continue
		}
		unit, known := map[byte]time.Duration{
			'w': 7 * 24 * time.Hour, 'd': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second,
		}[s[i]]
		n, err := strconv.ParseUint(s[digits:i], 10, 20)
		if !known || err != nil || total > limit {
			return 0, false
		}
		total += time.Duration(n) * unit
		digits = i + 1
	}
	if digits == len(s) {
		return total, digits > 0 && total <= limit
	}
	n, err := strconv.ParseUint(s[digits:], 10, 20)
	if err != nil {
		return 0, false
	}
	total += time.Duration(n) * time.Second
	return total, total <= limit
}

func checkDuration(_ *Router, name, value string) traps {
	if _, ok := parseDuration(value); !ok {
		return refuseValue(name)
	}
	return nil
}
