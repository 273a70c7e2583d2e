//go:build !linux

package datagram

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
)

// broadcastsFor is for how long the broadcast addresses of an interface are believed.
const broadcastsFor = 10 * time.Second

// arrivals reads control messages. Which addresses are an interface's broadcast
// addresses is asked for now and then. It is used by one goroutine.
type arrivals struct {
	cm    ipv4.ControlMessage
	known map[int][]netip.Addr
	asked time.Time
}

// read takes what the control messages tell into the arrival.
func (r *arrivals) read(oob []byte, a *Arrival) {
	// Parse writes over the address that is there, if the packet came with one.
	r.cm.IfIndex = 0
	clear(r.cm.Dst)
	if r.cm.Parse(oob) != nil {
		return
	}
	a.Interface = r.cm.IfIndex
	dst, ok := netip.AddrFromSlice(r.cm.Dst)
	if !ok || dst.IsUnspecified() {
		return
	}
	a.Destination = dst.Unmap()
	a.Broadcast = isBroadcast(a.Destination) || r.isBroadcastOf(a.Interface, a.Destination)
	if !a.Broadcast && !a.Destination.IsMulticast() {
		a.Local = a.Destination
	}
}

// isBroadcastOf says whether the address is a broadcast address of the interface.
func (r *arrivals) isBroadcastOf(index int, a netip.Addr) bool {
	if r.known == nil || time.Since(r.asked) > broadcastsFor {
		r.known, r.asked = make(map[int][]netip.Addr), time.Now()
	}
	all, ok := r.known[index]
	if !ok {
		all = broadcastsOf(index)
		r.known[index] = all
	}
	for _, b := range all {
		if a == b {
			return true
		}
	}
	return false
}

// broadcastsOf asks the system for an interface's broadcast addresses.
func broadcastsOf(index int) []netip.Addr {
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	var all []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			if b, ok := broadcastOf(p); ok {
				all = append(all, b)
			}
		}
	}
	return all
}
