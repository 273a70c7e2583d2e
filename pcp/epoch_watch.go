package pcp

import (
	"time"

	"doublenat/internal/epoch"
)

// EpochNews says what a packet's epoch means. It is that of package natpmp, with other
// limits.
type EpochNews = epoch.News

// What an epoch can tell (RFC 6887 §8.5). A server has lost its state, or has another
// external address, when it is lost or reliable again; our own clock stood when it is ahead.
const (
	EpochSteady     = epoch.Steady
	EpochLost       = epoch.Lost
	EpochAhead      = epoch.Ahead
	EpochUnreliable = epoch.Unreliable
	EpochReliable   = epoch.Reliable
)

// epochRule has the limits of RFC 6887 §8.5.
func epochRule() epoch.Rule { return epoch.Rule{Drift: 16, Back: time.Second} }
