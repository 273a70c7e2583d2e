package pcp

import (
	"errors"
	"strconv"
	"time"

	"doublenat/internal/datagram"
)

const (
	// Port is the UDP port on which a server receives requests (RFC 6887 §19.1). NAT-PMP
	// uses the same port: the version byte distinguishes them.
	Port = 5351
	// AnnouncementPort is the UDP port on which clients receive a server's multicasts to
	// 224.0.0.1 (RFC 6887 §14.1).
	AnnouncementPort = 5350
	// Version is the version of all packets (RFC 6887 §7). Version 0 is NAT-PMP.
	Version = 2
	// MaxPacket is the size in bytes of the longest packet (RFC 6887 §7).
	MaxPacket = datagram.MaxPacket
)

// Opcode is what a request asks for (RFC 6887 §7.1). Replies carry the request's
// opcode with [ResponseBit] set.
type Opcode uint8

// The opcodes of RFC 6887.
const (
	// OpAnnounce asks only for a reply, or announces an epoch (RFC 6887 §14.1).
	OpAnnounce Opcode = 0
	// OpMap asks for a mapping, or for the end of one (RFC 6887 §11).
	OpMap Opcode = 1
	// OpPeer asks for a mapping to one peer (RFC 6887 §12). This package does not read
	// such requests: a server may refuse them as an unknown opcode.
	OpPeer Opcode = 2
	// ResponseBit distinguishes a reply from a request (RFC 6887 §7.2).
	ResponseBit Opcode = 128
)

// String returns "announce", "map", "peer", or the number of any other opcode.
func (o Opcode) String() string {
	switch o {
	case OpAnnounce:
		return "announce"
	case OpMap:
		return "map"
	case OpPeer:
		return "peer"
	default:
		return "opcode " + strconv.Itoa(int(o))
	}
}

// Protocol is an upper-layer protocol, by its IANA number (RFC 6887 §11.1).
type Protocol uint8

// The protocols with ports that are mapped here.
const (
	// AllProtocols requests a mapping of all protocols and ports.
	AllProtocols Protocol = 0
	// TCP requests a TCP mapping.
	TCP Protocol = 6
	// UDP requests a UDP mapping.
	UDP Protocol = 17
)

// String returns "all", "tcp", "udp", or the number of any other protocol.
func (p Protocol) String() string {
	switch p {
	case AllProtocols:
		return "all"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	default:
		return "protocol " + strconv.Itoa(int(p))
	}
}

// ResultCode is the server's result (RFC 6887 §7.4). Codes that the RFC does not list are
// valid in received packets and mean that the request failed.
type ResultCode uint8

// The result codes of RFC 6887 §7.4.
const (
	// ResultSuccess (SUCCESS) is the only code that is not a failure.
	ResultSuccess ResultCode = 0
	// ResultUnsupportedVersion (UNSUPP_VERSION) answers versions other than 2.
	ResultUnsupportedVersion ResultCode = 1
	// ResultNotAuthorized (NOT_AUTHORIZED) refuses a request by policy, or because its
	// nonce differs from the mapping's (§11.3).
	ResultNotAuthorized ResultCode = 2
	// ResultMalformedRequest (MALFORMED_REQUEST) means that the request cannot be read.
	ResultMalformedRequest ResultCode = 3
	// ResultUnsupportedOpcode (UNSUPP_OPCODE) means that the server does not support the
	// opcode.
	ResultUnsupportedOpcode ResultCode = 4
	// ResultUnsupportedOption (UNSUPP_OPTION) means that the server does not support a
	// mandatory option.
	ResultUnsupportedOption ResultCode = 5
	// ResultMalformedOption (MALFORMED_OPTION) means that an option makes no sense.
	ResultMalformedOption ResultCode = 6
	// ResultNetworkFailure (NETWORK_FAILURE) means that the server has no network now.
	ResultNetworkFailure ResultCode = 7
	// ResultNoResources (NO_RESOURCES) means that the server can make no more mappings
	// now.
	ResultNoResources ResultCode = 8
	// ResultUnsupportedProtocol (UNSUPP_PROTOCOL) means that the server does not map the
	// protocol.
	ResultUnsupportedProtocol ResultCode = 9
	// ResultUserExceededQuota (USER_EX_QUOTA) means that the client has as many mappings
	// as it may.
	ResultUserExceededQuota ResultCode = 10
	// ResultCannotProvideExternal (CANNOT_PROVIDE_EXTERNAL) means that the requested port
	// or address is not available, and the client accepts no other.
	ResultCannotProvideExternal ResultCode = 11
	// ResultAddressMismatch (ADDRESS_MISMATCH) means that the packet comes from another
	// address than it contains: there is a NAT in between.
	ResultAddressMismatch ResultCode = 12
	// ResultExcessiveRemotePeers (EXCESSIVE_REMOTE_PEERS) means that the request has too
	// many filters.
	ResultExcessiveRemotePeers ResultCode = 13
)

// String returns the code in words, or its number when RFC 6887 does not list it.
func (c ResultCode) String() string {
	names := [...]string{
		"success", "unsupported version", "not authorized", "malformed request", "unsupported opcode",
		"unsupported option", "malformed option", "network failure", "no resources", "unsupported protocol",
		"user exceeded quota", "cannot provide external", "address mismatch", "excessive remote peers",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "result code " + strconv.Itoa(int(c))
}

// The lifetimes of errors that RFC 6887 §7.4 recommends.
const (
	// ShortErrorLifetime is for failures that may soon be over.
	ShortErrorLifetime = 30 * time.Second
	// LongErrorLifetime is for all other failures.
	LongErrorLifetime = 30 * time.Minute
)

// Lifetime returns how long a server should say that the failure lasts (RFC 6887 §7.4),
// and 0 for success. For [ResultCannotProvideExternal] it depends on the cause; if that is
// not known, use the short one.
func (c ResultCode) Lifetime() time.Duration {
	switch c {
	case ResultSuccess:
		return 0
	case ResultNetworkFailure, ResultNoResources, ResultUserExceededQuota, ResultCannotProvideExternal:
		return ShortErrorLifetime
	default:
		return LongErrorLifetime
	}
}

// What can be wrong with a packet. Parsing returns these very values, so that
// refusing a packet costs no allocation either; compare with errors.Is.
var (
	// ErrShort means that the packet ends within its header. Servers ignore it (RFC 6887
	// §8.2), and so do clients.
	ErrShort = errors.New("pcp: packet too short")
	// ErrIsResponse means that the packet has [ResponseBit] set where a request was
	// expected. A server ignores it, whatever its version (RFC 6887 §8.2).
	ErrIsResponse = errors.New("pcp: packet is a response")
	// ErrIsRequest means that the packet lacks [ResponseBit] where a response was
	// expected.
	ErrIsRequest = errors.New("pcp: packet is a request")
	// ErrUnsupportedVersion means that the packet has another version.
	ErrUnsupportedVersion = errors.New("pcp: unsupported version")
	// ErrMalformed means that the packet has an impossible size, or that its parts
	// contradict each other.
	ErrMalformed = errors.New("pcp: malformed packet")
	// ErrUnsupportedOpcode means that this package does not read packets with that opcode.
	ErrUnsupportedOpcode = errors.New("pcp: unsupported opcode")
	// ErrUnsupportedOption means that the request has an option that must be understood
	// and is not.
	ErrUnsupportedOption = errors.New("pcp: unsupported option")
	// ErrMalformedOption means that an option of the request has the wrong length, occurs
	// too often, or makes no sense there.
	ErrMalformedOption = errors.New("pcp: malformed option")
)

// ResultOf returns the result with which a server answers a request that cannot be read,
// and false if it does not answer. The error is one of [ParseRequest].
func ResultOf(err error) (code ResultCode, answer bool) {
	switch {
	case errors.Is(err, ErrUnsupportedVersion):
		return ResultUnsupportedVersion, true
	case errors.Is(err, ErrMalformed):
		return ResultMalformedRequest, true
	case errors.Is(err, ErrUnsupportedOpcode):
		return ResultUnsupportedOpcode, true
	case errors.Is(err, ErrUnsupportedOption):
		return ResultUnsupportedOption, true
	case errors.Is(err, ErrMalformedOption):
		return ResultMalformedOption, true
	default:
		return ResultSuccess, false
	}
}
