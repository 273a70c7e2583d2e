package datagram

import "context"

// MaxPacket is the size in bytes beyond which no packet is looked at: that of PCP
// (RFC 6887 §7). NAT-PMP has no packet over 16 bytes.
const MaxPacket = 1100

// Protocol reads the packets of one protocol. Its methods are called by the goroutine that
// reads, and must not block.
type Protocol interface {
	// Discard says of a packet why it gets no answer, whoever sent it. It has a byte or more.
	Discard(packet []byte) Discard
	// AtOnce answers a packet that is not discarded, and whose sender was let in, if that needs
	// no work. It appends the reply to dst; a nil reply is none. Of another kind than KindLater,
	// the packet has been dealt with. The bytes are valid until it returns.
	AtOnce(dst, packet []byte, from Arrival) (reply []byte, kind Kind)
	// Request returns what a packet asks for that is not answered at once. The bytes are valid
	// until it returns.
	Request(packet []byte, from Arrival) Request
}

// Discard is why a packet gets no answer. The zero value is Keep.
type Discard uint8

// What becomes of a packet.
const (
	// Keep is for packets that may get one.
	Keep Discard = iota
	// Short is for those that end too early.
	Short
	// Response is for those that are no requests. Two servers would answer each other
	// for ever (RFC 6886 §3.5).
	Response
	// Foreign is for requests that somebody else answers: all that is asked of a multicast
	// group comes to each of its members.
	Foreign
)

// Request is one packet that asks for something.
type Request interface {
	// Subject says what it is about.
	Subject() Subject
	// Same says whether another request of the same client is a copy of this one.
	Same(other Request) bool
	// Serve does what is asked for and returns the reply, nil for none. It is called by
	// another goroutine when its turn has come. The context ends when the server stops; it
	// must then return soon.
	Serve(ctx context.Context) []byte
	// Failure is the reply when Serve or [Protocol]'s AtOnce panicked.
	Failure() []byte
}

// Kind says what the server did with a request whose reply needed no work.
type Kind uint8

// The kinds of replies at once.
const (
	// KindLater is for what needs work.
	KindLater Kind = iota
	// KindDone is for what was answered.
	KindDone
	// KindVersion is for a version that is not spoken.
	KindVersion
	// KindOpcode is for an opcode that is not known.
	KindOpcode
)

// Subject is the mapping that a request is about. The zero value is none.
type Subject struct {
	// Effect is what the request does to it.
	Effect Effect
	// Protocol is its transport protocol as IANA numbers it. 0 is all of the client.
	Protocol uint8
	// Port is its internal port. 0 is all of the client and protocol.
	Port uint16
}

// Effect is what a request does to the mapping that it is about.
type Effect uint8

// The effects.
const (
	// Looks leaves all as it is.
	Looks Effect = iota
	// Makes asks for the mapping, or for more time.
	Makes
	// Ends asks for its end.
	Ends
)

// overlaps says whether two requests are about the same mapping.
func (s Subject) overlaps(o Subject) bool {
	return s.Effect != Looks && o.Effect != Looks && s.sharesProtocol(o) &&
		(s.Port == o.Port || s.Port == 0 || o.Port == 0)
}

func (s Subject) sharesProtocol(o Subject) bool {
	return s.Protocol == o.Protocol || s.Protocol == 0 || o.Protocol == 0
}

// contradicts says whether one of two requests asks for a mapping that the other ends: with
// port 0, all of the client and protocol. To ask for port 0 is to ask for one mapping.
func (s Subject) contradicts(o Subject) bool {
	makes, ends := s, o
	if s.Effect == Ends {
		makes, ends = o, s
	}
	return makes.Effect == Makes && ends.Effect == Ends && makes.sharesProtocol(ends) &&
		(ends.Port == makes.Port || ends.Port == 0)
}
