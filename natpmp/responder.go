package natpmp

import (
	"context"
	"errors"

	"doublenat/internal/datagram"
)

// ResponderConfig configures a [Responder].
type ResponderConfig struct {
	// Handler decides about requests. Required.
	Handler Handler
	// Epoch is in every response, failures included. Required.
	Epoch *Epoch
	// AtOnce answers what needs no work, such as a request for a public address that is
	// known. It returns false if the Handler has to decide. The reading goroutine calls
	// it, and it must not block. Nil leaves everything to the Handler.
	AtOnce func(from Arrival, req Request) (Reply, bool)
}

// Responder is NAT-PMP on a server's socket, which other protocols may share.
type Responder struct{ cfg ResponderConfig }

var _ datagram.Protocol = (*Responder)(nil)

// NewResponder checks the configuration and returns the responder.
func NewResponder(cfg ResponderConfig) (*Responder, error) {
	switch {
	case cfg.Handler == nil:
		return nil, errors.New("natpmp: server needs a handler")
	case cfg.Epoch == nil:
		return nil, errors.New("natpmp: server needs an epoch")
	}
	if cfg.AtOnce == nil {
		cfg.AtOnce = func(Arrival, Request) (Reply, bool) { return Reply{}, false }
	}
	return &Responder{cfg}, nil
}

// Discard implements [datagram.Protocol].
func (p *Responder) Discard(packet []byte) datagram.Discard {
	switch _, err := ParseRequest(packet); {
	case errors.Is(err, ErrIsResponse):
		// RFC 6886 §3.5: MUST be ignored, or two gateways answer each other for ever.
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
	switch {
	case errors.Is(err, ErrUnsupportedVersion):
		return AppendVersionError(dst, Opcode(packet[1]), p.cfg.Epoch.Seconds()), datagram.KindVersion
	case errors.Is(err, ErrUnsupportedOpcode):
		return AppendOpcodeError(dst, packet, p.cfg.Epoch.Seconds()), datagram.KindOpcode
	}
	reply, ok := p.cfg.AtOnce(from, req)
	if !ok {
		return nil, datagram.KindLater
	}
	return p.appendReply(dst, req, reply), datagram.KindDone
}

// appendReply appends the response that a reply makes; it returns nil for silence.
func (p *Responder) appendReply(dst []byte, req Request, reply Reply) []byte {
	resp, ok := reply.response(req, p.cfg.Epoch.Seconds())
	if !ok {
		return nil
	}
	return resp.Append(dst)
}

// Request implements [datagram.Protocol].
func (p *Responder) Request(packet []byte, from Arrival) datagram.Request {
	req, _ := ParseRequest(packet) // AtOnce answers what is none.
	return &received{responder: p, from: from, req: req}
}

// received is a request that came in.
type received struct {
	responder *Responder
	from      Arrival
	req       Request
}

// Subject implements [datagram.Request].
func (r *received) Subject() datagram.Subject { return r.req.Subject() }

// Subject returns the mapping that the request is about.
func (r Request) Subject() datagram.Subject {
	s := datagram.Subject{Protocol: r.Opcode.transport(), Port: r.InternalPort}
	switch {
	case !r.Opcode.isMap():
		return datagram.Subject{}
	case r.Lifetime == 0:
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
	return r.packet(r.responder.cfg.Handler.ServeNATPMP(ctx, r.from, r.req))
}

// Failure implements [datagram.Request].
func (r *received) Failure() []byte { return r.packet(Reply{}) }

// packet returns the response that a reply makes, nil for silence.
func (r *received) packet(reply Reply) []byte {
	return r.responder.appendReply(make([]byte, 0, mapResponseSize), r.req, reply)
}
