package router

import (
	"net/netip"
	"strings"

	"doublenat/internal/nat"
)

// The limits of what one row of others can put into a snapshot.
const (
	// maxForwardClients is a /24. Of a row that forwards to more addresses, only
	// the first are listed.
	maxForwardClients = 256
	// maxForwardPorts is the ports that are listed one by one. A row that forwards
	// more of them counts as forwarding all ports of its clients.
	maxForwardPorts = 64
	// maxForwards is the length of the list in all.
	maxForwards = 1 << 16
)

// appendForwards appends to which clients and ports the row forwards.
func appendForwards(list []nat.Forward, r natRow, protocols []nat.Protocol) []nat.Forward {
	if r.action != actionDstNAT && r.action != "netmap" {
		return list
	}
	first, last, ok := parseAddresses(r.toAddresses)
	if !ok {
		return list
	}
	ports := r.forwardedPorts()
	for client, n := first, 0; n < maxForwardClients && client.Compare(last) <= 0; client, n = client.Next(), n+1 {
		for _, port := range ports {
			for _, p := range protocols {
				if len(list) == maxForwards {
					return list
				}
				list = append(list, nat.Forward{Key: nat.Key{Client: client, Protocol: p, InternalPort: port}})
			}
		}
		if client == last {
			break // 255.255.255.255 has no successor
		}
	}
	return list
}

// forwardedPorts returns the ports of the client to which the row forwards, or
// just 0 for all of them. Without to-ports the port of the packet stays.
func (r natRow) forwardedPorts() []uint16 {
	list, ok := parsePorts(r.toPorts)
	if r.toPorts == "" {
		list, ok = r.ports()
	}
	var ports []uint16
	if !ok || !list.each(maxForwardPorts, func(port uint16) { ports = append(ports, port) }) {
		return []uint16{0}
	}
	return ports
}

// parseAddresses reads to-addresses: one IPv4 address, a range or a prefix.
func parseAddresses(text string) (first, last netip.Addr, ok bool) {
	if from, to, isRange := strings.Cut(text, "-"); isRange {
		first, errFirst := netip.ParseAddr(from)
		last, errLast := netip.ParseAddr(to)
		return first, last, errFirst == nil && errLast == nil && first.Is4() && last.Is4() && first.Compare(last) <= 0
	}
	if !strings.Contains(text, "/") {
		text += "/32"
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || !prefix.Addr().Is4() {
		return first, last, false
	}
	prefix = prefix.Masked()
	b := prefix.Addr().As4()
	for i := range b {
		host := 8*(i+1) - prefix.Bits() // bits of this byte that name the host
		b[i] |= byte(1<<min(max(host, 0), 8) - 1)
	}
	return prefix.Addr(), netip.AddrFrom4(b), true
}
