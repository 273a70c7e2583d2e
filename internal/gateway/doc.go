// Package gateway is the VPN gateway as the core of doublenat sees it: leases,
// asked for with NAT-PMP (RFC 6886) or PCP (RFC 6887), the public address, kept
// in memory, and a watch on whether the gateway lost its state.
package gateway
