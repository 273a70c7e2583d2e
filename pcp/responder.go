package pcp

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/netip"
	"time"

	"doublenat/internal/datagram"
)

// Arrival says how a packet arrived.
type Arrival = datagram.Arrival

// Handler decides about map requests. Several goroutines call it at once.
type Handler interface {
	// ServePCP decides about one [OpMap] request. The request comes from the address that
	// it contains, is for TCP or UDP, and has no THIRD_PARTY option. A deletion may be for
	// internal port 0, which means all ports, and then also for [AllProtocols]. From says
	// who sent it and when it arrived: it may have waited since. The context ends when the
	// server stops; the call must then return soon. A panic is logged, counted and
	// answered with [ResultNetworkFailure].
	ServePCP(ctx context.Context, from Arrival, req Request) Reply
}

// Reply is a handler's decision about one request. The zero value is no decision; the
// server then answers [ResultNetworkFailure].
type Reply struct {
	kind     replyKind
	result   ResultCode
	lifetime time.Duration
	port     uint16
	address  netip.Addr
}

// replyKind says which fields of a Reply count.
type replyKind uint8

const (
	replyUndecided replyKind = iota
	replySilence
	replyFailure
	replyMapped
	replyDeleted
)

// Silence is the decision to send nothing: the client will retry.
func Silence() Reply { return Reply{kind: replySilence} }

// Failure answers with the code, which must not be [ResultSuccess], and with how long the
// failure lasts: if lasts is 0, the code's own lifetime (RFC 6887 §7.4).
func Failure(code ResultCode, lasts time.Duration) Reply {
	if lasts == 0 {
		lasts = code.Lifetime()
	}
	return Reply{kind: replyFailure, result: code, lifetime: lasts}
}

// Mapped answers with the assigned address, a port that is not 0, and a lifetime of at
// least a second.
func Mapped(address netip.Addr, port uint16, lifetime time.Duration) Reply {
	return Reply{kind: replyMapped, address: address, port: port, lifetime: lifetime}
}

// Deleted answers a request with lifetime 0 (RFC 6887 §15).
func Deleted() Reply { return Reply{kind: replyDeleted} }

// ResponderConfig configures a [Responder].
type ResponderConfig struct {
	// Handler decides about map requests. Required.
	Handler Handler
	// Epoch returns the seconds since the server's state was initialized (RFC 6887 §8.5).
	// Required.
	Epoch func() uint32
	// Mismatch gets each request that comes from another address than it contains: there
	// is a NAT in between. The reading goroutine calls it, and it must not block. Nil
	// means no callback.
	Mismatch func(from Arrival)
}

// Responder is PCP on a server's socket, which other protocols may share. It answers
// requests of all versions except 0, which is NAT-PMP (RFC 6887 §9).
type Responder struct{ cfg ResponderConfig }

var _ datagram.Protocol = (*Responder)(nil)

// NewResponder checks the configuration and returns the responder.
func NewResponder(cfg ResponderConfig) (*Responder, error) {
	if cfg.Handler == nil || cfg.Epoch == nil {
		return nil, errors.New("pcp: server needs a handler and an epoch")
	}
	if cfg.Mismatch == nil {
		cfg.Mismatch = func(Arrival) {}
	}
	return &Responder{cfg}, nil
}

// Discard implements [datagram.Protocol].
func (p *Responder) Discard(packet []byte) datagram.Discard {
	switch _, err := ParseRequest(packet); {
	case errors.Is(err, ErrIsResponse):
		return datagram.Response
	case errors.Is(err, ErrShort):
		return datagram.Short
	default:
		return datagram.Keep
	}
}

// AtOnce implements [datagram.Protocol].
func (p *Responder) AtOnce(dst, packet []byte, from Arrival) ([]byte, datagram.Kind) {
	req, err := ParseRequest(packet)
	code, _ := ResultOf(err)
	if err == nil {
		code = p.verdict(&req, from)
	}
	switch {
	case code != ResultSuccess:
		kind := datagram.KindDone
		switch code {
		case ResultUnsupportedVersion:
			kind = datagram.KindVersion
		case ResultUnsupportedOpcode:
			kind = datagram.KindOpcode
		default:
		}
		return AppendError(dst, packet, code, onWire(code.Lifetime()), p.cfg.Epoch()), kind
	case req.Opcode == OpAnnounce:
		return Response{Opcode: OpAnnounce, Epoch: p.cfg.Epoch()}.Append(dst), datagram.KindDone
	default:
		return nil, datagram.KindLater
	}
}

// Request implements [datagram.Protocol].
func (p *Responder) Request(packet []byte, from Arrival) datagram.Request {
	req, _ := ParseRequest(packet) // AtOnce answers what is none.
	return &received{responder: p, from: from, req: req, packet: bytes.Clone(packet)}
}

// verdict says what is wrong with a request that can be read, whoever decides about
// mappings (RFC 6887 §8.2, §11.3, §13.1).
func (p *Responder) verdict(req *Request, from Arrival) ResultCode {
	switch m := &req.Map; {
	case req.Client != from.Client.Addr():
		p.cfg.Mismatch(from)
		return ResultAddressMismatch
	case req.Opcode == OpAnnounce:
		return ResultSuccess
	case req.Options.ThirdParty.IsValid():
		return ResultUnsupportedOption
	case m.Protocol == AllProtocols && req.Lifetime == 0:
		return ResultSuccess // the end of all mappings
	case m.Protocol != TCP && m.Protocol != UDP:
		return ResultUnsupportedProtocol
	case m.InternalPort == 0 && req.Lifetime != 0:
		return ResultUnsupportedProtocol // all ports of a host are not to be had
	default:
		return ResultSuccess
	}
}

// received is a request that came in.
type received struct {
	responder *Responder
	from      Arrival
	req       Request
	// packet is what came: a failure has a copy of it.
	packet []byte
}

// Subject implements [datagram.Request].
func (r *received) Subject() datagram.Subject {
	s := datagram.Subject{Protocol: uint8(r.req.Map.Protocol), Port: r.req.Map.InternalPort}
	switch {
	case r.req.Opcode != OpMap:
		return datagram.Subject{}
	case r.req.Lifetime == 0:
		s.Effect = datagram.Ends
	default:
		s.Effect = datagram.Makes
	}
	return s
}

// Same implements [datagram.Request].
func (r *received) Same(other datagram.Request) bool {
	o, ok := other.(*received)
	return ok && o.req == r.req
}

// Serve implements [datagram.Request].
func (r *received) Serve(ctx context.Context) []byte {
	return r.answer(r.responder.cfg.Handler.ServePCP(ctx, r.from, r.req))
}

// Failure implements [datagram.Request].
func (r *received) Failure() []byte { return r.answer(Reply{}) }

// answer returns the packet that a decision makes, nil for silence. A decision that does not
// fit the request becomes a network failure: a client must not read a success without a port
// as the end of its mapping.
func (r *received) answer(reply Reply) []byte {
	deletes := r.req.Lifetime == 0
	switch {
	case reply.kind == replySilence:
		return nil
	case reply.kind == replyFailure && reply.result != ResultSuccess:
		return r.failure(reply.result, reply.lifetime)
	case reply.kind == replyMapped && !deletes && reply.port != 0 && reply.lifetime >= time.Second:
		return NewResponse(r.req, r.responder.cfg.Epoch(), reply.address, reply.port, reply.lifetime).Append(nil)
	case reply.kind == replyDeleted && deletes:
		// What was suggested is copied (RFC 6887 §15.1).
		return Response{Opcode: OpMap, Epoch: r.responder.cfg.Epoch(), Map: r.req.Map}.Append(nil)
	default:
		return r.failure(ResultNetworkFailure, ShortErrorLifetime)
	}
}

// NewResponse returns the success that answers an [OpMap] request with what was assigned;
// the epoch is in seconds.
func NewResponse(req Request, epoch uint32, address netip.Addr, port uint16, lifetime time.Duration) Response {
	m := req.Map
	m.ExternalAddress, m.ExternalPort = address, port
	return Response{Opcode: OpMap, Lifetime: onWire(lifetime), Epoch: epoch, Map: m}
}

// failure returns a refusal.
func (r *received) failure(code ResultCode, lasts time.Duration) []byte {
	return AppendError(nil, r.packet, code, onWire(lasts), r.responder.cfg.Epoch())
}

// onWire returns a duration as a lifetime, which has whole seconds.
func onWire(d time.Duration) uint32 {
	return uint32(min(max(d/time.Second, 0), math.MaxUint32))
}
