package igd

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doublenat/internal/datagram"
)

// lobby has the connections that were let in, on all listeners.
type lobby struct {
	perClient, all int // how many there may be

	mu sync.Mutex // guards what follows; held for moments only
	// inside has the connections in the order in which they came.
	inside []*visit
}

// visit is a connection that was let in.
type visit struct {
	net.Conn

	lobby *lobby
	from  netip.AddrPort
	// state is what it is at. Guarded by the lobby.
	state http.ConnState
	// requests is how many were read. It is used by the connection's goroutine alone.
	requests int
}

// enter lets a connection in, or returns nil: there is no room.
func (l *lobby) enter(conn net.Conn, from netip.AddrPort) *visit {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := func(v *visit) bool { return v.from.Addr() == from.Addr() }
	anyone := func(*visit) bool { return true }
	if !l.roomLocked(own, l.perClient) || !l.roomLocked(anyone, l.all) {
		return nil
	}
	v := &visit{Conn: conn, lobby: l, from: from, state: http.StateNew}
	l.inside = append(l.inside, v)
	return v
}

// roomLocked says whether one more connection can come in beside some of those that are
// there. If these are as many as may be, the oldest one that nothing is asked on goes.
func (l *lobby) roomLocked(which func(*visit) bool, most int) bool {
	n, idle := 0, -1
	for i, v := range l.inside {
		if !which(v) {
			continue
		}
		n++
		if idle < 0 && v.state != http.StateActive {
			idle = i
		}
	}
	if n < most {
		return true
	}
	if idle < 0 {
		return false
	}
	_ = l.inside[idle].Conn.Close() // its goroutine sees it and ends
	l.inside = slices.Delete(l.inside, idle, idle+1)
	return true
}

// note takes in what a connection is at. It is for [http.Server.ConnState].
func (l *lobby) note(conn net.Conn, state http.ConnState) {
	v, ok := conn.(*visit)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v.state = state
}

// Close closes the connection and forgets it.
func (v *visit) Close() error {
	v.lobby.mu.Lock()
	v.lobby.inside = slices.DeleteFunc(v.lobby.inside, func(o *visit) bool { return o == v })
	v.lobby.mu.Unlock()
	return v.Conn.Close()
}

// doorkeeper is a listener that lets in whom it may.
type doorkeeper struct {
	net.Listener

	server *Server
}

// Accept returns the next admitted connection. It closes all others silently.
func (d *doorkeeper) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if v := d.server.receive(conn); v != nil {
			return v, nil
		}
		_ = conn.Close() // it is nobody's
	}
}

// receive lets a connection in, or returns nil.
func (s *Server) receive(conn net.Conn) *visit {
	s.count.connections.Add(1)
	from := arrivalOf(conn)
	if !from.Client.Addr().Is4() || !s.cfg.Admit(from) {
		s.count.notAdmitted.Add(1)
		return nil
	}
	v := s.lobby.enter(conn, from.Client)
	if v == nil {
		s.count.crowded.Add(1)
	}
	return v
}

// arrivalOf returns how a connection came in, as of now.
func arrivalOf(conn net.Conn) Arrival {
	a := Arrival{At: time.Now()}
	a.Client, _ = datagram.AddrPort(conn.RemoteAddr()) // else it is nobody's
	if local, err := datagram.AddrPort(conn.LocalAddr()); err == nil {
		a.Destination, a.Local = local.Addr(), local.Addr()
	}
	return a
}
