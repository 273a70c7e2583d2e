package daemon_test

import (
	"encoding/binary"
	"errors"
	"strings"
)

// strictOutcome is what a program makes of a reply.
type strictOutcome string

const (
	strictGranted  strictOutcome = "granted"
	strictRefused  strictOutcome = "refused"
	strictDeleted  strictOutcome = "deleted"
	strictFallBack strictOutcome = "fall back to NAT-PMP"
)

// strictReader reads replies as one program does, which is to say that it drops
// whatever that program would drop. None of it uses package natpmp.
type strictReader struct {
	name string
	read func(request, reply []byte) (strictOutcome, error)
}

var (
	errStrictShort  = errors.New("dropped: too short")
	errStrictLength = errors.New("dropped: not as long as it has to be")
	errStrictHeader = errors.New("dropped: not the reply to this request")
	errStrictPort   = errors.New("dropped: another internal port")
	errStrictZero   = errors.New("a success without port or time, or a failure with one")
)

func strictReaders() []strictReader {
	return []strictReader{
		{"Bitcoin Core", readAsBitcoinCore},
		{"libplum", readAsLibplum},
		{"libtorrent", readAsLibtorrent},
		{"PCP client after RFC 6887 §8.3", readAsPCPClient},
		{"reader of RFC 6886", readAsRFC6886},
	}
}

// pcpAnnounce is the request with which libplum and tailscale begin, in
// hexadecimal: 24 bytes (RFC 6887 §14.1).
func pcpAnnounce() string {
	return "0200 0000 00000000" + strings.Repeat("00", 10) + "ffff c0a8580a"
}

// pcpMap is the request with which Bitcoin Core and libtorrent begin: 60 bytes
// (RFC 6887 §11.1).
func pcpMap() string {
	return "0201 0000 00000960" + strings.Repeat("00", 10) + "ffff c0a8580a" +
		"0102030405060708090a0b0c" + "06 000000 1234 5678" + strings.Repeat("00", 10) + "ffff 00000000"
}

// readAsBitcoinCore wants exactly 8 bytes of version 0 as the version error, looks
// at the low byte of the result, and refuses mappings of less than 30 s.
func readAsBitcoinCore(request, reply []byte) (strictOutcome, error) {
	if request[0] == 2 {
		if len(reply) == 8 && reply[0] == 0 && reply[3] == 1 {
			return strictFallBack, nil
		}
		return "", errStrictLength
	}
	switch {
	case len(reply) < 8:
		return "", errStrictShort
	case reply[0] != 0 || reply[1] != 128|request[1]:
		return "", errStrictHeader
	case request[1] == 0 && len(reply) < 12, request[1] != 0 && len(reply) < 16:
		return "", errStrictShort
	case request[1] != 0 && string(reply[8:10]) != string(request[4:6]):
		return "", errStrictPort
	case binary.BigEndian.Uint16(reply[2:]) != 0:
		return strictRefused, nil
	case request[1] != 0 && binary.BigEndian.Uint32(request[8:]) == 0:
		return strictDeleted, nil
	case request[1] != 0 && binary.BigEndian.Uint32(reply[12:]) < 30:
		return strictRefused, nil
	}
	return strictGranted, nil
}

// readAsLibplum drops what has no response bit before it looks at the version, and
// takes version 0 with result 1 for a NAT-PMP server.
func readAsLibplum(request, reply []byte) (strictOutcome, error) {
	switch {
	case len(reply) < 4:
		return "", errStrictShort
	case reply[1]&128 == 0:
		return "", errStrictHeader
	case request[0] == 2 && reply[0] == 0 && reply[3] == 1:
		return strictFallBack, nil
	case reply[0] != request[0] || reply[1] != 128|request[1]:
		return "", errStrictHeader
	}
	return readAsBitcoinCore(request, reply)
}

// readAsLibtorrent waits for ever for a map reply of less than 16 bytes, and goes
// by the low byte of the opcode alone.
func readAsLibtorrent(request, reply []byte) (strictOutcome, error) {
	if request[0] == 2 {
		if len(reply) >= 4 && reply[0] == 0 && binary.BigEndian.Uint16(reply[2:]) == 1 {
			return strictFallBack, nil
		}
		return "", errStrictHeader
	}
	if request[1] != 0 && len(reply) < 16 {
		return "", errStrictShort
	}
	return readAsBitcoinCore(request, reply)
}

// readAsPCPClient goes through RFC 6887 §8.3 in its order: 4 bytes, the R bit, then
// the version, and wants the opcode of its request as some clients do.
func readAsPCPClient(request, reply []byte) (strictOutcome, error) {
	switch {
	case request[0] != 2:
		return readAsRFC6886(request, reply)
	case len(reply) < 4:
		return "", errStrictShort
	case reply[1]&128 == 0, reply[1]&127 != request[1]:
		return "", errStrictHeader
	case reply[0] == 0 && reply[3] == 1:
		return strictFallBack, nil
	default:
		return "", errStrictHeader
	}
}

// readAsRFC6886 wants every field of RFC 6886 §3.2 to §3.5 to be as it has to be,
// and not one byte more.
func readAsRFC6886(request, reply []byte) (strictOutcome, error) {
	length := map[byte]int{0: 12, 1: 16, 2: 16}[request[1]]
	if request[0] != 0 {
		length = 8
	}
	switch {
	case len(reply) != length:
		return "", errStrictLength
	case reply[0] != 0 || reply[1] != 128|request[1]:
		return "", errStrictHeader
	case length == 8 && binary.BigEndian.Uint16(reply[2:]) == 1:
		return strictFallBack, nil
	}
	failed := binary.BigEndian.Uint16(reply[2:]) != 0
	if length == 12 {
		if failed != (binary.BigEndian.Uint32(reply[8:]) == 0) {
			return "", errStrictZero
		}
		return strictGranted, nil
	}
	if string(reply[8:10]) != string(request[4:6]) {
		return "", errStrictPort
	}
	asked := binary.BigEndian.Uint32(request[8:])
	port, lifetime := binary.BigEndian.Uint16(reply[10:]), binary.BigEndian.Uint32(reply[12:])
	switch {
	case (failed || asked == 0) != (port == 0), (port == 0) != (lifetime == 0), lifetime > asked:
		return "", errStrictZero
	case failed:
		return strictRefused, nil
	case asked == 0:
		return strictDeleted, nil
	default:
		return strictGranted, nil
	}
}
