package natpmp

import "encoding/binary"

// Sizes of requests on the wire, in bytes.
const (
	headerSize         = 2  // version, opcode (RFC 6886 §3)
	addressRequestSize = 2  // nothing but the header (RFC 6886 §3.2)
	mapRequestSize     = 12 // RFC 6886 §3.3
)

// Request is a request of version 0 with one of the three opcodes of RFC 6886. It is
// comparable.
type Request struct {
	// Opcode is what the request asks for. The other fields are zero in an
	// [OpExternalAddress] request.
	Opcode Opcode
	// InternalPort is the port on the client. RFC 6886 defines 0 only with Lifetime 0: end
	// all mappings of this protocol (§3.4). [MapRequest.Symmetric] says what ProtonVPN's
	// gateways do with 0 and another lifetime.
	InternalPort uint16
	// SuggestedExternalPort is the client's preference, 0 for none. A renewal has the
	// assigned port here; a deletion should have 0 but is valid with any value.
	SuggestedExternalPort uint16
	// Lifetime is in seconds and may be any 32-bit value. 0 asks for deletion.
	Lifetime uint32
}

// ParseRequest reads a request. It checks in the order that decides the reply: [ErrShort]
// (no header), [ErrIsResponse], [ErrUnsupportedVersion], [ErrUnsupportedOpcode],
// [ErrShort] (no complete map request). It ignores the reserved field (RFC 6886 §3.3) and
// bytes after the end.
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
// [OpExternalAddress] and 12 for the map opcodes. For any other opcode it writes only the
// header, which every server refuses.
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
