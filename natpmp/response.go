package natpmp

import (
	"encoding/binary"
	"net/netip"
)

// Sizes of responses on the wire, in bytes.
const (
	responseHeaderSize  = 8  // version, opcode, result, epoch (RFC 6886 §3.5)
	addressResponseSize = 12 // RFC 6886 §3.2
	mapResponseSize     = 16 // RFC 6886 §3.3
)

// Response is a gateway's reply or announcement (RFC 6886 §3.2.1). It is comparable.
type Response struct {
	// Opcode is the opcode of the request, without [ResponseBit].
	Opcode Opcode
	// Result is the gateway's result. The fields after Epoch are valid only with
	// [ResultSuccess], except for InternalPort.
	Result ResultCode
	// Epoch is SSSoE: the seconds since the gateway's mapping table was
	// initialized (RFC 6886 §3.6). Failures carry it too.
	Epoch uint32
	// Address is the public IPv4 address, for [OpExternalAddress] only. The zero value
	// means none and is sent as 0.0.0.0.
	Address netip.Addr
	// InternalPort is the port of the request, for map opcodes only. It is 0 after parsing
	// a failure that is too short to include it.
	InternalPort uint16
	// ExternalPort is the assigned port, for map opcodes only; 0 in the reply to a
	// deletion.
	ExternalPort uint16
	// Lifetime is the granted time in seconds, for map opcodes only; 0 in the reply to a
	// deletion.
	Lifetime uint32
}

// ParseResponse reads a response. Successes must be complete. Failures need only the 8
// bytes that all gateway packets share: some gateways send no more, and what follows the
// internal port has no meaning (RFC 6886 §3.2, §3.4). Bytes after the end are ignored.
//
// The errors are [ErrShort], [ErrUnsupportedVersion], [ErrIsRequest] and, for a success
// with an unknown opcode, [ErrUnsupportedOpcode].
func ParseResponse(b []byte) (Response, error) {
	if len(b) < responseHeaderSize {
		return Response{}, ErrShort
	}
	if b[0] != Version {
		return Response{}, ErrUnsupportedVersion
	}
	r := Response{
		Opcode: Opcode(b[1]) &^ ResponseBit,
		Result: ResultCode(binary.BigEndian.Uint16(b[2:])),
		Epoch:  binary.BigEndian.Uint32(b[4:]),
	}
	if Opcode(b[1])&ResponseBit == 0 {
		// RFC 6886 §3.5 as printed has opcode 0 in the version error; erratum 3618
		// makes it 128. Gateways built from the printed text exist.
		if r.Opcode == OpExternalAddress && r.Result == ResultUnsupportedVersion {
			return r, nil
		}
		return Response{}, ErrIsRequest
	}
	if r.Result != ResultSuccess {
		if r.Opcode.isMap() && len(b) >= responseHeaderSize+2 {
			r.InternalPort = binary.BigEndian.Uint16(b[8:])
		}
		return r, nil
	}
	return parseSuccess(r, b)
}

// parseSuccess reads what follows the header of a success.
func parseSuccess(r Response, b []byte) (Response, error) {
	switch {
	case r.Opcode == OpExternalAddress:
		if len(b) < addressResponseSize {
			return Response{}, ErrShort
		}
		r.Address = netip.AddrFrom4([4]byte(b[8:12]))
	case r.Opcode.isMap():
		if len(b) < mapResponseSize {
			return Response{}, ErrShort
		}
		r.InternalPort = binary.BigEndian.Uint16(b[8:])
		r.ExternalPort = binary.BigEndian.Uint16(b[10:])
		r.Lifetime = binary.BigEndian.Uint32(b[12:])
	default:
		return Response{}, ErrUnsupportedOpcode
	}
	return r, nil
}

// otherVersion returns the version of a reply that says "unsupported version" in another
// version than ours. PCP has its result where NAT-PMP has the low byte of it (RFC 6887 §7.2).
func otherVersion(b []byte) (version uint8, only bool) {
	if len(b) < 4 || b[0] == Version || Opcode(b[1])&ResponseBit == 0 || b[3] != byte(ResultUnsupportedVersion) {
		return 0, false
	}
	return b[0], true
}

// Append appends the response to dst and returns the result: 12 bytes for
// [OpExternalAddress] and 16 for the map opcodes, even for failures, because some clients
// hang on a shorter one. In a failure the address (RFC 6886 §3.2), the external port and
// the lifetime (§3.5) are sent as zero, whatever the fields contain. For any other opcode
// it writes only the 8 bytes that all responses share.
func (r Response) Append(dst []byte) []byte {
	dst = appendResponseHeader(dst, r.Opcode, r.Result, r.Epoch)
	switch {
	case r.Opcode == OpExternalAddress:
		var addr [4]byte
		if a := r.Address.Unmap(); r.Result == ResultSuccess && a.Is4() {
			addr = a.As4()
		}
		return append(dst, addr[:]...)
	case r.Opcode.isMap():
		dst = binary.BigEndian.AppendUint16(dst, r.InternalPort)
		if r.Result != ResultSuccess {
			return append(dst, 0, 0, 0, 0, 0, 0)
		}
		dst = binary.BigEndian.AppendUint16(dst, r.ExternalPort)
		return binary.BigEndian.AppendUint32(dst, r.Lifetime)
	default:
		return dst
	}
}

// AppendVersionError appends the 8 bytes that answer a request of another version (RFC
// 6886 §3.5). The version byte is 0, the highest that we support. The opcode has
// [ResponseBit] set, as erratum 3618 corrects the printed text: a PCP client drops
// anything without it before it looks at the result (RFC 6887 §8.3), and would then never
// fall back to NAT-PMP.
func AppendVersionError(dst []byte, op Opcode, epoch uint32) []byte {
	return appendResponseHeader(dst, op, ResultUnsupportedVersion, epoch)
}

// AppendOpcodeError appends the reply to a request with opcode 3 to 127: the whole request
// with [ResponseBit] and the result set (RFC 6886 §3.5). The RFC does not say what happens
// to the bytes where other replies have the epoch; we keep the request's. A request of
// less than 8 bytes has no room for a result and an epoch, so its reply has 8 bytes with
// both.
//
// The request must have the two bytes of its header; for a shorter one dst is returned
// unchanged.
func AppendOpcodeError(dst, request []byte, epoch uint32) []byte {
	if len(request) < headerSize {
		return dst
	}
	op := Opcode(request[1])
	if len(request) < responseHeaderSize {
		return appendResponseHeader(dst, op, ResultUnsupportedOpcode, epoch)
	}
	start := len(dst)
	dst = append(dst, request...)
	dst[start+1] = byte(op | ResponseBit)
	binary.BigEndian.PutUint16(dst[start+2:], uint16(ResultUnsupportedOpcode))
	return dst
}

// appendResponseHeader appends the 8 bytes with which all responses begin.
func appendResponseHeader(dst []byte, op Opcode, result ResultCode, epoch uint32) []byte {
	dst = append(dst, Version, byte(op|ResponseBit))
	dst = binary.BigEndian.AppendUint16(dst, uint16(result))
	return binary.BigEndian.AppendUint32(dst, epoch)
}
