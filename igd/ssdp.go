package igd

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

// SearchPort is the UDP port for searches (UDA 1.1 §1.3).
const SearchPort = 1900

const (
	// maxReply is the size of the largest answer to a search that is read.
	maxReply = 4096
	// maxHeaders is how many of its lines are looked at.
	maxHeaders = 64
)

// The targets of a search. Some boxes answer only to one of them, and libtorrent lives
// on the third alone.
const (
	targetIGD2 = "urn:schemas-upnp-org:device:InternetGatewayDevice:2"
	targetIGD1 = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
	targetRoot = "upnp:rootdevice"
)

// searchMessage returns an M-SEARCH for one target. A unicast search has no MX (UDA 1.1
// §1.3.2), but devices of UDA 1.0 answer none without.
func searchMessage(to netip.AddrPort, target string) []byte {
	return fmt.Appendf(nil, "M-SEARCH * HTTP/1.1\r\nHOST: %s\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: %s\r\n"+
		"USER-AGENT: doublenat UPnP/1.1 doublenat/1\r\n\r\n", to, target)
}

// SearchReply is a reply to a search.
type SearchReply struct {
	// Location is where the description is.
	Location Location
	// Target is what the device calls itself.
	Target string
	// Boot changes when the device restarts; "" if it does not say.
	Boot string
}

// ParseSearchReply reads a reply to a search. The description must be on the gateway.
func ParseSearchReply(packet []byte, gateway netip.Addr) (SearchReply, error) {
	if len(packet) > maxReply {
		return SearchReply{}, ErrTooLarge
	}
	first, rest, _ := bytes.Cut(packet, []byte("\n"))
	version, status, _ := strings.Cut(string(bytes.TrimSpace(first)), " ")
	if !strings.HasPrefix(version, "HTTP/1.") || !strings.HasPrefix(strings.TrimSpace(status), "200") {
		return SearchReply{}, fmt.Errorf("%w: no success of HTTP", ErrNonsense)
	}
	var (
		reply    SearchReply
		location string
		nls      string
	)
	for range maxHeaders {
		var line []byte
		if line, rest, _ = bytes.Cut(rest, []byte("\n")); len(bytes.TrimSpace(line)) == 0 {
			break
		}
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimSpace(value)
		switch strings.ToUpper(strings.TrimSpace(name)) {
		case "LOCATION":
			location = value
		case "ST":
			reply.Target = brief(value)
		case "BOOTID.UPNP.ORG":
			reply.Boot = brief(value)
		case "01-NLS":
			nls = brief(value)
		}
	}
	if reply.Boot == "" {
		reply.Boot = nls // libupnp's name for it
	}
	var err error
	if reply.Location, err = ParseLocation(location, gateway); err != nil {
		return SearchReply{}, fmt.Errorf("LOCATION: %w", err)
	}
	return reply, nil
}

// isGateway says whether the reply is of a gateway, and not of something else at its address.
func (r SearchReply) isGateway() bool { return strings.Contains(r.Target, "InternetGatewayDevice") }
