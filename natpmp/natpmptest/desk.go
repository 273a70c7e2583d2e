package natpmptest

import (
	"net/netip"
	"time"

	"doublenat/natpmp"
)

// Desk is where a packet is answered: what there is to know about it, and the gateway's
// leases. It is of use during the call of [Config.Speak] only.
type Desk struct {
	// Now is when the packet is carried out.
	Now time.Time
	// Client is where it comes from.
	Client netip.Addr
	// Epoch is the epoch of the reply.
	Epoch uint32

	gateway *Gateway
}

// NATPMP returns the gateway's own answer to a packet, nil for none.
func (d *Desk) NATPMP(payload []byte) []byte {
	return d.gateway.answerLocked(d.Now, d.Client, d.Epoch, payload)
}

// Address returns the public address; the zero value when there is none.
func (d *Desk) Address() netip.Addr { return d.gateway.address }

// Map makes or renews a lease of the client as the profile says, with the lifetime that is
// asked for as NAT-PMP has it.
func (d *Desk) Map(req natpmp.Request) natpmp.Response {
	return d.gateway.mapLocked(d.Now, d.Client, req)
}

// Unmap ends a lease of the client, if there is one.
func (d *Desk) Unmap(protocol natpmp.Opcode, internalPort uint16) {
	d.gateway.deleteLocked(d.Client, natpmp.Request{Opcode: protocol, InternalPort: internalPort})
}

// Lease returns the client's first lease of a port, or false when there is none.
func (d *Desk) Lease(protocol natpmp.Opcode, internalPort uint16) (Mapping, bool) {
	l := d.gateway.table.find(d.Client, protocol, internalPort)
	if l == nil {
		return Mapping{}, false
	}
	return d.gateway.mappingLocked(l), true
}

// Taken says whether somebody has an external port.
func (d *Desk) Taken(protocol natpmp.Opcode, externalPort uint16) bool {
	return d.gateway.table.at(protocol, externalPort) != nil
}
