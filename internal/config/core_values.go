package config

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"doublenat/internal/nat"
)

// The bounds of MAX_LIFETIME. Below a minute, clients that want at least half of
// it reject the answer; above a day, a host that left holds its ports for too long.
const (
	leastMaxLifetime   = time.Minute
	longestMaxLifetime = 24 * time.Hour
)

// maxLimit bounds MAX_MAPPINGS: there are 10000 inner ports, each for both protocols.
const maxLimit = 16384

// parseDelivery reads a [nat.Delivery].
func parseDelivery(s string) (nat.Delivery, error) {
	for _, d := range []nat.Delivery{nat.DeliverInternal, nat.DeliverExternal, nat.DeliverBoth} {
		if strings.EqualFold(s, d.String()) {
			return d, nil
		}
	}
	return 0, errors.New("is none of internal, external and both")
}

// parseZeroPort says whether requests for internal port 0 are granted.
func parseZeroPort(s string) (bool, error) { return either(s, "external", "refuse") }

// parseSwitch says whether a protocol is spoken that is not by itself.
func parseSwitch(s string) (bool, error) { return either(s, "on", "off") }

// parseNonce says whether nonces are strict.
func parseNonce(s string) (bool, error) { return either(s, "strict", "lenient") }

// either says which of two words a value is.
func either(s, yes, no string) (bool, error) {
	switch {
	case strings.EqualFold(s, yes):
		return true, nil
	case strings.EqualFold(s, no):
		return false, nil
	default:
		return false, errors.New("is neither " + no + " nor " + yes)
	}
}

// parsePolicy reads a [nat.LeasePolicy].
func parsePolicy(s string) (nat.LeasePolicy, error) {
	for _, p := range []nat.LeasePolicy{nat.PolicyAuto, nat.PolicyClient, nat.PolicyHold} {
		if strings.EqualFold(s, p.String()) {
			return p, nil
		}
	}
	return 0, errors.New("is neither auto nor client nor hold")
}

// parseLifetime reads the longest lifetime of a mapping.
func parseLifetime(s string) (time.Duration, error) {
	return parseSeconds(s, leastMaxLifetime, longestMaxLifetime, "is not from 1m to 24h")
}

// parseSeconds reads a duration of whole seconds, as Go writes it, or their number. The text is the error
// of one out of bounds.
func parseSeconds(s string, least, longest time.Duration, outside string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		d, err = time.ParseDuration(s + "s")
	}
	switch {
	case err != nil:
		return 0, errors.New("is neither a duration nor a number of seconds")
	case d%time.Second != 0:
		return 0, errors.New("is not a number of whole seconds")
	case d < least || d > longest:
		return 0, errors.New(outside)
	}
	return d, nil
}

// parseLimit reads a number from 1 to maxLimit.
func parseLimit(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxLimit {
		return 0, errors.New("is not a number from 1 to 16384")
	}
	return n, nil
}
