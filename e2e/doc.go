// Package e2e sends real packets through two real NATs, with clients that nobody
// here wrote. It has tests only, behind the build tag e2e.
//
// Every flow has a small world of its own, in network namespaces:
//
//	 alice 192.168.88.10 ┐
//	 bob   192.168.88.11 ┤ bridge 192.168.88.1  router  wg1 10.2.0.2 ══ WireGuard ══ 10.2.0.1 vpn   eth0 11.22.33.7 ── internet
//	(box   192.168.88.2) ┘                      router  ether1 198.51.100.2 ─────────────────────────────────────────── internet
//	 box   172.30.254.2 ── veth1 172.30.254.1   router                                                  44.55.66.77 on internet
//
// The router is the kernel's NAT, which follows the rules of a RouterOS for tests
// (package routerostest) at once. The VPN gateway is Debian's miniupnpd, or the
// NAT-PMP gateway for tests (package natpmptest) that drives the kernel's NAT.
// Doublenat is the real binary. It runs in box, which is a container on a routed
// veth, or a host of the LAN.
//
// The tests run in a sandbox: a child process with mount, network and process
// namespaces of its own. When it ends, in whatever way, the kernel ends all
// that it started and removes all that it made; two runs cannot meet.
//
// docs/testing.md tells how to run it.
package e2e
