package pcp

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
)

// Sizes of what packets consist of, in bytes.
const (
	headerSize  = 24 // RFC 6887 §7.1, §7.2
	mapSize     = 36 // RFC 6887 §11.1
	addressSize = 16 // RFC 6887 §5
	reservedAt  = 12 // the last 96 bits of a response's header (RFC 6887 §7.2)
)

// Nonce is the 96-bit random number with which a client proves that a mapping is its own
// (RFC 6887 §11.1).
type Nonce [12]byte

// String returns the nonce in hexadecimal digits.
func (n Nonce) String() string { return hex.EncodeToString(n[:]) }

// Map is the part of [OpMap] requests and responses after the header (RFC 6887 §11.1). It
// is comparable.
type Map struct {
	// Nonce is the client's number for the mapping.
	Nonce Nonce
	// Protocol is the upper-layer protocol.
	Protocol Protocol
	// InternalPort is the port on the client, 0 for all.
	InternalPort uint16
	// ExternalPort is the suggested port in a request, 0 for any; the assigned one in a
	// success, and the suggested one in a failure.
	ExternalPort uint16
	// ExternalAddress is suggested and assigned like ExternalPort. The unspecified
	// addresses mean any. The zero Addr is sent as 0.0.0.0.
	ExternalAddress netip.Addr
}

// parseMap reads a Map from at least mapSize bytes.
func parseMap(b []byte) Map {
	return Map{
		Nonce:           Nonce(b[:12]),
		Protocol:        Protocol(b[12]),
		InternalPort:    binary.BigEndian.Uint16(b[16:]),
		ExternalPort:    binary.BigEndian.Uint16(b[18:]),
		ExternalAddress: parseAddr(b[20:]),
	}
}

// append appends the map's bytes.
func (m Map) append(dst []byte) []byte {
	dst = append(dst, m.Nonce[:]...)
	dst = append(dst, byte(m.Protocol), 0, 0, 0) // reserved: MUST be zero (RFC 6887 §11.1)
	dst = binary.BigEndian.AppendUint16(dst, m.InternalPort)
	dst = binary.BigEndian.AppendUint16(dst, m.ExternalPort)
	return appendAddr(dst, m.ExternalAddress)
}

// parseAddr reads an address of 128 bits. One of IPv4 is returned as such.
func parseAddr(b []byte) netip.Addr { return netip.AddrFrom16([addressSize]byte(b)).Unmap() }

// appendAddr appends an address of 128 bits (RFC 6887 §5). The zero Addr is 0.0.0.0.
func appendAddr(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	wide := a.As16()
	return append(dst, wide[:]...)
}
