package natpmptest

import (
	"bytes"
	"fmt"

	"doublenat/natpmp"
)

// Lie is a false reply.
type Lie uint8

// The lies.
const (
	// LieElsewhere is a success with other contents, from [Config.Elsewhere].
	LieElsewhere Lie = iota
	// LieOpcode is a reply with another opcode.
	LieOpcode
	// LieVersion is a reply of the other version: of 2 for one of 0, and the other way round.
	LieVersion
	// LieLate is the reply to the request before, whoever sent that.
	LieLate
	// LieTruncated is a reply that lacks its last byte: 15 bytes for a mapping.
	LieTruncated
	// LiePadded is the true reply with a byte more: 17 bytes for a mapping.
	LiePadded
	// LieShortError is a result 3 of 8 bytes.
	LieShortError
)

// String returns the lie in one word.
func (l Lie) String() string {
	names := []string{"elsewhere", "opcode", "version", "late", "truncated", "padded", "short-error"}
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("lie(%d)", uint8(l))
}

// lieLocked returns the lie whose turn it is, if there is one.
func (g *Gateway) lieLocked(truth []byte) (outgoing, bool) {
	if len(g.profile.Lies) == 0 {
		return outgoing{}, false
	}
	kind := g.profile.Lies[g.lies%len(g.profile.Lies)]
	g.lies++
	out := outgoing{payload: bytes.Clone(truth)}
	switch kind {
	case LieElsewhere:
		if g.cfg.Elsewhere == nil {
			return outgoing{}, false
		}
		out.elsewhere = true
		// Two bytes that every success has: of the address, or of the external port.
		at := externalAt
		if out.payload[0] == pcpVersion {
			at = pcpExternalAt
		}
		if len(out.payload) > at+1 {
			out.payload[at] ^= 0x55
			out.payload[at+1] ^= 0x55
		}
	case LieOpcode:
		out.payload[1] ^= 0x03
	case LieVersion:
		out.payload[0] ^= pcpVersion
	case LieLate:
		if g.previous == nil {
			return outgoing{}, false
		}
		out.payload = g.previous
	case LieTruncated:
		out.payload = out.payload[:len(out.payload)-1]
	case LiePadded:
		out.payload = append(out.payload, 0)
	case LieShortError:
		out.payload = out.payload[:8]
		out.payload[2], out.payload[3] = 0, byte(natpmp.ResultNetworkFailure)
	}
	g.stats.Lies++
	return out, true
}
