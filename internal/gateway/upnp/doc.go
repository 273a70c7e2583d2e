// Package upnp is a box with UPnP IGD as the core of doublenat sees it, as package
// gateway is one with NAT-PMP: leases, the public address, kept in memory, and a watch
// on what the box forgot, for boxes say nothing when they forget.
//
// What UPnP lacks is made up for here. A mapping is named by its external port, so a
// table remembers which ports the core's inner ports have, and is filled from the box's
// own at the start. All mappings lead to the router, and the box lets one of them
// overwrite the other, so no two are asked for with one external port. Boxes that know
// permanent mappings only are told when those end.
package upnp
