package igd

import (
	"context"
	"net/netip"
	"time"

	"doublenat/internal/datagram"
)

// Arrival says how a packet or a connection arrived. A connection does not have an
// interface.
type Arrival = datagram.Arrival

// Choice says which external ports a client accepts. The zero value is Exact.
type Choice uint8

// The choices.
const (
	// Exact is AddPortMapping: the requested port or none, because its reply cannot
	// contain another one.
	Exact Choice = iota
	// Any is AddAnyPortMapping: another port if the requested one is not available.
	Any
)

// Handler maps ports. Several goroutines call it at once, for admitted clients. If an
// error wraps an [*ActionError], the client gets its code and description; for all others
// it gets [CodeActionFailed], and so it does after a panic, which is logged and counted.
// The context ends when the server stops, when the client hangs up, or when it has waited
// too long; the call must then return soon.
type Handler interface {
	// AddPortMapping makes a mapping to the calling client, or renews it, and returns its
	// external port. The mapping's Client is the client's own address. External is 0 only
	// with Any: no port is preferred. Lease is in whole seconds up to [MaxLease]; 0 means
	// for ever, which only IGD:1 clients request. With Exact the returned port must be
	// External.
	AddPortMapping(ctx context.Context, from Arrival, m Mapping, choice Choice) (external uint16, err error)
	// DeletePortMapping ends a mapping of the calling client. If the client does not have
	// it, the error is [CodeNoSuchEntry].
	DeletePortMapping(ctx context.Context, from Arrival, p Protocol, external uint16) error
	// PortMappings returns the calling client's mappings, with the remaining time of each
	// lease. The order stays the same while nothing is added. It must not block.
	PortMappings(from Arrival) []Mapping
	// Connection returns the state of the upstream connection. It must not block.
	Connection() Connection
}

// Connection is the state of the upstream connection.
type Connection struct {
	// Status says whether ports can be mapped.
	Status ConnectionStatus
	// Address is the public address. The zero Addr means that it is not known; clients
	// read that as an empty text.
	Address netip.Addr
	// Uptime is how long the status has been what it is.
	Uptime time.Duration
	// Upstream and Downstream are the line's rates in bits per second, 0 if not known.
	Upstream, Downstream uint32
}

// ConnectionStatus is the state of the upstream connection, in the words of
// WANIPConnection:1 §2.2.3. The zero value is Disconnected.
type ConnectionStatus uint8

// The states of which the standard makes Connected and Disconnected a must.
const (
	// Disconnected means that the gateway does not answer. Many clients then ask for no
	// mapping.
	Disconnected ConnectionStatus = iota
	// Connected means that the gateway answers.
	Connected
	// Connecting means that nothing is known about the gateway yet.
	Connecting
)

// String returns the standard's word.
func (s ConnectionStatus) String() string {
	switch s {
	case Connected:
		return "Connected"
	case Connecting:
		return "Connecting"
	case Disconnected:
	}
	return "Disconnected"
}
