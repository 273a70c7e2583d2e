// Package nat is the core of doublenat: the table of mappings and everything
// that may happen to one.
//
// A mapping gives a LAN client a port on the public address of the VPN gateway.
// It stands on two layers: a lease on the gateway (external port → inner port)
// and a rule on the router (inner port → client). The package creates, renews,
// deletes and expires mappings, keeps one port's requests in order, undoes what
// was half made, and compares the table with the router again and again.
//
// The two layers are reached through the interfaces [Gateway] and [Router],
// which others implement. The package opens no sockets, reads no configuration
// and imports nothing but the standard library.
package nat
