package nat

import (
	"fmt"
	"time"
)

// EventKind is what happened to a mapping.
type EventKind uint8

// The kinds of events.
const (
	// EventCreated is a new mapping.
	EventCreated EventKind = iota + 1
	// EventAdopted is a mapping that was found on the router at the start.
	EventAdopted
	// EventDeleted is a mapping that its client gave up.
	EventDeleted
	// EventExpired is a mapping that nobody renewed.
	EventExpired
	// EventLost is a mapping whose lease the gateway does not renew any more.
	EventLost
	// EventPortChanged is a mapping that has another external port than before.
	EventPortChanged
	// EventRuleRestored is a rule that was missing or changed on the router and is back.
	EventRuleRestored
	// EventEvicted is a mapping that was held for a client that did not renew it, and that
	// gave its port at the gateway to somebody new.
	EventEvicted
	// EventShutdown is a mapping that was taken down because doublenat stops.
	EventShutdown
)

// String returns the name in lower case, as logs and metrics have it.
func (k EventKind) String() string {
	names := [...]string{
		EventCreated: "created", EventAdopted: "adopted", EventDeleted: "deleted", EventExpired: "expired",
		EventLost: "lost", EventPortChanged: "port_changed", EventRuleRestored: "rule_restored", EventEvicted: "evicted", EventShutdown: "shutdown",
	}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Event tells what happened to a mapping.
type Event struct {
	// Kind is what happened.
	Kind EventKind
	// At is when.
	At time.Time
	// Mapping is how the mapping stands after it; for one that ended, how it stood.
	Mapping Mapping
	// OldPort is the external port before an [EventPortChanged], else 0.
	OldPort uint16
	// Untold is set on an [EventPortChanged] of which the client does not learn by
	// the answer to a request of its own: it has to be announced.
	Untold bool
}

// logEvent writes a line about an event, if there is room for one.
func (s *Service) logEvent(ev Event) {
	if !s.book.mayTell(ev.Kind, ev.At) {
		s.poke() // It looks when the summary is due.
		return
	}
	m := ev.Mapping
	args := []any{
		"client", m.Key.Client.String(), "proto", m.Key.Protocol.String(), "internal_port", m.Key.InternalPort,
		"inner_port", m.InnerPort, "external_port", m.ExternalPort, "rule_id", m.RuleID,
	}
	if m.By != 0 && m.By != NATPMP { // what most speak needs no word: the bytes of a flood's lines are bounded too
		args = append(args, "by", m.By.String())
	}
	if m.Description != "" {
		args = append(args, "description", m.Description)
	}
	switch ev.Kind {
	case EventCreated:
		s.cfg.Logger.Info("mapping created", append(args, "lifetime", m.LeaseUntil.Sub(ev.At).Round(time.Second))...)
	case EventAdopted:
		s.cfg.Logger.Info("mapping adopted", args...)
	case EventDeleted:
		s.cfg.Logger.Info("mapping deleted", args...)
	case EventExpired:
		s.cfg.Logger.Info("mapping expired", args...)
	case EventLost:
		s.cfg.Logger.Warn("mapping lost, the gateway no longer renews it", args...)
	case EventPortChanged:
		s.cfg.Logger.Info("external port changed", append(args, "old_port", ev.OldPort)...)
	case EventRuleRestored:
		s.cfg.Logger.Debug("rule made again", args...) // The engine sums them up.
	case EventEvicted:
		s.cfg.Logger.Info("mapping evicted, the gateway had no port left for a new one", args...)
	case EventShutdown:
		s.cfg.Logger.Debug("mapping removed for shutdown", args...)
	}
}
