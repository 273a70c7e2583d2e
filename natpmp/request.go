package natpmp

import "encoding/binary"

// Sizes of requests on the wire, in bytes.
const (
	headerSize         = 2  // version, opcode (RFC 6886 §3)
	addressRequestSize = 2  // nothing but the header (RFC 6886 §3.2)
	mapRequestSize     = 12 // RFC 6886 §3.3
)

// Request is a request of version 0 and one of the three opcodes of RFC 6886.
// It is comparable.
type Request struct {
	// Opcode says what is asked for. The other fields are zero in an
	// [OpExternalAddress] request.
	Opcode Opcode
	// InternalPort is the port on the client. In RFC 6886 0 has a meaning with Lifetime 0
	// only: end all mappings of this protocol (§3.4). What ProtonVPN's
	// gateways make of it with another lifetime, [MapRequest.Symmetric] tells.
	InternalPort uint16
	// SuggestedExternalPort is the client's wish, 0 for none. A renewal has the
	// assigned port here; a deletion should have 0 and is valid with anything.
	SuggestedExternalPort uint16
	// Lifetime is in seconds, over the whole 32-bit range. 0 asks for deletion.
	Lifetime uint32
}

// ParseRequest reads a request. It looks, in this order, at what decides the
// answer: [ErrShort] (no header), [ErrIsResponse], [ErrUnsupportedVersion],
// [ErrUnsupportedOpcode], [ErrShort] (no complete map request). The reserved
// field is ignored (RFC 6886 §3.3), and so are bytes after the end.
func ParseRequest(b []byte) (Request, error) {
	if len(b) < headerSize {
		return Request{}, ErrShort
	}
	op := Opcode(b[1])
	switch {
	case op&ResponseBit != 0:
		return Request{}, ErrIsResponse
	case b[0] != Version:
		return Request{}, ErrUnsupportedVersion
	case op == OpExternalAddress:
		return Request{}, nil
	case !op.isMap():
		return Request{}, ErrUnsupportedOpcode
	case len(b) < mapRequestSize:
		return Request{}, ErrShort
	}
	return Request{
		Opcode:                op,
		InternalPort:          binary.BigEndian.Uint16(b[4:]),
		SuggestedExternalPort: binary.BigEndian.Uint16(b[6:]),
		Lifetime:              binary.BigEndian.Uint32(b[8:]),
	}, nil
}

// Append appends the request to dst and returns the result: 2 bytes for
// [OpExternalAddress] and 12 for the map opcodes. Of any other opcode only the
// header is written, which every server refuses.
func (r Request) Append(dst []byte) []byte {
	dst = append(dst, Version, byte(r.Opcode))
	if !r.Opcode.isMap() {
		return dst
	}
	dst = append(dst, 0, 0) // reserved: MUST be zero (RFC 6886 §3.3)
	dst = binary.BigEndian.AppendUint16(dst, r.InternalPort)
	dst = binary.BigEndian.AppendUint16(dst, r.SuggestedExternalPort)
	return binary.BigEndian.AppendUint32(dst, r.Lifetime)
}
