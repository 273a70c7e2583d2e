package nat

import "time"

// wishState says what is wanted of a mapping.
type wishState uint8

const (
	// wishNone is a mapping that nobody wants and nobody sees: what may be left of it is
	// taken back.
	wishNone wishState = iota
	// wishAsked is one that a client waits for.
	wishAsked
	// wishRenewing is one that stands, and a renewal that was asked for waits for the gateway.
	wishRenewing
	// wishStanding is one that stands, with nothing left to ask for.
	wishStanding
	// wishEnding is one that ended, and whose rule is not known to be gone.
	wishEnding
)

// String returns the state in one word.
func (s wishState) String() string {
	return [...]string{"none", "asked", "renewing", "standing", "ending"}[s]
}

// origin says who made a wish.
type origin uint8

const (
	// originClient is the client itself.
	originClient origin = iota
	// originCompanion is the companion of the other protocol's mapping.
	originCompanion
	// originFormer is a run of doublenat before this one, from whose rules nobody can tell
	// whether its client or its companion wanted it.
	originFormer
)

// wish is what is wanted of a mapping, by whom, until when, and what was promised.
type wish struct {
	state  wishState
	origin origin
	asker  asker
	// policy says who keeps the mapping. PolicyAuto is that of a client that proved that it
	// does not renew in time: doublenat holds its mappings.
	policy LeasePolicy
	// cause is how the mapping ended.
	cause EventKind
	// requested is the lifetime that was asked for last, at the time asked.
	requested time.Duration
	asked     time.Time
	// until is the end of the mapping unless it is renewed.
	until time.Time
	// deadline is until when the gateway has to grant a lease to a wish that is asked for.
	deadline time.Time
	// told is the external port that the client was told last, and promised until when it
	// may think that it has the mapping by what it was told while a renewal was
	// outstanding; zero if it was not.
	told     uint16
	promised time.Time
	// remote is who may send, and agreed who might when a client was told last that it has
	// the mapping: a request that fails changes nothing (RFC 6887 §7.3), so that what it
	// wanted goes back to that.
	remote, agreed Remote
}

// wanted says whether both layers are to stand.
func (w *wish) wanted() bool {
	return w.state == wishAsked || w.state == wishRenewing || w.state == wishStanding
}

// stands says whether the mapping was made and has not ended.
func (w *wish) stands() bool { return w.state == wishRenewing || w.state == wishStanding }

// holds says whether doublenat renews the lease by itself for as long as was asked for.
func (p LeasePolicy) holds() bool { return p != PolicyClient }

// lasts returns when a mapping ends that was granted a lease at the given time.
func (w *wish) lasts(at time.Time, granted time.Duration) time.Time {
	if w.policy.holds() {
		return at.Add(w.requested)
	}
	return at.Add(min(w.requested, granted))
}

// renew notes that somebody asked for the mapping again. A companion never shortens what
// was promised to the client whose own mapping it may be, and no other protocol what was
// promised to a client of [IGD], which does not ask again.
func (w *wish) renew(now time.Time, t *ticket) {
	lifetime := t.lifetime
	keeps := t.by == originCompanion || w.asker.way == IGD && t.asker.way != IGD
	if keeps {
		lifetime = max(lifetime, w.until.Sub(now).Truncate(time.Second))
	}
	switch {
	case t.by != originCompanion:
		w.origin = originClient
	case w.origin == originFormer:
		lifetime = max(lifetime, w.requested)
	}
	w.requested, w.asked = lifetime, now
	if w.policy.holds() {
		until := now.Add(lifetime)
		if keeps {
			until = later(w.until, until)
		}
		w.until = until
	}
}

// confirm notes that the gateway granted what was asked for.
func (w *wish) confirm(at time.Time, granted time.Duration) {
	if w.state != wishRenewing {
		return
	}
	w.state = wishStanding
	if w.origin == originFormer && w.policy.holds() {
		return // It lasts as long as was asked for before the restart.
	}
	until := at.Add(min(w.requested, granted))
	if w.origin == originCompanion || w.policy.holds() { // It lasts from when it was asked for, see renew.
		until = later(w.until, until)
	}
	w.until = later(until, w.promised)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
