package routerostest

import (
	"fmt"
	"strconv"
	"strings"
)

// version is a RouterOS version as far as behavior depends on it: 7.21.2 is 7_021_002.
type version int

// The versions at which something changes that a client can see.
const (
	v649 version = 6_049_000
	v701 version = 7_001_000
	v704 version = 7_004_000
	v710 version = 7_010_000
	v711 version = 7_011_000
	v712 version = 7_012_000
	v713 version = 7_013_000
	v714 version = 7_014_000
	v715 version = 7_015_000
	v716 version = 7_016_000
	v717 version = 7_017_000
	v718 version = 7_018_000
	v719 version = 7_019_000
	v720 version = 7_020_000
	v721 version = 7_021_000
	v722 version = 7_022_000
	v723 version = 7_023_000
	v724 version = 7_024_000

	// Those that came with a patch.
	v7212 version = 7_021_002
	v7215 version = 7_021_005
	v7232 version = 7_023_002
)

// parseVersion reads "7.18", "7.18.2" or "6.49.10".
func parseVersion(s string) (version, error) {
	majorText, rest, _ := strings.Cut(s, ".")
	minorText, patchText, patched := strings.Cut(rest, ".")
	major, errMajor := strconv.Atoi(majorText)
	minor, errMinor := strconv.Atoi(minorText)
	patch, errPatch := 0, error(nil)
	if patched {
		patch, errPatch = strconv.Atoi(patchText)
	}
	v := version(major*1_000_000 + minor*1000 + patch)
	sound := errMajor == nil && errMinor == nil && errPatch == nil && minor >= 0 && minor < 1000 && patch >= 0 && patch < 1000
	if !sound || v < v649 || major > 7 {
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
	// connectionRows are rows of /ip/service for the connections of each service.
	connectionRows bool
	// about is the reason why a row is invalid.
	about bool
	// localFirst looks at the router's own addresses before marks and rules.
	localFirst bool
	// appliesPackages installs packages by a command of its own; a plain reboot forgets them.
	appliesPackages bool
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
		connectionRows:   is(span{since: v719}),
		about:            is(span{since: v701}),
		localFirst:       is(span{before: v701}),
		appliesPackages:  is(span{since: v718}),
	}
}
