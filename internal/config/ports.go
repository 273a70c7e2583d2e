package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// PortRange is the ports from First to Last, both included.
type PortRange struct {
	// First and Last are at least 1, and First is not above Last.
	First, Last uint16
}

// parsePorts reads a comma-separated list of ports and ranges of ports.
func parsePorts(s string) ([]PortRange, error) {
	var ranges []PortRange
	for item := range strings.SplitSeq(s, ",") {
		r, err := parseRange(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// parseRange reads "80" or "1024-65535".
func parseRange(s string) (PortRange, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	low, lowErr := parsePort(first)
	high, highErr := parsePort(last)
	switch {
	case lowErr != nil || highErr != nil:
		return PortRange{}, fmt.Errorf("has %q in it, which is neither a port nor a range of ports", s)
	case low > high:
		return PortRange{}, fmt.Errorf("has %q in it, which ends before it begins", s)
	}
	return PortRange{First: low, Last: high}, nil
}

// maxRate bounds CLIENT_RATE, NEW_CLIENT_RATE and CREATE_RATE.
const maxRate = 10_000

// parseRate reads a number a second from 0, for no bound, to maxRate.
func parseRate(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxRate {
		return 0, errors.New("is not a number from 0 to 10000")
	}
	return n, nil
}
