package igd

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"doublenat/internal/datagram"
)

// product is what doublenat calls itself.
const product = "doublenat"

// maxAge is for how long a client may believe in what it found (CACHE-CONTROL, UDA 1.1
// §1.2.2: half an hour at least).
const maxAge = 30 * time.Minute

// SearchGroup is the multicast group for searches and announcements (UDA 1.1 §1.1.1).
func SearchGroup() netip.Addr { return netip.AddrFrom4([4]byte{239, 255, 255, 250}) }

// searchLine begins each search.
const searchLine = "M-SEARCH * HTTP/1.1\r\n"

// Search is a search for devices (UDA 1.1 §1.3.2).
type Search struct {
	// Target is the kind of device or service searched for.
	Target string
	// Wait is MX in seconds, the maximum delay of a reply; 0 if there is none, as in
	// unicast searches.
	Wait int
}

// ParseSearch reads a search, or returns false if the packet is not one that a device may
// answer.
func ParseSearch(packet []byte) (Search, bool) {
	target, wait, ok := parseSearch(packet)
	return Search{Target: string(target), Wait: wait}, ok
}

// parseSearch is ParseSearch without allocations: all devices on a LAN talk to its group.
func parseSearch(packet []byte) (target []byte, wait int, ok bool) {
	rest, ok := bytes.CutPrefix(packet, []byte(searchLine))
	if !ok {
		return nil, 0, false
	}
	discovers := false
	for range maxHeaders {
		var line []byte
		line, rest, ok = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 || !ok {
			break
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return nil, 0, false
		}
		value = bytes.Trim(value, " \t")
		switch {
		case is(name, "MAN"):
			discovers = string(value) == `"ssdp:discover"`
		case is(name, "ST") && target == nil:
			target = value
		case is(name, "ST"):
			return nil, 0, false
		case is(name, "MX"):
			if wait, ok = parseWait(value); !ok {
				return nil, 0, false
			}
		}
	}
	return target, wait, discovers && len(target) > 0
}

// is says whether the name of a header is the given one.
func is(name []byte, want string) bool { return bytes.EqualFold(name, []byte(want)) }

// parseWait reads MX, an integer from 1 on (UDA 1.1 §1.3.2).
func parseWait(value []byte) (int, bool) {
	n, err := strconv.ParseUint(string(value), 10, 16)
	return int(n), err == nil && n > 0
}

// Searches returns the protocol that answers searches, each with a single packet, even
// where UDA 1.1 §1.3.3 wants one for each part of a device: so nobody can make it send
// more to somebody else than they send themselves. Use it with [datagram.Config.Group] and
// [SearchGroup].
func (s *Server) Searches() datagram.Protocol { return searches{s} }

// searches is the device's side of SSDP.
type searches struct{ server *Server }

var _ datagram.Protocol = searches{}

// Discard implements [datagram.Protocol]. A packet that is not for us does not make its
// sender a client: it is dropped before anything counts it.
func (p searches) Discard(packet []byte) datagram.Discard {
	target, _, ok := parseSearch(packet)
	switch {
	case !ok:
		return datagram.Response
	case !p.server.knows(target):
		return datagram.Foreign
	default:
		return datagram.Keep
	}
}

// AtOnce implements [datagram.Protocol]. MX is the longest time to wait; a single gateway
// that answers each search once has no reason to wait.
func (p searches) AtOnce(dst, packet []byte, from Arrival) ([]byte, datagram.Kind) {
	s := p.server
	target, wait, _ := parseSearch(packet)
	if wait == 0 && from.Destination.IsMulticast() {
		return nil, datagram.KindDone // UDA 1.1 §1.3.2: it has to be ignored.
	}
	if !s.pace.allow(from.Client.Addr(), time.Now()) {
		return nil, datagram.KindDone
	}
	at := s.cfg.Location(from)
	if !at.IsValid() {
		return nil, datagram.KindDone
	}
	return s.appendReply(dst, s.find(string(target)), at), datagram.KindDone
}

// Request implements [datagram.Protocol]. AtOnce answers everything.
func (p searches) Request([]byte, Arrival) datagram.Request { return searched{} }

// knows says whether a target is one of ours.
func (s *Server) knows(target []byte) bool {
	_, ok := s.finders[0][string(target)]
	return ok
}

// find returns where a search leads.
func (s *Server) find(target string) found {
	if s.cfg.Exact() {
		return s.finders[0][target]
	}
	return s.finders[1][target]
}

// searched is a search, of which nothing is left to do.
type searched struct{}

// Subject implements [datagram.Request].
func (searched) Subject() datagram.Subject { return datagram.Subject{} }

// Same implements [datagram.Request].
func (searched) Same(other datagram.Request) bool { return other == searched{} }

// Serve implements [datagram.Request].
func (searched) Serve(context.Context) []byte { return nil }

// Failure implements [datagram.Request].
func (searched) Failure() []byte { return nil }

// appendReply appends the answer to a search.
func (s *Server) appendReply(dst []byte, f found, at netip.AddrPort) []byte {
	return s.appendPacket(dst, "HTTP/1.1 200 OK\r\nEXT:\r\nDATE: "+time.Now().UTC().Format(http.TimeFormat)+"\r\nST: "+f.target+"\r\n", f, at)
}

// appendPacket appends a packet of SSDP that tells where a device is.
func (s *Server) appendPacket(dst []byte, head string, f found, at netip.AddrPort) []byte {
	return fmt.Appendf(dst, "%sUSN: %s\r\nLOCATION: http://%s%s\r\nCACHE-CONTROL: max-age=%d\r\nSERVER: %s\r\n"+
		"BOOTID.UPNP.ORG: %d\r\nCONFIGID.UPNP.ORG: %d\r\n\r\n",
		head, f.usn, at, f.tree.path(), maxAge/time.Second, s.agent(), s.cfg.Boot()&maxBoot, f.tree.config)
}
