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
	// EventRuleRestored is a rule that was missing or altered on the router and is back.
	EventRuleRestored
	// EventShutdown is a mapping that was taken down because doublenat stops.
	EventShutdown
)

// String returns the name in lower case, as logs and metrics have it.
func (k EventKind) String() string {
	names := [...]string{
		EventCreated: "created", EventAdopted: "adopted", EventDeleted: "deleted", EventExpired: "expired",
		EventLost: "lost", EventPortChanged: "port_changed", EventRuleRestored: "rule_restored", EventShutdown: "shutdown",
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

// emit tells the log and the observer. It must be called without s.mu.
func (s *Service) emit(kind EventKind, m Mapping, change func(*Event)) {
	ev := Event{Kind: kind, At: time.Now(), Mapping: m}
	if change != nil {
		change(&ev)
	}
	args := []any{
		"client", m.Key.Client.String(), "proto", m.Key.Protocol.String(), "internal_port", m.Key.InternalPort,
		"inner_port", m.InnerPort, "external_port", m.ExternalPort, "rule_id", m.RuleID,
	}
	switch kind {
	case EventCreated:
		s.log.Info("mapping created", append(args, "lifetime", m.LeaseUntil.Sub(ev.At).Round(time.Second))...)
	case EventAdopted:
		s.log.Info("mapping adopted", args...)
	case EventDeleted:
		s.log.Info("mapping deleted", args...)
	case EventExpired:
		s.log.Info("mapping expired", args...)
	case EventLost:
		s.log.Warn("mapping lost, the gateway does not renew it", args...)
	case EventPortChanged:
		s.log.Info("external port changed", append(args, "old_port", ev.OldPort)...)
	case EventRuleRestored:
		s.log.Warn("rule restored, it was missing or altered on the router", args...)
	case EventShutdown:
		s.log.Debug("mapping removed for shutdown", args...)
	}
	if s.cfg.OnEvent != nil {
		s.cfg.OnEvent(ev)
	}
}
