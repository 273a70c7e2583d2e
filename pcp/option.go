package pcp

import (
	"encoding/binary"
	"net/netip"
)

// OptionCode is the number of an option (RFC 6887 §7.3). A server must understand options
// below 128, or refuse the request.
type OptionCode uint8

// The options of RFC 6887 §13. All belong to [OpMap].
const (
	// OptionThirdParty asks for a mapping for another host (RFC 6887 §13.1).
	OptionThirdParty OptionCode = 1
	// OptionPreferFailure asks for exactly the suggested port and address, or nothing
	// (§13.2).
	OptionPreferFailure OptionCode = 2
	// OptionFilter admits packets from one prefix only (§13.3).
	OptionFilter OptionCode = 3

	// firstOptional is the first of the options that may be left out of account.
	firstOptional OptionCode = 128
)

// Lengths of options, without their header of 4 bytes.
const (
	optionHeaderSize  = 4
	thirdPartySize    = 16
	preferFailureSize = 0
	filterSize        = 20
)

// MaxFilters is how many of a request's filters are kept.
const MaxFilters = 8

// Filter is a FILTER option: who may send to the mapping (RFC 6887 §13.3). It is comparable.
type Filter struct {
	// Remote says who may send: a prefix. Its bits after the prefix length have no meaning
	// and are kept. Length 0 removes all of the mapping's filters.
	Remote netip.Prefix
	// Port is the remote port, 0 for all.
	Port uint16
}

// Options is what a request's options ask for, each at most once except for filters. It is
// comparable.
type Options struct {
	// ThirdParty is the host that the mapping is for; the zero Addr for the client itself.
	ThirdParty netip.Addr
	// PreferFailure is set if only the suggested port and address will do.
	PreferFailure bool
	// Filters has the first filters in the order of the request; Filtered is how many the
	// request has. A server with room for fewer answers [ResultExcessiveRemotePeers].
	Filters  [MaxFilters]Filter
	Filtered int
}

// parseOptions reads the options of a [OpMap] request, which takes them in their order
// and stops at the first that is wrong (RFC 6887 §7.3).
func parseOptions(b []byte) (o Options, err error) {
	for len(b) > 0 {
		if len(b) < optionHeaderSize {
			return Options{}, ErrMalformedOption
		}
		code, size := OptionCode(b[0]), int(binary.BigEndian.Uint16(b[2:]))
		padded := (size + 3) &^ 3
		if b = b[optionHeaderSize:]; padded > len(b) {
			return Options{}, ErrMalformedOption // its length exceeds that of the packet
		}
		if err := o.take(code, b[:size]); err != nil {
			return Options{}, err
		}
		b = b[padded:]
	}
	return o, nil
}

// take takes one option in.
func (o *Options) take(code OptionCode, data []byte) error {
	switch code {
	case OptionThirdParty:
		if len(data) != thirdPartySize || o.ThirdParty.IsValid() {
			return ErrMalformedOption
		}
		o.ThirdParty = parseAddr(data)
	case OptionPreferFailure:
		if len(data) != preferFailureSize || o.PreferFailure {
			return ErrMalformedOption
		}
		o.PreferFailure = true
	case OptionFilter:
		f, ok := parseFilter(data)
		if !ok {
			return ErrMalformedOption
		}
		if o.Filtered < MaxFilters {
			o.Filters[o.Filtered] = f
		}
		o.Filtered++
	default:
		if code < firstOptional {
			return ErrUnsupportedOption
		}
	}
	return nil
}

// parseFilter reads the data of a filter. The prefix length is that of 128 bits: of IPv4,
// 96 to 128 (RFC 6887 §13.3), or 0 for none.
func parseFilter(data []byte) (Filter, bool) {
	if len(data) != filterSize {
		return Filter{}, false
	}
	bits, remote := int(data[1]), parseAddr(data[4:])
	if remote.Is4() && bits > 0 {
		if bits -= 96; bits < 0 {
			return Filter{}, false
		}
		if bits == 0 {
			// 0.0.0.0/0 is everybody of IPv4, and not the end of all filters: the
			// IPv6 form of the address keeps the two apart.
			return Filter{Remote: netip.PrefixFrom(netip.AddrFrom16(remote.As16()), 96), Port: binary.BigEndian.Uint16(data[2:])}, true
		}
	}
	f := Filter{Remote: netip.PrefixFrom(remote, bits), Port: binary.BigEndian.Uint16(data[2:])}
	return f, f.Remote.IsValid()
}

// check says what is wrong with options in a request.
func (o *Options) check(r *Request) error {
	switch {
	case o.ThirdParty.IsValid() && o.ThirdParty == r.Client:
		return ErrMalformed // RFC 6887 §13.1
	case o.PreferFailure && r.Map.ExternalPort == 0:
		return ErrMalformedOption // RFC 6887 §13.2
	case o.Filtered > 0 && r.Lifetime == 0:
		return ErrMalformedOption // RFC 6887 §13.3
	default:
		return nil
	}
}

// append appends the options.
func (o *Options) append(dst []byte) []byte {
	if o.ThirdParty.IsValid() {
		dst = appendAddr(appendOption(dst, OptionThirdParty, thirdPartySize), o.ThirdParty)
	}
	if o.PreferFailure {
		dst = appendOption(dst, OptionPreferFailure, preferFailureSize)
	}
	for _, f := range o.Filters[:min(o.Filtered, MaxFilters)] {
		dst = f.append(dst)
	}
	return dst
}

// append appends a filter.
func (f Filter) append(dst []byte) []byte {
	bits := max(f.Remote.Bits(), 0)
	if f.Remote.Addr().Is4() && bits > 0 {
		bits += 96
	}
	dst = append(appendOption(dst, OptionFilter, filterSize), 0, byte(bits)) //nolint:gosec // at most 128
	dst = binary.BigEndian.AppendUint16(dst, f.Port)
	return appendAddr(dst, f.Remote.Addr())
}

// appendOption appends the header of an option.
func appendOption(dst []byte, code OptionCode, size uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, byte(code), 0), size)
}
