// Package igdtest has what tests of UPnP IGD need on the other side: a [Gateway] that
// behaves like the boxes that people really have, and a [Listener] in memory.
//
// Gateway speaks the real protocols: HTTP on any net.Listener ([Gateway.Serve]), and
// SSDP on any net.PacketConn ([Gateway.ServeSearch]), for example one of
// natpmptest.Network, which loses, doubles and delays datagrams. How it behaves is a
// [Profile], plain data that may be changed while it serves. Its mappings and counters
// can be read at any time.
//
// With a Listener it is made for testing/synctest: everything blocks on channels, and
// all waiting is done by timers.
package igdtest
