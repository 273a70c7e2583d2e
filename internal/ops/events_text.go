package ops

import (
	"fmt"
	"net/netip"
	"strings"

	"doublenat/internal/nat"
)

// owner is whose mappings an event tells of.
type owner struct {
	client netip.Addr // the zero Addr is several
}

// and returns whose the mappings of two events are.
func (o owner) and(other owner) owner {
	if o != other {
		return owner{}
	}
	return o
}

// String returns the client's address, or says that there are several.
func (o owner) String() string {
	if !o.client.IsValid() {
		return "several clients"
	}
	return o.client.String()
}

// ofMapping tells what happened to a mapping.
func ofMapping(ev nat.Event) entry {
	m := ev.Mapping
	port := fmt.Sprintf("%s port %d", strings.ToUpper(m.Key.Protocol.String()), m.ExternalPort)
	whose := m.Target().String()
	text := fmt.Sprintf("%s of %s: %s", port, whose, ev.Kind)
	switch ev.Kind {
	case nat.EventCreated:
		text = port + " opened for " + whose + asked(m)
	case nat.EventAdopted:
		text = port + " for " + whose + " was found on the router"
	case nat.EventDeleted:
		text = port + " closed by " + whose
	case nat.EventExpired:
		text = port + " closed, " + whose + " did not renew"
	case nat.EventLost:
		text = port + " lost, the gateway does not renew it for " + whose
	case nat.EventEvicted:
		text = port + " of " + whose + ", which did not renew it, went to somebody new: the gateway has no other left"
	case nat.EventPortChanged:
		text = fmt.Sprintf("%s of %s was %d before", port, whose, ev.OldPort)
	case nat.EventRuleRestored:
		text = "rule of " + port + " for " + whose + " was missing or changed on the router and is back"
	case nat.EventShutdown:
		text = port + " closed, doublenat stops"
	}
	return entry{
		Event: Event{Time: ev.At, Kind: ev.Kind.String(), Count: 1, Text: text},
		whose: owner{m.Key.Client},
	}
}

// ofMappings tells the same of several mappings.
func ofMappings(kind nat.EventKind, n int, whose owner) string {
	switch kind {
	case nat.EventCreated:
		return fmt.Sprintf("%d ports opened for %v", n, whose)
	case nat.EventAdopted:
		return fmt.Sprintf("%d ports for %v were found on the router", n, whose)
	case nat.EventDeleted:
		return fmt.Sprintf("%d ports closed by %v", n, whose)
	case nat.EventExpired:
		return fmt.Sprintf("%d ports closed, %v did not renew", n, whose)
	case nat.EventLost:
		return fmt.Sprintf("%d ports lost, the gateway does not renew them for %v", n, whose)
	case nat.EventEvicted:
		return fmt.Sprintf("%d ports of %v, not renewed, went to somebody new: the gateway has no others left", n, whose)
	case nat.EventPortChanged:
		return fmt.Sprintf("%d ports of %v have other numbers at the gateway than before", n, whose)
	case nat.EventRuleRestored:
		return fmt.Sprintf("rules of %d ports for %v were missing or changed on the router and are back", n, whose)
	case nat.EventShutdown:
		return fmt.Sprintf("%d ports closed, doublenat stops", n)
	}
	return fmt.Sprintf("%d ports of %v: %v", n, whose, kind)
}

// returned tells of a router that came back and of the rules that were made again on it.
func returned(rules int) string {
	if rules == 1 {
		return "Router is back, 1 rule made again"
	}
	return fmt.Sprintf("Router is back, %d rules made again", rules)
}

// asked says how a mapping was asked for, as the end of a sentence; "" if that is not known.
func asked(m nat.Mapping) string {
	text := ""
	if name := protocolName(m.By); name != "" {
		text = " by " + name
	}
	if m.Description != "" {
		text += fmt.Sprintf(" (%s)", shorten(m.Description))
	}
	return text
}
