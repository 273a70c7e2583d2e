package hook

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"doublenat/internal/nat"
)

// formatVersion is the version of the events' form. It changes when a field changes
// its meaning or goes away, not when one is added.
const formatVersion = 1

// kindAddress is the event of the external address; the others are named as
// [nat.EventKind] is.
const kindAddress = "address_changed"

// Event is what receivers are told: what happened, and how things stand after it.
// Each holds the whole state of what it is about, so that none but the newest counts.
type Event struct {
	// Version is the version of this form, 1.
	Version int `json:"version"`
	// Kind is what happened: created, adopted, port_changed, deleted, expired, lost
	// or shutdown for a mapping, address_changed for the external address.
	Kind string `json:"event"`
	// Time is when it happened.
	Time time.Time `json:"time"`
	// Instance is the name of the doublenat that tells (INSTANCE).
	Instance string `json:"instance"`
	// Active says whether the mapping stands, or the external address is known.
	Active bool `json:"active"`
	// Protocol is tcp or udp. It and the next two are left out for the address.
	Protocol string `json:"protocol,omitempty"`
	// Client is the LAN host.
	Client netip.Addr `json:"client,omitzero"`
	// InternalPort is the port on the LAN host.
	InternalPort uint16 `json:"internal_port,omitempty"`
	// ExternalAddress is the public address, left out while it is not known.
	ExternalAddress netip.Addr `json:"external_address,omitzero"`
	// OldExternalAddress is the address that a receiver may know from before, with
	// address_changed only.
	OldExternalAddress netip.Addr `json:"old_external_address,omitzero"`
	// ExternalPort is the port at the public address; for a mapping that ended, the
	// one that it had.
	ExternalPort uint16 `json:"external_port,omitempty"`
	// By is the protocol in which the client asked: natpmp, pcp or igd (UPnP). It is left
	// out where that is not known: with static mappings, and after a restart.
	By string `json:"by,omitempty"`
	// Description is a text that a client of UPnP gave the mapping, 64 bytes at most
	// and without control characters. A host of the LAN wrote it.
	Description string `json:"description,omitempty"`
	// OldExternalPort is the port that a receiver may know from before, with
	// port_changed only.
	OldExternalPort uint16 `json:"old_external_port,omitempty"`

	// key says which mapping it is about; the zero Key is the external address.
	key nat.Key
}

// mappingEvent returns what receivers are told of an event of the core, and false
// if it is none of their business.
func mappingEvent(ev nat.Event, instance string) (Event, bool) {
	active := false
	switch ev.Kind {
	case nat.EventCreated, nat.EventAdopted, nat.EventPortChanged:
		active = true
	case nat.EventDeleted, nat.EventExpired, nat.EventLost, nat.EventEvicted, nat.EventShutdown:
	case nat.EventRuleRestored:
		return Event{}, false // Neither port nor address changed.
	default:
		return Event{}, false
	}
	m := ev.Mapping
	return Event{
		Version: formatVersion, Kind: ev.Kind.String(), Time: ev.At.UTC(), Instance: instance, Active: active,
		Protocol: m.Key.Protocol.String(), Client: m.Key.Client, InternalPort: m.Key.InternalPort,
		ExternalPort: m.ExternalPort, OldExternalPort: ev.OldPort, By: m.By.String(), Description: m.Description,
		key: m.Key,
	}, true
}

// addressEvent returns what receivers are told of another external address.
func addressEvent(before, now netip.Addr, instance string) Event {
	return Event{
		Version: formatVersion, Kind: kindAddress, Time: time.Now().UTC(), Instance: instance, Active: now.IsValid(),
		ExternalAddress: now, OldExternalAddress: before,
	}
}

// ofAddress says whether the event is about the external address and no mapping.
func (e Event) ofAddress() bool { return e.key == (nat.Key{}) }

// supersedes returns the event as it is told in place of an older one that was
// never delivered: what it calls old is what the receiver may know.
func (e Event) supersedes(older Event) Event {
	switch {
	case e.ofAddress():
		e.OldExternalAddress = older.OldExternalAddress
	case e.OldExternalPort != 0:
		e.OldExternalPort = older.OldExternalPort
	}
	return e
}

// body returns the event as JSON in one line.
func (e Event) body() ([]byte, error) {
	b, err := json.Marshal(e)
	return append(b, '\n'), err
}

// environ returns the event as environment variables. All of them are there always;
// one without a value is empty.
func (e Event) environ() []string {
	return []string{
		"DOUBLENAT_EVENT=" + e.Kind,
		"DOUBLENAT_TIME=" + e.Time.Format(time.RFC3339),
		"DOUBLENAT_INSTANCE=" + e.Instance,
		"DOUBLENAT_ACTIVE=" + strconv.FormatBool(e.Active),
		"DOUBLENAT_PROTOCOL=" + e.Protocol,
		"DOUBLENAT_CLIENT=" + address(e.Client),
		"DOUBLENAT_INTERNAL_PORT=" + port(e.InternalPort),
		"DOUBLENAT_BY=" + e.By,
		"DOUBLENAT_DESCRIPTION=" + e.Description,
		"DOUBLENAT_EXTERNAL_ADDRESS=" + address(e.ExternalAddress),
		"DOUBLENAT_OLD_EXTERNAL_ADDRESS=" + address(e.OldExternalAddress),
		"DOUBLENAT_EXTERNAL_PORT=" + port(e.ExternalPort),
		"DOUBLENAT_OLD_EXTERNAL_PORT=" + port(e.OldExternalPort),
	}
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func port(p uint16) string {
	if p == 0 {
		return ""
	}
	return strconv.Itoa(int(p))
}
