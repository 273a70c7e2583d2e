package routerostest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"doublenat/routeros"
)

// The ends of connections made with [Router.Dial].
const (
	memoryClient = "192.168.88.2"
	apiPort      = 8728
)

// errClosed is what Dial and Serve return after Close.
var errClosed = fmt.Errorf("routerostest: %w", net.ErrClosed)

// Serve answers the API on a listener until ctx ends or the router is closed,
// then closes the listener and all connections that came from it, waits for
// their goroutines, and returns nil. An error is returned when the listener
// fails. Connections of a listener with TLS belong to the service api-ssl,
// others to api.
//
// While the router is down, or the service disabled, connections are cut at once:
// nobody can refuse them behind a listener.
func (r *Router) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return errors.Join(errClosed, ln.Close())
	}
	r.listeners[ln] = struct{}{}
	r.working.Add(1)
	r.mu.Unlock()
	defer r.working.Done()

	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var mine []*session
	var failure error
	for {
		conn, err := ln.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				failure = fmt.Errorf("accepting: %w", err)
			}
			break
		}
		mine = prune(mine)
		if s := r.admit(conn); s != nil {
			mine = append(mine, s)
		}
	}
	_ = ln.Close()
	for _, s := range mine {
		s.end(endClose)
	}
	for _, s := range mine {
		<-s.ended
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.listeners, ln)
	return failure
}

// prune forgets the sessions that have ended.
func prune(list []*session) []*session {
	live := list[:0]
	for _, s := range list {
		select {
		case <-s.ended:
		default:
			live = append(live, s)
		}
	}
	clear(list[len(live):])
	return live
}

// Dial connects to the router in memory, as a host of its LAN. The connection
// has a buffer, deadlines and addresses, and works in a testing/synctest bubble.
// A router that is down, or whose service api is disabled, refuses.
func (r *Router) Dial(ctx context.Context) (net.Conn, error) {
	return r.dial(ctx, net.ParseIP(memoryClient))
}

// DialFrom returns a Dial for another host of the LAN.
func (r *Router) DialFrom(host netip.Addr) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return r.dial(ctx, host.AsSlice()) }
}

// dial connects a host to the router.
func (r *Router) dial(ctx context.Context, host net.IP) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	port := 49152 + int(r.lastSession%16384)
	service := r.serviceLocked("api")
	refused := time.Now().Before(r.downUntil) || service != nil && service.is("disabled")
	closed := r.closed
	if refused && !closed {
		r.stats.Refused++
	}
	r.mu.Unlock()
	local := &net.TCPAddr{IP: host, Port: port}
	remote := &net.TCPAddr{IP: net.ParseIP(LANAddress), Port: apiPort}
	switch {
	case closed:
		return nil, errClosed
	case refused:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	client, server := newPipe(local, remote)
	r.admit(server)
	return client, nil
}

// Close ends the router: its listeners and connections are closed, and all its
// goroutines have ended when Close returns. Tables and journal can still be read.
func (r *Router) Close() error {
	r.mu.Lock()
	r.closed = true
	for ln := range r.listeners {
		_ = ln.Close()
	}
	sessions := r.sessionsLocked()
	r.mu.Unlock()
	for _, s := range sessions {
		s.end(endClose)
	}
	r.working.Wait()
	return nil
}

// admit starts the session of a new connection, or ends the connection and
// returns nil.
func (r *Router) admit(conn net.Conn) *session {
	name := "api"
	if _, secure := conn.(*tls.Conn); secure {
		name = "api-ssl"
	}
	s := &session{
		router: r, conn: conn, service: name,
		reader: routeros.NewReader(conn, routeros.Limits{}),
		wake:   make(chan struct{}, 1), room: make(chan struct{}, 1),
		done: make(chan struct{}), ended: make(chan struct{}), active: time.Now(),
	}
	s.remote, s.remotePort = remoteEnd(conn)
	r.mu.Lock()
	end := r.refusalLocked(s)
	if end == endNot {
		r.lastSession++
		s.number = r.lastSession
		r.stats.Connections++
		r.sessions[s] = struct{}{}
		r.working.Add(1)
	} else {
		r.stats.Refused++
	}
	r.mu.Unlock()
	switch end {
	case endNot:
		go s.run()
		return s
	case endClose:
		_ = conn.Close()
	default:
		cut(conn)
	}
	return nil
}

// refusalLocked says how a new connection is turned away, endNot for not at all.
func (r *Router) refusalLocked(s *session) ending {
	service := r.serviceLocked(s.service)
	switch {
	case r.closed, time.Now().Before(r.downUntil), service == nil, service.is("disabled"):
		return endReset
	case !allowedFrom(service.value("address"), s.remote), !allowedFrom(service.value("available-from"), s.remote):
		return endClose
	}
	if limit := service.value("max-sessions"); limit != "" {
		open := 0
		for other := range r.sessions {
			if other.service == s.service && !other.forgotten() {
				open++
			}
		}
		if formatInt(open) == limit {
			return endClose
		}
	}
	return endNot
}

// serviceLocked returns a row of /ip/service, nil for none.
func (r *Router) serviceLocked(name string) *item {
	t := r.tables[servicePath]
	if at := t.find(name); at >= 0 {
		return t.items[at]
	}
	return nil
}

// remoteEnd returns who is on the other side.
func remoteEnd(conn net.Conn) (netip.Addr, int) {
	ap, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}, 0
	}
	return ap.Addr().Unmap(), int(ap.Port())
}

// cut ends a connection with an RST where the transport has one.
func cut(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	switch c := conn.(type) {
	case *pipe:
		c.reset()
		return
	case *net.TCPConn:
		// Lingering for no time makes the kernel send RST on close.
		if err := c.SetLinger(0); err != nil {
			break
		}
	}
	_ = conn.Close()
}

// Sessions returns how many connections are open.
func (r *Router) Sessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}
