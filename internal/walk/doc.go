// Package walk follows one packet through a router's tables as RouterOS does, and
// says where it leaves, with which addresses, or which row loses it.
//
// The order is that of the manual ("Packet Flow in RouterOS"): raw, connection
// tracking, mangle, dst-nat; then the routing decision for the destination that
// dst-nat left; then filter, mangle and src-nat. Source addresses and marks are
// still those of the client when the routing decision is made, which is why a
// routing rule for a LAN takes a redirected request too.
//
// The package reads nothing by itself: [Tables] are rows that somebody printed.
// What a row asks for and cannot be known from them (the time of day, a rate, a
// list of host names) is tried both ways; if that changes what becomes of the
// packet, the verdict is [Unsure] and names the row.
package walk
