package pcp

import (
	"encoding/binary"
	"net/netip"
)

// Request is a request of version 2, either [OpAnnounce] or [OpMap]. It is comparable.
type Request struct {
	// Opcode is what the request asks for.
	Opcode Opcode
	// Lifetime is in seconds; 0 ends a mapping (RFC 6887 §15). For [OpAnnounce] it is 0.
	Lifetime uint32
	// Client is the client's address as the client knows it. If the packet comes from
	// another one, the server answers [ResultAddressMismatch] (RFC 6887 §8.2).
	Client netip.Addr
	// Map is for [OpMap].
	Map Map
	// Options are for [OpMap].
	Options Options
}

// ParseRequest reads a request. It checks in the order that decides the reply, that of RFC
// 6887 §8.2: [ErrShort] (nothing to answer), [ErrIsResponse], [ErrUnsupportedVersion],
// [ErrShort] (no complete header), [ErrMalformed] (its size), [ErrUnsupportedOpcode],
// [ErrMalformed] (too short for its opcode, or a port without a protocol), and then the
// options in their order: [ErrUnsupportedOption], [ErrMalformedOption], [ErrMalformed]. It
// ignores reserved fields.
//
// [ResultOf] and [AppendError] turn an error into a reply.
func ParseRequest(b []byte) (Request, error) {
	switch {
	case len(b) < 2:
		return Request{}, ErrShort
	case Opcode(b[1])&ResponseBit != 0:
		return Request{}, ErrIsResponse
	case b[0] != Version:
		return Request{}, ErrUnsupportedVersion
	case len(b) < headerSize:
		return Request{}, ErrShort
	case len(b) > MaxPacket, len(b)%4 != 0:
		return Request{}, ErrMalformed
	}
	r := Request{
		Opcode:   Opcode(b[1]),
		Lifetime: binary.BigEndian.Uint32(b[4:]),
		Client:   parseAddr(b[8:]),
	}
	switch r.Opcode {
	case OpAnnounce:
		return parseAnnounceRequest(r, b[headerSize:])
	case OpMap:
		return parseMapRequest(r, b[headerSize:])
	default:
		return Request{}, ErrUnsupportedOpcode
	}
}

// parseAnnounceRequest reads what follows the header of an announce request: options, of
// which this opcode has none that has to be understood.
func parseAnnounceRequest(r Request, b []byte) (Request, error) {
	o, err := parseOptions(b)
	switch {
	case err != nil:
		return Request{}, err
	case o != (Options{}):
		return Request{}, ErrUnsupportedOption
	default:
		return r, nil
	}
}

// parseMapRequest reads what follows the header of a map request.
func parseMapRequest(r Request, b []byte) (Request, error) {
	if len(b) < mapSize {
		return Request{}, ErrMalformed
	}
	r.Map = parseMap(b)
	if r.Map.Protocol == AllProtocols && r.Map.InternalPort != 0 {
		return Request{}, ErrMalformed // RFC 6887 §11.1
	}
	var err error
	if r.Options, err = parseOptions(b[mapSize:]); err != nil {
		return Request{}, err
	}
	if err := r.Options.check(&r); err != nil {
		return Request{}, err
	}
	return r, nil
}

// Append appends the request to dst and returns the result: 24 bytes for [OpAnnounce], and
// 60 plus the options for [OpMap]. For any other opcode it writes only the header, which
// every server refuses.
func (r *Request) Append(dst []byte) []byte {
	dst = append(dst, Version, byte(r.Opcode), 0, 0) // reserved: MUST be zero (RFC 6887 §7.1)
	dst = binary.BigEndian.AppendUint32(dst, r.Lifetime)
	dst = appendAddr(dst, r.Client)
	if r.Opcode != OpMap {
		return dst
	}
	return r.Options.append(r.Map.append(dst))
}
