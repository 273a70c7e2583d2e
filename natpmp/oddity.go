package natpmp

import (
	"fmt"
	"slices"
	"sync"
)

// Oddity is a fault in a gateway's replies to map requests: they cannot be right, and
// nothing can be mapped without them.
type Oddity uint8

// The oddities.
const (
	// OddNone means that the gateway's replies are right, late, or missing.
	OddNone Oddity = iota
	// OddCut means that the gateway keeps only 8 of a port's 16 bits.
	OddCut
	// OddSwapped means that the gateway swaps internal and external port.
	OddSwapped
	// OddBytes means that the gateway sends a port's low byte first (in RFC 6886 §3.3 the
	// high one is first).
	OddBytes
	// OddOther means that the gateway answers for an internal port that was not requested.
	OddOther

	oddities = iota
)

// String returns the fault as words that continue "the gateway".
func (o Oddity) String() string {
	switch o {
	case OddNone:
		return "replies as it should"
	case OddCut:
		return "cuts port numbers to 8 bits in its replies"
	case OddSwapped:
		return "swaps internal and external port in its replies"
	case OddBytes:
		return "sends port numbers in the wrong byte order"
	case OddOther:
		return "replies for another port than it was asked for"
	default:
		return fmt.Sprintf("oddity %d", uint8(o))
	}
}

// Oddities returns all oddities except [OddNone].
func Oddities() []Oddity {
	all := make([]Oddity, 0, oddities-1)
	for o := OddNone + 1; o < oddities; o++ {
		all = append(all, o)
	}
	return all
}

// oddity returns what is wrong with a success if it is meant for the request, which it
// does not answer, and [OddNone] if it may be meant for anything.
func oddity(resp Response, req Request) Oddity {
	asked, told := req.InternalPort, resp.InternalPort
	switch {
	case resp.Opcode != req.Opcode, !req.Opcode.isMap(), resp.Result != ResultSuccess, asked == told:
		return OddNone
	case asked > 0xff && (told == asked&0xff || told == asked>>8):
		return OddCut
	case told == asked<<8|asked>>8:
		return OddBytes
	case resp.ExternalPort == asked:
		return OddSwapped
	default:
		return OddNone
	}
}

// cutExternal says whether a success has the low byte of the suggested port where the
// external port belongs. Nobody assigns such ports by chance.
func cutExternal(resp Response, req Request) bool {
	wish := req.SuggestedExternalPort
	return resp.Result == ResultSuccess && wish > 0xff && resp.ExternalPort != 0 && resp.ExternalPort == wish&0xff
}

// asked remembers the ports that were asked for lately, so that a late reply is not
// taken for one that nobody asked for.
type asked struct {
	mu   sync.Mutex // guards what follows
	keys [64]callKey
	next int
}

// add notes a request.
func (a *asked) add(key callKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys[a.next%len(a.keys)] = key
	a.next++
}

// has says whether it was asked for lately.
func (a *asked) has(key callKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.keys[:min(a.next, len(a.keys))], key)
}
