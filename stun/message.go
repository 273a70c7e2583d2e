package stun

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Port is the UDP port on which servers listen (RFC 8489 §18.6).
const Port = 3478

// The header of a message (RFC 8489 §5).
const (
	headerLen       = 20
	magicCookie     = 0x2112a442
	bindingRequest  = 0x0001
	bindingResponse = 0x0101
	bindingError    = 0x0111
)

// Attributes that are looked at (RFC 8489 §18.3).
const (
	attrMappedAddress    = 0x0001
	attrErrorCode        = 0x0009
	attrXORMappedAddress = 0x0020
	// attrOptional is the first of those that may be ignored (RFC 8489 §14).
	attrOptional = 0x8000
)

// TransactionID identifies a request and its reply (RFC 8489 §5).
type TransactionID [12]byte

// errForeign is a packet that is no answer to the question.
var errForeign = errors.New("stun: no answer to the question")

// ErrNoAddress means that a success has no address, or has attributes that must be
// understood and are not (RFC 8489 §6.3.3).
var ErrNoAddress = errors.New("stun: the server's answer has no address in it")

// Error is a server's refusal.
type Error struct {
	// Code is from 300 to 699 (RFC 8489 §14.8), 0 if the server gave none.
	Code int
	// Reason is the server's text. It is foreign text: do not show it unescaped.
	Reason string
}

// Error returns code and reason.
func (e *Error) Error() string {
	return fmt.Sprintf("stun: the server refuses with code %d: %q", e.Code, e.Reason)
}

// AppendRequest appends a Binding request without attributes to b.
func AppendRequest(b []byte, id TransactionID) []byte {
	b = binary.BigEndian.AppendUint16(b, bindingRequest)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, magicCookie)
	return append(b, id[:]...)
}

// ParseResponse returns the address and port from which the server received the request.
// An [*Error] or [ErrNoAddress] ends the transaction; any other error means that the
// packet does not belong to it.
func ParseResponse(packet []byte, id TransactionID) (netip.AddrPort, error) {
	if len(packet) < headerLen || TransactionID(packet[8:headerLen]) != id || binary.BigEndian.Uint32(packet[4:]) != magicCookie {
		return netip.AddrPort{}, errForeign
	}
	// RFC 8489 §6.3: the length makes sense, and is that of whole words (§5).
	if length := int(binary.BigEndian.Uint16(packet[2:])); length%4 != 0 || headerLen+length != len(packet) {
		return netip.AddrPort{}, errForeign
	}
	a, ok := parseAttributes(packet[headerLen:], id)
	switch kind := binary.BigEndian.Uint16(packet); {
	case !ok || kind != bindingResponse && kind != bindingError:
		return netip.AddrPort{}, errForeign
	case kind == bindingError:
		return netip.AddrPort{}, &Error{Code: a.code, Reason: a.reason}
	case a.unknown:
		return netip.AddrPort{}, ErrNoAddress
	case a.xored.IsValid(): // NATs on the way rewrite the other one (RFC 8489 §14.2)
		return a.xored, nil
	case a.mapped.IsValid():
		return a.mapped, nil
	default:
		return netip.AddrPort{}, ErrNoAddress
	}
}

// attributes are those that matter.
type attributes struct {
	xored, mapped netip.AddrPort // the zero value for none
	code          int
	reason        string
	unknown       bool // one that has to be understood is not
}

// parseAttributes reads type, length and value of each, padded to whole words (RFC 8489
// §14). The first of several of a type counts. It returns false for what is cut off.
func parseAttributes(b []byte, id TransactionID) (a attributes, ok bool) {
	seen := make(map[uint16]bool)
	for len(b) > 0 {
		if len(b) < 4 {
			return a, false
		}
		kind, length := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		padded := (length + 3) &^ 3
		if b = b[4:]; padded > len(b) {
			return a, false
		}
		value := b[:length]
		b = b[padded:]
		if seen[kind] {
			continue
		}
		seen[kind] = true
		switch {
		case kind == attrMappedAddress:
			a.mapped, _ = parseAddress(value)
		case kind == attrXORMappedAddress:
			if xored, ok := parseAddress(value); ok {
				a.xored = unmask(xored, id)
			}
		case kind == attrErrorCode && length >= 4:
			a.code, a.reason = int(value[2]&7)*100+int(value[3]), string(value[4:])
		case kind < attrOptional && !ignorable(kind):
			a.unknown = true
		}
	}
	return a, true
}

// ignorable reports whether an attribute that RFC 8489 §14 wants to be understood says
// nothing about the address: those of authentication, and those of RFC 3489 §11.2 that old
// servers still send, such as SOURCE-ADDRESS.
func ignorable(kind uint16) bool {
	return kind <= 0x000b || kind == 0x0014 || kind == 0x0015 || 0x001c <= kind && kind <= 0x001e
}

// parseAddress reads a family, a port and an address (RFC 8489 §14.1).
func parseAddress(b []byte) (netip.AddrPort, bool) {
	if len(b) < 8 {
		return netip.AddrPort{}, false
	}
	family, port := b[1], binary.BigEndian.Uint16(b[2:])
	a, ok := netip.AddrFromSlice(b[4:])
	if !ok || family != 1 && family != 2 || (family == 1) != a.Is4() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, port), true
}

// unmask undoes what keeps NATs from finding the address (RFC 8489 §14.2): cookie and
// transaction id, by exclusive or.
func unmask(x netip.AddrPort, id TransactionID) netip.AddrPort {
	mask := binary.BigEndian.AppendUint32(nil, magicCookie)
	mask = append(mask, id[:]...)
	b := x.Addr().AsSlice()
	for i := range b {
		b[i] ^= mask[i]
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, x.Port()^uint16(magicCookie>>16))
}
