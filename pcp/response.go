package pcp

import (
	"encoding/binary"
)

// Response is a server's reply or announcement (RFC 6887 §14.1.1). It is comparable.
type Response struct {
	// Opcode is the opcode of the request, without [ResponseBit].
	Opcode Opcode
	// Result is the server's result.
	Result ResultCode
	// Lifetime is in seconds: the mapping's, or how long to expect the same failure (RFC
	// 6887 §7.2).
	Lifetime uint32
	// Epoch is the seconds since the server's state was initialized (RFC 6887 §8.5).
	// Failures carry it too.
	Epoch uint32
	// Map is for [OpMap]. It is the zero value after parsing a failure that is too short
	// to include it.
	Map Map
}

// ParseResponse reads a response. It checks in the order of RFC 6887 §8.3: [ErrShort],
// [ErrIsRequest], [ErrUnsupportedVersion] (see [VersionOf]), [ErrShort], [ErrMalformed]
// for an impossible size and, for a success with an opcode other than ours,
// [ErrUnsupportedOpcode]. It ignores options: none tells a client anything that Map does
// not.
func ParseResponse(b []byte) (Response, error) {
	switch {
	case len(b) < 4:
		return Response{}, ErrShort
	case Opcode(b[1])&ResponseBit == 0:
		return Response{}, ErrIsRequest
	case b[0] != Version:
		return Response{}, ErrUnsupportedVersion
	case len(b) < headerSize:
		return Response{}, ErrShort
	case len(b) > MaxPacket, len(b)%4 != 0:
		return Response{}, ErrMalformed
	}
	r := Response{
		Opcode:   Opcode(b[1]) &^ ResponseBit,
		Result:   ResultCode(b[3]),
		Lifetime: binary.BigEndian.Uint32(b[4:]),
		Epoch:    binary.BigEndian.Uint32(b[8:]),
	}
	success := r.Result == ResultSuccess
	switch {
	case r.Opcode == OpMap && len(b) >= headerSize+mapSize:
		r.Map = parseMap(b[headerSize:])
	case r.Opcode == OpMap && success:
		return Response{}, ErrShort
	case r.Opcode != OpAnnounce && r.Opcode != OpMap && success:
		return Response{}, ErrUnsupportedOpcode
	}
	return r, nil
}

// VersionOf returns the version of a packet with which a server says that it does not
// speak version 2 (RFC 6887 §9), and false for any other packet. Version 0 is NAT-PMP: its
// version error of 8 bytes begins the same way. Gateways built from RFC 6886 as printed
// omit its [ResponseBit] (erratum 3618).
func VersionOf(b []byte) (version uint8, only bool) {
	if len(b) < 4 || b[3] != byte(ResultUnsupportedVersion) {
		return 0, false
	}
	printed := b[0] == 0 && b[1] == 0 && b[2] == 0 && len(b) == 8
	return b[0], printed || Opcode(b[1])&ResponseBit != 0
}

// Append appends the response to dst and returns the result: 24 bytes, and 36 more for
// [OpMap]. To refuse a request, a server sends the output of [AppendError] instead.
func (r Response) Append(dst []byte) []byte {
	dst = r.appendHeader(dst)
	if r.Opcode == OpMap {
		dst = r.Map.append(dst)
	}
	return dst
}

// appendHeader appends the 24 bytes with which all responses begin.
func (r Response) appendHeader(dst []byte) []byte {
	dst = append(dst, Version, byte(r.Opcode|ResponseBit), 0, byte(r.Result)) // RFC 6887 §7.2
	dst = binary.BigEndian.AppendUint32(dst, r.Lifetime)
	dst = binary.BigEndian.AppendUint32(dst, r.Epoch)
	return append(dst, make([]byte, headerSize-reservedAt)...)
}

// unread says whether the failure is one of a request that the server did not read.
func (c ResultCode) unread() bool {
	switch c {
	case ResultUnsupportedVersion, ResultMalformedRequest, ResultUnsupportedOpcode, ResultUnsupportedOption, ResultMalformedOption:
		return true
	default:
		return false
	}
}

// AppendError appends a refusal of the request: a copy of it with the header of a
// response, up to the maximum packet size, and with its suggestions (RFC 6887 §8.2,
// §11.3). The last 96 bits of the header are zero, or those of the client's address if the
// server did not read the request (§7.2). For a request of another version only the header
// is sent. Lifetime and epoch are in seconds.
//
// A request of less than two bytes has no reply: dst is returned unchanged.
func AppendError(dst, request []byte, code ResultCode, lifetime, epoch uint32) []byte {
	if len(request) < 2 {
		return dst
	}
	start := len(dst)
	dst = Response{Opcode: Opcode(request[1]) &^ ResponseBit, Result: code, Lifetime: lifetime, Epoch: epoch}.appendHeader(dst)
	if code.unread() && len(request) >= headerSize {
		copy(dst[start+reservedAt:], request[reservedAt:headerSize])
	}
	if code == ResultUnsupportedVersion || len(request) <= headerSize {
		return dst
	}
	dst = append(dst, request[headerSize:min(len(request), MaxPacket)]...)
	for (len(dst)-start)%4 != 0 {
		dst = append(dst, 0)
	}
	return dst
}
