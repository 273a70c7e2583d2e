package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// serveEcho is the floor: it sends each packet back, in the simplest way that Go has,
// until the context ends.
func serveEcho(ctx context.Context, at string) error {
	pc, err := net.ListenPacket("udp4", at) //nolint:noctx // as in newWorld
	// A process that begins at that moment has a copy of the socket by which the port was found
	// free, until it runs its program.
	for try := 0; errors.Is(err, syscall.EADDRINUSE) && try < 100; try++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
		pc, err = net.ListenPacket("udp4", at) //nolint:noctx // as above
	}
	if err != nil {
		return err
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("%s: no UDP socket", at)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			_, err = conn.WriteToUDPAddrPort(buf[:n], from)
		}
		if err != nil {
			return err
		}
	}
}

// echo is the echo server in a process of its own, and the hosts that ask it.
type echo struct {
	server *program
	hosts  []*host
}

// newEcho starts it.
func newEcho(ctx context.Context) (*echo, error) {
	at, err := freePort("udp4")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := new(echo)
	if e.server, err = start(ctx, os.Stderr, os.Environ(), self, "-echo", at); err != nil { //nolint:forbidigo // a program of its own
		return nil, err
	}
	for n := range hosts {
		h, err := newHost(n, netip.MustParseAddrPort(at))
		if err != nil {
			return nil, err
		}
		e.hosts = append(e.hosts, h)
	}
	return e, await(ctx, e.hosts[0].echo)
}

// close ends it.
func (e *echo) close() {
	for _, h := range e.hosts {
		_ = h.conn.Close()
	}
	e.server.stop()
}

// measure runs the echo for so many clients.
func (e *echo) measure(ctx context.Context, clients int, d time.Duration) (figures, error) {
	s := scenario{op: opEcho, clients: clients}
	_ = drive(ctx, e.hosts, s, d/8)
	before, err := e.server.usage()
	if err != nil {
		return figures{}, err
	}
	f := drive(ctx, e.hosts, s, d)
	after, err := e.server.usage()
	if err != nil {
		return figures{}, err
	}
	f.resident, f.cpu = e.server.memory().resident, after.cpu-before.cpu
	return f, nil
}

// turns is how often the floor and what stands on it take turns.
const turns = 5

// compare measures a scenario and the floor in turns: other work on the machine then
// holds up both. The share is the median of the turns.
func (e *echo) compare(ctx context.Context, w *world, s scenario, d time.Duration) (floor, found figures, err error) {
	var shares []float64
	for range turns {
		under, err := e.measure(ctx, s.clients, d/turns)
		if err != nil {
			return floor, found, err
		}
		over, err := w.measure(ctx, s, d/turns)
		if err != nil {
			return floor, found, err
		}
		shares = append(shares, over.perSecond()/under.perSecond())
		floor.add(under)
		found.add(over)
	}
	slices.Sort(shares)
	found.share = shares[turns/2]
	return floor, found, nil
}
