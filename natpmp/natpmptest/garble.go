package natpmptest

import (
	"encoding/binary"

	"doublenat/natpmp"
)

// Sizes and offsets of the packets that are made here byte by byte.
const (
	mapReplySize   = 16 // RFC 6886 §3.3
	internalAt     = 8
	externalAt     = 10
	pcpExternalAt  = 42 // RFC 6887 §11.1
	pcpHeaderSize  = 24 // RFC 6887 §7.2
	pcpVersion     = 2
	pcpUnsupported = 1 // UNSUPP_VERSION
	pcpNoOpcode    = 4 // UNSUPP_OPCODE
	pcpLong        = 1800
)

// apply spoils the ports of a reply to a map request; other replies stay as they are.
func (k Garble) apply(reply []byte) {
	if len(reply) != mapReplySize {
		return
	}
	in, out := binary.BigEndian.Uint16(reply[internalAt:]), binary.BigEndian.Uint16(reply[externalAt:])
	switch k {
	case GarbleNothing:
		return
	case GarbleCut:
		in, out = in&0xff, out&0xff
	case GarbleSwap:
		in, out = out, in
	case GarbleBytes:
		in, out = in<<8|in>>8, out<<8|out>>8
	}
	binary.BigEndian.PutUint16(reply[internalAt:], in)
	binary.BigEndian.PutUint16(reply[externalAt:], out)
}

// pcpReply is the answer of a PCP server to what is not PCP: its own version, and
// UNSUPP_VERSION (RFC 6887 §9). PCP itself it has only the header of.
func pcpReply(request []byte, epoch uint32) []byte {
	if len(request) < 2 || natpmp.Opcode(request[1])&natpmp.ResponseBit != 0 {
		return nil // RFC 6887 §8.2
	}
	reply := make([]byte, pcpHeaderSize)
	reply[0], reply[1], reply[3] = pcpVersion, request[1]|byte(natpmp.ResponseBit), pcpUnsupported
	if request[0] == pcpVersion {
		reply[3] = pcpNoOpcode
	}
	binary.BigEndian.PutUint32(reply[4:], pcpLong)
	binary.BigEndian.PutUint32(reply[8:], epoch)
	return reply
}
