package nat

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Way is the protocol in which a client asked for a mapping. The zero value is unknown: of a
// mapping that the operator has set up, and of one that a run before this one made.
type Way uint8

// The ways.
const (
	// NATPMP is that of RFC 6886.
	NATPMP Way = iota + 1
	// PCP is that of RFC 6887.
	PCP
	// IGD is that of UPnP. Its clients cannot be told of a shorter lifetime than they asked
	// for, and most never renew: doublenat holds their mappings for as long as they asked,
	// whatever the policy, until one of them deletes it (RFC 6970 §5.3).
	IGD
)

// String returns "natpmp", "pcp" or "igd", and "" for the zero value.
func (w Way) String() string {
	names := [...]string{"", "natpmp", "pcp", "igd"}
	if int(w) < len(names) {
		return names[w]
	}
	return fmt.Sprintf("way(%d)", uint8(w))
}

// MaxHeld is the longest time for which a mapping is held that was asked for by IGD: that of
// IGD:2 for one without an end (WANIPConnection:2 §2.3.16).
const MaxHeld = 7 * 24 * time.Hour

// asker is how a client asked.
type asker struct {
	way         Way
	description string
}

// maxDescription is how many bytes of a client's text are kept.
const maxDescription = 64

// askerOf returns how a request asks. Its text comes from anybody on the LAN: what is kept of it
// is short, and has no control characters, which an environment or a line cannot carry.
func askerOf(req MapRequest) asker {
	text := req.Description
	if len(text) > 4*maxDescription {
		text = text[:4*maxDescription]
	}
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, text))
	if len(text) > maxDescription {
		text = strings.TrimSpace(strings.ToValidUTF8(text[:maxDescription], ""))
	}
	return asker{req.By, text}
}

// ask notes how a mapping was asked for again. What was once asked for by IGD stays so to its
// end: that client does not ask again.
func (a *asker) ask(by asker) {
	if a.way != IGD || by.way == IGD {
		*a = by
	}
}

// clampHeld cuts a lifetime as clamp does; that of a mapping that is held may be longer.
func (c *Config) clampHeld(d time.Duration, way Way) time.Duration {
	if way == IGD {
		return max(min(d, MaxHeld).Truncate(time.Second), time.Second)
	}
	return c.clamp(d)
}
