package routerostest

import (
	"net/netip"
	"strconv"
	"time"
)

const connectionPath = "/ip/firewall/connection"

// How long the router remembers UDP (udp-timeout and udp-stream-timeout of its manual).
const (
	udpTimeout       = 10 * time.Second
	udpStreamTimeout = 3 * time.Minute
)

// Follow passes a packet and notes its connection in /ip/firewall/connection, as a router
// does with what it forwards: the way it came, and the way its answer is expected. UDP is
// forgotten after ten seconds, and after three minutes if there was an answer. A packet
// that is lost, or of which no track is kept, leaves no row.
func (r *Router) Follow(p Packet, answered bool) Path {
	path := r.Walk(p)
	if path.Fate != Forwarded || path.untracked {
		return path
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	row := Row{"protocol": p.Protocol, "timeout": "10s", "seen-reply": strconv.FormatBool(answered), "srcnat": strconv.FormatBool(path.srcNAT)}
	for which, end := range map[string]netip.AddrPort{"src": p.Src, "dst": p.Dst, "reply-src": path.Dst, "reply-dst": path.Src} {
		row[which+"-address"] = end.String()
		if r.config.PortColumns {
			row[which+"-address"], row[which+"-port"] = end.Addr().String(), strconv.Itoa(int(end.Port()))
		}
	}
	t := r.tables[connectionPath]
	it := t.newItem(time.Now(), row)
	it.expires, t.restless = time.Now().Add(udpTimeout), true
	if answered {
		it.expires = time.Now().Add(udpStreamTimeout)
	}
	t.insert(it, -1)
	return path
}
