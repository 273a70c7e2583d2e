// Package natpmptest has what tests of NAT-PMP need on the other side: a
// [Gateway] that behaves like the gateways people really have, and a [Network]
// in memory that loses, doubles, delays and refuses datagrams.
//
// Gateway speaks the real protocol (RFC 6886) on any net.PacketConn. How it
// behaves is a [Profile], plain data that may be changed while it serves. Its
// leases, counters and journal can be read at any time.
//
// Network is made for testing/synctest: its sockets block on channels only, all
// its waiting is done by timers, and it has no goroutine of its own. Make it and
// the Gateway inside the bubble that uses them. What the network does to a packet
// depends on its seed and on the packet, and not on the order in which goroutines
// run, so that a run of a whole system replays exactly; for that it needs a
// [NetworkConfig.Latency].
package natpmptest
