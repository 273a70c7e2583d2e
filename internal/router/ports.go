package router

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"doublenat/internal/nat"
)

// portRange is the ports from low to high, both included.
type portRange struct{ low, high uint16 }

// portList is what a port matcher of RouterOS says: "80,443,1000-2000", and with
// a leading "!" all ports but these.
type portList struct {
	ranges  []portRange
	negated bool
}

// maxItems is how many ports and ranges a matcher may have. RouterOS takes fewer.
const maxItems = 64

// parsePorts reads a port matcher. It fails for text that it does not
// understand, also for a range that goes backwards, and for more than maxItems.
func parsePorts(text string) (portList, bool) {
	list, negated := strings.CutPrefix(text, "!")
	if strings.Count(list, ",") >= maxItems {
		return portList{}, false
	}
	p := portList{negated: negated}
	for item := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(item, "-")
		low, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			return portList{}, false
		}
		high := low
		if isRange {
			if high, err = strconv.ParseUint(to, 10, 16); err != nil || high < low {
				return portList{}, false
			}
		}
		p.ranges = append(p.ranges, portRange{uint16(low), uint16(high)})
	}
	return p, true
}

// addTo puts the ports that the matcher takes into the set.
func (p portList) addTo(set *nat.PortSet) {
	for _, r := range p.plain().ranges {
		set.AddRange(r.low, r.high)
	}
}

// has reports whether the matcher takes the port.
func (p portList) has(port uint16) bool {
	in := slices.ContainsFunc(p.ranges, func(r portRange) bool { return r.low <= port && port <= r.high })
	return in != p.negated
}

// count returns how many ports the matcher takes.
func (p portList) count() int {
	n := 0
	for _, r := range p.plain().ranges {
		n += int(r.high-r.low) + 1
	}
	return n
}

// plain returns the matcher without a negation: its ranges in ascending order, none
// of which overlap.
func (p portList) plain() portList {
	if len(p.ranges) <= 1 && !p.negated {
		return p // as rules of ours are, and most others
	}
	ranges := slices.SortedFunc(slices.Values(p.ranges), func(a, b portRange) int { return cmp.Compare(a.low, b.low) })
	var merged []portRange
	for _, r := range ranges {
		if n := len(merged); n > 0 && int(r.low) <= int(merged[n-1].high)+1 {
			merged[n-1].high = max(merged[n-1].high, r.high)
			continue
		}
		merged = append(merged, r)
	}
	if !p.negated {
		return portList{ranges: merged}
	}
	var rest []portRange
	next := 0
	for _, r := range merged {
		if int(r.low) > next {
			rest = append(rest, portRange{uint16(next), r.low - 1})
		}
		next = int(r.high) + 1
	}
	if next < 1<<16 {
		rest = append(rest, portRange{uint16(next), 1<<16 - 1})
	}
	return portList{ranges: rest}
}

// intersect returns the ports that both matchers take.
func (p portList) intersect(other portList) portList {
	var both []portRange
	for a, b := p.plain().ranges, other.plain().ranges; len(a) > 0 && len(b) > 0; {
		if low, high := max(a[0].low, b[0].low), min(a[0].high, b[0].high); low <= high {
			both = append(both, portRange{low, high})
		}
		if a[0].high < b[0].high {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return portList{ranges: both}
}

// each calls f for each port of the list, at most limit times. It reports
// whether that was all of them; a negated list is always too long.
func (p portList) each(limit int, f func(port uint16)) bool {
	if p.negated {
		return false
	}
	for _, r := range p.ranges {
		if limit -= int(r.high-r.low) + 1; limit < 0 {
			return false
		}
	}
	for _, r := range p.ranges {
		for port := uint32(r.low); port <= uint32(r.high); port++ {
			f(uint16(port)) //nolint:gosec // port is not above r.high
		}
	}
	return true
}

// matcher returns the one or two ports of a rule of ours as a matcher.
func matcher(match nat.MatchPorts) string {
	var ports []string
	for _, port := range match {
		if s := strconv.Itoa(int(port)); port != 0 && !slices.Contains(ports, s) {
			ports = append(ports, s)
		}
	}
	return strings.Join(ports, ",")
}
