package nat

import (
	"net/netip"
	"slices"
	"time"
)

// Mapping is what is known about one mapping at one moment.
type Mapping struct {
	// Key names it.
	Key Key
	// InnerPort is the port at the router's tunnel address.
	InnerPort uint16
	// ExternalPort is the port at the gateway's public address.
	ExternalPort uint16
	// ToldPort is the external port that the client was told last; 0 when it has
	// not been told any since doublenat started.
	ToldPort uint16
	// Requested is the lifetime that the client asked for last.
	Requested time.Duration
	// Created is when it was made or adopted.
	Created time.Time
	// Until is when it ends unless it is renewed.
	Until time.Time
	// LeaseUntil is when the gateway's lease ends unless it is renewed. It may lie
	// in the past while the gateway is out of reach.
	LeaseUntil time.Time
	// Granted is the lifetime of the lease as the gateway granted it last; 0 when it
	// has not granted any since doublenat started.
	Granted time.Duration
	// Adopted is set from a restart until the client's first renewal.
	Adopted bool
	// Companion is set on a mapping that its client did not ask for, see [Config.Companion].
	Companion bool
	// Refused is set while the gateway says no to a renewal of the lease: the mapping has
	// none, or soon has none, and doublenat goes on asking.
	Refused bool
	// Closing is set while the router has not yet removed the rule of a mapping that ended.
	Closing bool
	// RuleID is the router's handle of the rule.
	RuleID string
	// Packets counts what came in through the rule, as of the last reconcile.
	Packets uint64
}

// Target returns where on the LAN the mapping leads: the client and its port, which for
// internal port 0 is the external one.
func (m Mapping) Target() netip.AddrPort {
	return netip.AddrPortFrom(m.Key.Client, Rule{Key: m.Key, ExternalPort: m.ExternalPort}.Target())
}

// entry is a mapping in the table. All fields are guarded by Service.mu; whoever
// starts something that changes the layers holds the client port's lock too.
type entry struct {
	key       Key
	inner     uint16
	external  uint16
	former    uint16 // external before it changed last, 0 for none
	told      uint16
	requested time.Duration
	created   time.Time
	adopted   bool
	companion bool
	packets   uint64

	// until is the end of the mapping; leaseUntil that of its lease. mayLive is until
	// when the lease may stand: because of a renewal without an answer, or because the
	// gateway granted more than was asked for.
	until, leaseUntil, mayLive time.Time
	// promised is until when its client may think that it has the mapping by what it was
	// told while a renewal was outstanding; zero if it was not.
	promised time.Time
	// granted is the lifetime that the lease had when it was granted last.
	granted time.Duration
	// formerUntil is until when packets for former may come.
	formerUntil time.Time
	// pending is set while a renewal that somebody asked for waits for the gateway:
	// the client, or the adoption after a restart.
	pending bool
	// refreshAt is when the lease is to be asked for again without the client;
	// zero for never. failures counts how often that failed in a row.
	refreshAt time.Time
	failures  int
	// deniedAt is when the gateway began to say no to renewals, zero while it does not.
	deniedAt time.Time

	// closing is set when the mapping ended and its rule could not be removed;
	// closeAt is when that is tried again. cause is how it ended.
	closing bool
	closeAt time.Time
	cause   EventKind
	// unwanted is set when its client gave it up and the port's turn did not come in time.
	unwanted bool
	// interrupted is set when a deletion came while a renewal was under way.
	interrupted bool
	// released is set once the lease of a closing entry was given back or is owed.
	released bool
	// warned is set once the log said that somebody else's rule takes the inner port.
	warned bool

	// rule is the rule as far as we know. standing is the number of the last
	// snapshot that had begun when the rule was known to stand: only a later
	// snapshot can show that it is missing. written is when it was last changed.
	rule     Rule
	standing uint64
	// forms are what the rule may have been made since by changes whose outcome is unknown.
	// formed is the number of the last snapshot that had begun then: a later one shows it.
	forms   []Rule
	formed  uint64
	written time.Time

	// busy is set while the scheduler's work for it is under way.
	busy bool
}

func (e *entry) mapping() Mapping {
	return Mapping{
		Key: e.key, InnerPort: e.inner, ExternalPort: e.external, ToldPort: e.told,
		Requested: e.requested, Created: e.created, Until: e.until, LeaseUntil: e.leaseUntil, Granted: e.granted,
		Adopted: e.adopted, Companion: e.companion, Refused: !e.deniedAt.IsZero(), Closing: e.closing, RuleID: e.rule.ID, Packets: e.packets,
	}
}

// leased notes the lease that the gateway granted at the given time.
func (e *entry) leased(lease Lease, at time.Time) {
	e.granted, e.leaseUntil, e.mayLive = lease.Lifetime, at.Add(lease.Lifetime), time.Time{}
	if lease.longer > 0 {
		e.mayLive = lease.mayLive(at)
	}
}

// maxForms bounds how many forms of a rule are remembered. The reconcile finds what was
// forgotten.
const maxForms = 4

// doubtLocked notes that a change of the rule failed without telling whether it was made.
func (e *entry) doubtLocked(r Rule, err error, snapshot uint64) {
	if !ambiguous(err) {
		return
	}
	e.formed = snapshot
	if !slices.Contains(e.forms, r) {
		e.forms = append(e.forms[max(len(e.forms)-maxForms+1, 0):], r)
	}
}

// rules returns the rule in each form in which it may stand on the router.
func (e *entry) rules() []Rule { return append([]Rule{e.rule}, e.forms...) }

// due returns when something has to be done for the entry without a client.
func (e *entry) due() time.Time {
	if e.closing {
		return e.closeAt
	}
	if !e.refreshAt.IsZero() && e.refreshAt.Before(e.until) {
		return e.refreshAt
	}
	return e.until
}
