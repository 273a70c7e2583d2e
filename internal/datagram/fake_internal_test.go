package datagram

import (
	"context"
	"testing"
)

// plain is a protocol of which a packet's first byte says what it is.
type plain struct {
	handle func() []byte
}

// The first bytes of packets of [plain]; all others ask for work.
const (
	plainVersion  = 'v'
	plainOpcode   = 'o'
	plainResponse = 'r'
	plainShort    = 's'
	plainPanic    = 'p'
	plainForeign  = 'f'
)

func (p *plain) Discard(packet []byte) Discard {
	switch packet[0] {
	case plainResponse:
		return Response
	case plainShort:
		return Short
	case plainForeign:
		return Foreign
	default:
		return Keep
	}
}

func (p *plain) AtOnce(dst, packet []byte, _ Arrival) ([]byte, Kind) {
	switch packet[0] {
	case plainVersion:
		return append(dst, 'V'), KindVersion
	case plainOpcode:
		return append(dst, 'O'), KindOpcode
	case plainPanic:
		panic("a bug at once")
	default:
		return nil, KindLater
	}
}

func (p *plain) Request([]byte, Arrival) Request {
	return &plainRequest{protocol: p}
}

// plainRequest is a request of [plain].
type plainRequest struct {
	protocol *plain
	subject  Subject
}

func (r *plainRequest) Subject() Subject { return r.subject }

func (r *plainRequest) Same(other Request) bool {
	o, ok := other.(*plainRequest)
	return ok && o.subject == r.subject
}

func (r *plainRequest) Serve(context.Context) []byte { return r.protocol.handle() }

func (r *plainRequest) Failure() []byte { return []byte{'F'} }

// serving returns a server of the protocol.
func serving(tb testing.TB, p *plain, cfg Config) *Server {
	tb.Helper()
	cfg.Protocol = func(byte) Protocol { return p }
	s, err := NewServer(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
