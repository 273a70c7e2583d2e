package natpmp

import "net/netip"

// Reply is a handler's decision about one request. It has only what the handler knows. The
// server adds opcode, internal port and epoch, so no handler can send a malformed
// response. Make one with the functions below. The zero value is no decision; the server
// then answers [ResultNetworkFailure].
type Reply struct {
	kind     replyKind
	result   ResultCode
	address  netip.Addr
	port     uint16
	lifetime uint32
}

// replyKind says which fields of a Reply count.
type replyKind uint8

const (
	replyUndecided replyKind = iota
	replyNothing
	replyFailure
	replyAddress
	replyMapped
	replyDeleted
)

// Silence is the decision to send nothing: for requests that somebody else answers, and
// for senders that must not learn that anything is here. Version 0 requests from
// legitimate clients must be answered (RFC 6886 §3.5).
func Silence() Reply { return Reply{kind: replyNothing} }

// Failure answers with the code, which must not be [ResultSuccess].
func Failure(code ResultCode) Reply { return Reply{kind: replyFailure, result: code} }

// Address answers an [OpExternalAddress] request with an IPv4 address.
func Address(a netip.Addr) Reply { return Reply{kind: replyAddress, address: a.Unmap()} }

// Mapped answers a map request with the assigned port and lifetime in seconds, neither of
// which is 0.
func Mapped(externalPort uint16, lifetime uint32) Reply {
	return Reply{kind: replyMapped, port: externalPort, lifetime: lifetime}
}

// Deleted answers a map request with lifetime 0 (RFC 6886 §3.4).
func Deleted() Reply { return Reply{kind: replyDeleted} }

// response returns the response to the request, and false for silence. A reply
// that does not fit its request becomes a network failure: a client must not
// read a success without a port as the end of its mapping.
func (r Reply) response(req Request, epoch uint32) (Response, bool) {
	resp := Response{Opcode: req.Opcode, Epoch: epoch, InternalPort: req.InternalPort}
	switch {
	case r.kind == replyNothing:
		return Response{}, false
	case r.kind == replyFailure && r.result != ResultSuccess:
		resp.Result = r.result
	case !r.fits(req):
		resp.Result = ResultNetworkFailure
	default:
		resp.Address, resp.ExternalPort, resp.Lifetime = r.address, r.port, r.lifetime
	}
	return resp, true
}

// fits says whether the reply is a success that can answer the request.
func (r Reply) fits(req Request) bool {
	switch r.kind {
	case replyAddress:
		return req.Opcode == OpExternalAddress && r.address.Is4()
	case replyMapped:
		return req.Opcode.isMap() && req.Lifetime != 0 && r.port != 0 && r.lifetime != 0
	case replyDeleted:
		return req.Opcode.isMap() && req.Lifetime == 0
	default:
		return false
	}
}
