package igdtest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"doublenat/igd"
)

// firstPort is where the descriptions of a [Place] are at first.
const firstPort = 5000

// Place is a [Gateway] on a network in memory, with what an [igd.Config] needs to reach
// it. Its fields are set before Run.
type Place struct {
	// Gateway is the box.
	Gateway *Gateway
	// Address is the box's, Client that of whoever asks.
	Address, Client netip.Addr
	// Packets opens UDP sockets, as natpmptest.Network does. Nil: there are no searches.
	Packets func(at netip.AddrPort) (net.PacketConn, error)

	mu       sync.Mutex    // guards what follows
	listener *Listener     // nil while nobody listens
	moved    chan struct{} // closed by the next move; nil while one is under way
	next     uint16
	off      bool
}

// Run serves until ctx ends.
func (p *Place) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg      sync.WaitGroup
		failure error
	)
	defer wg.Wait()
	if p.Packets != nil {
		conn, err := p.Packets(netip.AddrPortFrom(p.Address, igd.SearchPort))
		if err != nil {
			return err
		}
		defer conn.Close()
		wg.Go(func() { failure = p.Gateway.ServeSearch(ctx, conn) })
	}
	for ctx.Err() == nil {
		ln, moved := p.open()
		serving, stop := context.WithCancel(ctx)
		if ln != nil {
			wg.Go(func() { _ = p.Gateway.Serve(serving, ln) })
		}
		select {
		case <-moved:
		case <-ctx.Done():
		}
		stop()
	}
	wg.Wait()
	return failure
}

// open opens the listener of now.
func (p *Place) open() (*Listener, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved = make(chan struct{})
	if p.next == 0 && !p.off {
		p.next = firstPort
	}
	if p.off {
		p.listener = nil
		return nil, p.moved
	}
	p.listener = Listen(netip.AddrPortFrom(p.Address, p.next))
	return p.listener, p.moved
}

// Move makes the box answer at another port, or, with 0, at none, as if UPnP were
// switched off: connections are refused.
func (p *Place) Move(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
	}
	p.next, p.off = port, port == 0
	if p.moved != nil { // Run has not followed the last move yet, or has not begun.
		close(p.moved)
		p.moved = nil
	}
}

// Dial is what an [igd.Config] needs.
func (p *Place) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	p.mu.Lock()
	ln := p.listener
	p.mu.Unlock()
	if ln == nil || ln.at != to {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: syscall.ECONNREFUSED}
	}
	return ln.Dial(ctx, netip.AddrPortFrom(p.Client, 0))
}

// ListenSearch is what an [igd.Config] needs.
func (p *Place) ListenSearch(context.Context) (net.PacketConn, error) {
	if p.Packets == nil {
		return nil, errors.New("igdtest: no searches here")
	}
	return p.Packets(netip.AddrPortFrom(p.Client, 0))
}
