// Package e2e sends real packets through two real NATs, with clients that nobody
// here wrote. It has tests only, behind the build tag e2e.
//
// Every flow has a small world of its own, in network namespaces:
//
//	alice 192.168.88.10 ┐                                               44.55.66.77
//	bob   192.168.88.11 ┼ bridge ── router ── ether1 ────────────────────── internet
//	box   192.168.88.2  ┘             │ │                                      │
//	box   172.30.254.2 ────── veth1 ──┘ └── wg1 10.2.0.2 ══ 10.2.0.1 vpn ── 11.22.33.7
//
// Where a provider's box is the gateway there is no tunnel, and the box is between the
// router and the Internet:
//
//	… router ── ether1 198.51.100.2 ── 198.51.100.1 vpn 11.22.33.7 ── internet
//
// In a cascade the router stands in the LAN of another such world, whose doublenat is the
// gateway:
//
//	… router ── ether1 192.168.90.2 ── 192.168.90.1 bridge ── outer router ── ether1 …
//
// The router is the kernel's NAT, which follows the rules of a RouterOS for tests
// (package routerostest) at once. The VPN gateway is Debian's miniupnpd, or the
// NAT-PMP gateway for tests (package natpmptest) that drives the kernel's NAT.
// Doublenat is the real binary. It runs in box, which is on a routed veth, as a
// RouterOS container, or else in the LAN.
//
// The tests run in a sandbox: a child process with mount, network and process
// namespaces of its own. When it ends, in whatever way, the kernel ends all
// that it started and removes all that it made; two runs cannot meet.
//
// docs/testing.md tells how to run it.
package e2e
