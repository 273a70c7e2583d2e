package routerostest

import (
	"fmt"
	"strconv"
	"strings"
)

// version is a RouterOS version as far as behavior depends on it: major*1000 + minor.
type version int

// The versions at which something changes that a client can see.
const (
	v649 version = 6049
	v701 version = 7001
	v704 version = 7004
	v710 version = 7010
	v713 version = 7013
	v715 version = 7015
	v716 version = 7016
	v718 version = 7018
	v719 version = 7019
	v720 version = 7020
	v721 version = 7021
	v722 version = 7022
	v723 version = 7023
)

// parseVersion reads "7.18", "7.18.2" or "6.49.10".
func parseVersion(s string) (version, error) {
	majorText, rest, _ := strings.Cut(s, ".")
	minorText, patch, patched := strings.Cut(rest, ".")
	major, errMajor := strconv.Atoi(majorText)
	minor, errMinor := strconv.Atoi(minorText)
	var errPatch error
	if patched {
		_, errPatch = strconv.ParseUint(patch, 10, 16)
	}
	v := version(major*1000 + minor)
	if errMajor != nil || errMinor != nil || errPatch != nil || minor < 0 || minor > 999 || v < v649 || major > 7 {
		return 0, fmt.Errorf("version %q: want 6.49 or 7.1 and later, for example 7.18", s)
	}
	return v, nil
}

// span is a range of versions: from since on and before the other, 0 for no
// limit. The zero value spans every version.
type span struct{ since, before version }

// has reports whether v lies in the span.
func (s span) has(v version) bool { return v >= s.since && (s.before == 0 || v < s.before) }

// behavior is what a version does in its own way.
type behavior struct {
	// emptyReply is the !empty sentence before the !done of a print without rows.
	emptyReply bool
	// namesParameter adds the name to "unknown parameter".
	namesParameter bool
	// numbersErrors adds the number to "no such item".
	numbersErrors bool
	// twoTraps answers an unknown command with two traps and not with one.
	twoTraps bool
	// failurePrefix puts "failure: " before the complaint about ports without a protocol.
	failurePrefix bool
	// immediateGateway is the property of v7 routes; v6 has gateway-status.
	immediateGateway bool
	// routeCheck is /ip/route/check.
	routeCheck bool
	// logFields prints log and log-prefix in every NAT rule.
	logFields bool
	// emptyMatchers prints some matchers that are not set, with an empty value.
	emptyMatchers bool
	// natPMP is the built-in server at /ip/nat-pmp.
	natPMP bool
	// maxSessions limits the sessions of a service and logs idle users out.
	maxSessions bool
	// wireGuard is /interface/wireguard.
	wireGuard bool
}

// behaviorOf says what version v does. RouterOS changelogs and recorded
// sessions; what neither shows is the same in all versions.
func behaviorOf(v version) behavior {
	is := func(spans ...span) bool {
		for _, s := range spans {
			if s.has(v) {
				return true
			}
		}
		return false
	}
	return behavior{
		emptyReply:       is(span{since: v718}),
		namesParameter:   is(span{since: v701}),
		numbersErrors:    is(span{before: v701}),
		twoTraps:         is(span{since: v701}),
		failurePrefix:    is(span{before: v715}),
		immediateGateway: is(span{since: v701}),
		routeCheck:       is(span{before: v701}, span{since: v718}),
		logFields:        is(span{since: v701}),
		emptyMatchers:    is(span{since: v715}),
		natPMP:           is(span{since: v713}),
		maxSessions:      is(span{since: v716}),
		wireGuard:        is(span{since: v701}),
	}
}
