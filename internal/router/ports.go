package router

import (
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

// parsePorts reads a port matcher. It fails for text that it does not
// understand, also for a range that goes backwards.
func parsePorts(text string) (portList, bool) {
	list, negated := strings.CutPrefix(text, "!")
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
	if !p.negated {
		for _, r := range p.ranges {
			set.AddRange(r.low, r.high)
		}
		return
	}
	var excepted nat.PortSet
	for _, r := range p.ranges {
		excepted.AddRange(r.low, r.high)
	}
	for port := range 1 << 16 {
		if p := uint16(port); !excepted.Has(p) {
			set.Add(p)
		}
	}
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
