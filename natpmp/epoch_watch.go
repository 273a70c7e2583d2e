package natpmp

import (
	"time"

	"doublenat/internal/epoch"
)

// EpochNews is what the epoch of a packet tells.
type EpochNews = epoch.News

// What an epoch can tell.
const (
	// EpochSteady is a clock that runs on, or one that is not trusted.
	EpochSteady = epoch.Steady
	// EpochLost means that the gateway lost its mappings (RFC 6886 §3.6).
	EpochLost = epoch.Lost
	// EpochAhead means that more time has passed for the gateway than for us: our own
	// clock stood still, as on a suspended machine, and leases that we believe in may have
	// expired. RFC 6887 §8.5 compares in this direction too.
	EpochAhead = epoch.Ahead
	// EpochUnreliable means that the epoch jumped several times in a row, as that of two
	// machines behind one address does. It is reported once; later jumps are not.
	EpochUnreliable = epoch.Unreliable
	// EpochReliable means that the epoch is trusted again. Something may have been lost
	// meanwhile.
	EpochReliable = epoch.Reliable
)

// epochRule has the limits of RFC 6886 §3.6.
func epochRule() epoch.Rule { return epoch.Rule{Drift: 8} }

// EpochWatch is the client's side of the epoch: it notices when a gateway has lost its
// mappings (RFC 6886 §3.6), or when our own clock stood still. Show it every reply of the
// gateway, failures included. The zero value has seen none and is ready for use. It is
// safe for concurrent use.
//
// Returning to a clock that was seen before is not a loss, because a gateway that lost its
// state starts a new clock: the reply in between was late, or came from another machine
// with the same address.
type EpochWatch struct{ watch epoch.Watch }

// Observe takes the epoch of a packet and its time of arrival, and returns what they mean.
// Each loss is reported once. The first packet means nothing.
//
// A counter that wraps after 136 years looks like a loss, which does no harm.
func (w *EpochWatch) Observe(seconds uint32, now time.Time) EpochNews {
	return w.watch.Observe(epochRule(), seconds, now)
}

// Suspect reports whether [EpochWatch.Observe] would report a jump, without recording the
// packet: for packets that anybody may have sent.
func (w *EpochWatch) Suspect(seconds uint32, now time.Time) bool {
	return w.watch.Suspect(epochRule(), seconds, now)
}
