// Package pcptest has a [Gateway] that speaks PCP (RFC 6887) and behaves like the gateways
// people really have, for tests.
//
// It is a gateway of package natpmptest that is asked in another language: leases, ports,
// epoch, faults, journal and network are that one's, and how it behaves is that one's
// profile, with what only PCP has. One that speaks both protocols has one table of leases,
// as real ones do.
package pcptest
