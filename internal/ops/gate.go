package ops

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
)

const (
	// maxConns is how many connections there may be. Each open page has one for its stream.
	maxConns = maxWatchers + 64
	// maxConnsOfHost is how many of them one other host may have: a browser takes one
	// for each page and a few for a moment.
	maxConnsOfHost = 64
	// reserved is how many are kept for this host, whose supervisor asks for its health.
	reserved = 16
)

// gate is a listener that bounds its connections, of each host and in all. It never
// lets anybody wait. Where there is no room, the connection goes that has done
// nothing for the longest time; where all are busy, the new one.
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
	// under way. Guarded by gate.mu.
	idle uint64
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
	g.conns[in] = struct{}{}
	return in, out
}

// makeRoomLocked says whether there is room for a connection of a host, and which
// one has to go for that, nil for none.
func (g *gate) makeRoomLocked(host netip.Addr) (out net.Conn, ok bool) {
	var all, same, foreign []*guest
	for c := range g.conns {
		all = append(all, c)
		if c.host == host {
			same = append(same, c)
		}
		if c.host.IsValid() {
			foreign = append(foreign, c)
		}
	}
	full := all
	switch {
	case host.IsValid() && len(same) >= maxConnsOfHost:
		full = same
	case host.IsValid() && len(foreign) >= maxConns-reserved:
		full = foreign
	case len(all) < maxConns:
		return nil, true
	}
	full = slices.DeleteFunc(full, func(c *guest) bool { return c.idle == 0 })
	if len(full) == 0 {
		return nil, false
	}
	longest := slices.MinFunc(full, func(a, b *guest) int { return cmp.Compare(a.idle, b.idle) })
	delete(g.conns, longest)
	return longest.Conn, true
}

// restLocked notes that a connection does nothing from now on.
func (g *gate) restLocked(c *guest) {
	g.came++
	c.idle = g.came
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
// for what has no IP address, a unix socket.
func hostOf(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	host := tcp.AddrPort().Addr().Unmap().WithZone("")
	if host.IsLoopback() {
		return netip.Addr{}
	}
	return host
}
