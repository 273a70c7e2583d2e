package natpmp

import (
	"errors"
	"strconv"

	"doublenat/internal/datagram"
)

const (
	// Port is the UDP port on which a gateway receives requests (RFC 6886 §3.1).
	Port = 5351
	// AnnouncementPort is the UDP port on which clients receive the gateway's multicasts
	// to 224.0.0.1 (RFC 6886 §3.2.1).
	AnnouncementPort = 5350
	// Version is the version byte of every NAT-PMP packet (RFC 6886 §3). Version 2 is PCP
	// (RFC 6887), version 1 a vendor's incompatible protocol (§1.1).
	Version = 0
)

// MaxPacket is the size in bytes above which packets are ignored. NAT-PMP has no packet
// over 16 bytes; PCP, whose requests get a version error here, has none over 1100 (RFC
// 6887 §7).
const MaxPacket = datagram.MaxPacket

// Opcode is what a request asks for (RFC 6886 §3.2, §3.3). Replies carry the
// request's opcode with [ResponseBit] set.
type Opcode uint8

// The opcodes of RFC 6886.
const (
	// OpExternalAddress asks for the gateway's public address (RFC 6886 §3.2).
	OpExternalAddress Opcode = 0
	// OpMapUDP asks for a UDP mapping, or for the end of one (RFC 6886 §3.3, §3.4).
	OpMapUDP Opcode = 1
	// OpMapTCP asks for a TCP mapping, or for the end of one (RFC 6886 §3.3, §3.4).
	OpMapTCP Opcode = 2
	// ResponseBit distinguishes a reply from a request (RFC 6886 §3).
	ResponseBit Opcode = 128
)

// String returns "address", "udp", "tcp", or the number of any other opcode.
func (o Opcode) String() string {
	switch o {
	case OpExternalAddress:
		return "address"
	case OpMapUDP:
		return "udp"
	case OpMapTCP:
		return "tcp"
	default:
		return "opcode " + strconv.Itoa(int(o))
	}
}

// isMap says whether requests of this opcode carry ports and a lifetime.
func (o Opcode) isMap() bool { return o == OpMapUDP || o == OpMapTCP }

// transport returns the protocol that is mapped, by IANA's number, 0 for none.
func (o Opcode) transport() uint8 {
	switch o {
	case OpMapUDP:
		return 17
	case OpMapTCP:
		return 6
	default:
		return 0
	}
}

// ResultCode is the gateway's result (RFC 6886 §3.5). Codes that the RFC does not list are
// valid in received packets and mean that the request failed.
type ResultCode uint16

// The result codes of RFC 6886 §3.5.
const (
	// ResultSuccess is the only code that is not a failure.
	ResultSuccess ResultCode = 0
	// ResultUnsupportedVersion answers a version byte other than 0.
	ResultUnsupportedVersion ResultCode = 1
	// ResultNotAuthorized is a refusal: the gateway supports mapping but does not allow
	// it.
	ResultNotAuthorized ResultCode = 2
	// ResultNetworkFailure means that the gateway itself has no connectivity.
	ResultNetworkFailure ResultCode = 3
	// ResultOutOfResources means that the gateway cannot make more mappings now.
	ResultOutOfResources ResultCode = 4
	// ResultUnsupportedOpcode answers the opcodes 3 to 127.
	ResultUnsupportedOpcode ResultCode = 5
)

// String returns the code in words, or its number when RFC 6886 does not list it.
func (c ResultCode) String() string {
	switch c {
	case ResultSuccess:
		return "success"
	case ResultUnsupportedVersion:
		return "unsupported version"
	case ResultNotAuthorized:
		return "not authorized"
	case ResultNetworkFailure:
		return "network failure"
	case ResultOutOfResources:
		return "out of resources"
	case ResultUnsupportedOpcode:
		return "unsupported opcode"
	default:
		return "result code " + strconv.Itoa(int(c))
	}
}

// What can be wrong with a packet. Parsing returns these very values, so that
// refusing a packet costs no allocation either; compare with errors.Is.
var (
	// ErrShort means that the packet ends too early.
	ErrShort = errors.New("natpmp: packet too short")
	// ErrIsResponse means that the packet has [ResponseBit] set where a request was
	// expected. A server ignores it, whatever its version (RFC 6886 §3.5, RFC 6887 §8.2).
	ErrIsResponse = errors.New("natpmp: packet is a response")
	// ErrIsRequest means that the packet lacks [ResponseBit] where a response was
	// expected.
	ErrIsRequest = errors.New("natpmp: packet is a request")
	// ErrUnsupportedVersion means that the packet has another version. A server answers
	// such a request with [AppendVersionError] (RFC 6886 §3.5).
	ErrUnsupportedVersion = errors.New("natpmp: unsupported version")
	// ErrUnsupportedOpcode means that RFC 6886 does not define the packet's opcode. A
	// server answers such a request with [AppendOpcodeError] (RFC 6886 §3.5).
	ErrUnsupportedOpcode = errors.New("natpmp: unsupported opcode")
)
