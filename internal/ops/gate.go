package ops

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxConns is how many connections there may be. Each open page has one for its stream.
	maxConns = maxWatchers + 64
	// maxConnsOfHost is how many of them one other host may have: a browser takes one
	// for each page and a few for a moment.
	maxConnsOfHost = 64
	// reserved is how many are kept for this host, whose supervisor asks for its health.
	reserved = 16
	// restedFor is after how long a connection without a request is of no use to
	// anybody: one that has just come in will ask in a moment.
	restedFor = headerTimeout
)

// gate is a listener that bounds its connections, of each host and in all. It never
// lets anybody wait. Where there is no room, a connection goes of the host that has
// most of them, or one that has rested for long: so a host gets its share however many
// connections others hold, and whatever they do with them.
type gate struct {
	net.Listener

	mu    sync.Mutex // guards what follows; held for moments only
	conns map[*guest]struct{}
	came  uint64 // how many connections became idle so far
}

// guest is a connection that was let in.
type guest struct {
	net.Conn

	gate *gate
	// host is where it comes from; the zero value is this host.
	host netip.Addr
	// idle grows from one to the next that becomes idle. It is 0 while an answer is
	// under way. Guarded by gate.mu, as what follows.
	idle uint64
	// rested is when it became idle.
	rested time.Time
	// number grows from one to the next that was let in.
	number uint64
}

var _ net.Listener = (*gate)(nil)

// newGate returns a gate before a listener.
func newGate(l net.Listener) *gate {
	return &gate{Listener: l, conns: make(map[*guest]struct{})}
}

// Accept returns the next connection for which there is room.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		in, out := g.admit(conn)
		if out != nil {
			_ = out.Close() // nobody is told: it did nothing, or is not known yet
		}
		if in != nil {
			return in, nil
		}
	}
}

// admit lets a connection in, unless in is nil, and says which one has to go for it.
func (g *gate) admit(conn net.Conn) (in *guest, out net.Conn) {
	in = &guest{Conn: conn, gate: g, host: hostOf(conn.RemoteAddr())}
	g.mu.Lock()
	defer g.mu.Unlock()
	out, ok := g.makeRoomLocked(in.host)
	if !ok {
		return nil, conn
	}
	g.restLocked(in)
	in.number = in.idle
	g.conns[in] = struct{}{}
	return in, out
}

// makeRoomLocked says whether there is room for a connection of a host, and which
// one has to go for that, nil for none.
func (g *gate) makeRoomLocked(host netip.Addr) (out net.Conn, ok bool) {
	foreign := make(map[netip.Addr][]*guest)
	all := make(map[netip.Addr][]*guest)
	others := 0
	for c := range g.conns {
		all[c.host] = append(all[c.host], c)
		if c.host.IsValid() {
			foreign[c.host] = append(foreign[c.host], c)
			others++
		}
	}
	var leaves *guest
	switch {
	case host.IsValid() && len(all[host]) >= maxConnsOfHost:
		leaves = idlest(all[host], time.Time{})
	case host.IsValid() && others >= maxConns-reserved:
		leaves = spared(foreign, len(foreign[host]))
	case len(g.conns) >= maxConns:
		leaves = spared(all, len(all[host]))
	default:
		return nil, true
	}
	if leaves == nil {
		return nil, false
	}
	delete(g.conns, leaves)
	return leaves.Conn, true
}

// spared returns the connection that goes for one of a host which has so many, nil if
// the new one has to: an idle one of the host that has most, else one that has rested
// for long, else the latest of the host that has most, if that is more than its share.
func spared(hosts map[netip.Addr][]*guest, has int) *guest {
	var greediest, everybody []*guest
	for _, conns := range hosts {
		everybody = append(everybody, conns...)
		// Among equals the order of a map decides, which nobody can make use of.
		if len(conns) > len(greediest) {
			greediest = conns
		}
	}
	greedy := len(greediest) > has+1
	if c := idlest(greediest, time.Time{}); greedy && c != nil {
		return c
	}
	if c := idlest(everybody, time.Now().Add(-restedFor)); c != nil {
		return c
	}
	if greedy {
		return slices.MaxFunc(greediest, func(a, b *guest) int { return cmp.Compare(a.number, b.number) })
	}
	return idlest(everybody, time.Time{})
}

// idlest returns the connection that has been idle for the longest time, among those
// that became so before a moment if it is not zero; nil for none.
func idlest(conns []*guest, before time.Time) *guest {
	var longest *guest
	for _, c := range conns {
		if c.idle == 0 || !before.IsZero() && c.rested.After(before) {
			continue
		}
		if longest == nil || c.idle < longest.idle {
			longest = c
		}
	}
	return longest
}

// restLocked notes that a connection does nothing from now on.
func (g *gate) restLocked(c *guest) {
	g.came++
	c.idle, c.rested = g.came, time.Now()
}

// note takes in what the server does with a connection (http.Server.ConnState).
func (g *gate) note(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*guest)
	if !ok {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch state {
	case http.StateActive:
		c.idle = 0
	case http.StateIdle:
		g.restLocked(c)
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}

// Close closes the connection, which makes room for another one.
func (c *guest) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// hostOf returns the host that an address is of, the zero value for this host and
// for what has no IP address, a unix socket. A host has a whole IPv6 network of 64 bits
// to choose addresses from (RFC 4291 §2.5.1).
func hostOf(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return hostOfAddr(tcp.AddrPort().Addr())
}

// hostOfRequest returns the host that a request came from, as [hostOf].
func hostOfRequest(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return hostOfAddr(at.Addr())
}

func hostOfAddr(addr netip.Addr) netip.Addr {
	host := addr.Unmap().WithZone("")
	switch {
	case host.IsLoopback():
		return netip.Addr{}
	case host.Is6():
		return netip.PrefixFrom(host, 64).Masked().Addr()
	default:
		return host
	}
}
