package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"doublenat/natpmp"
)

// The way in which clients repeat a request without an answer (RFC 6886 §3.1), cut
// short: who waits longer than this has failed.
const (
	firstWait = 250 * time.Millisecond
	maxTries  = 5
)

// errNoAnswer is a request that was repeated in vain.
var errNoAnswer = errors.New("no answer")

// host is one client of the LAN. It has an address and a socket of its own, and is
// used by one worker at a time.
type host struct {
	conn *net.UDPConn
	buf  [natpmp.MaxPacket]byte
	// keys are the mappings that it holds.
	keys []key
	// repeats counts the packets that were sent again.
	repeats int
	// next is the internal port of the next mapping that is made and deleted again.
	next uint16
}

// key is a mapping as its client knows it.
type key struct {
	opcode natpmp.Opcode
	port   uint16
}

// newHost opens a socket at the address of host number n, to the server.
func newHost(n int, server netip.AddrPort) (*host, error) {
	local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(hostAddress(n), 0))
	conn, err := net.DialUDP("udp4", local, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return nil, err
	}
	return &host{conn: conn, next: 30000}, nil
}

// hostAddress is the address of host number n.
func hostAddress(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 77, byte(n / 250), byte(n%250 + 1)}) //nolint:gosec // there are a few hundred
}

// ask sends the packet, repeats it as clients do, and waits for a packet that fits.
func (h *host) ask(ctx context.Context, packet []byte, fits func([]byte) bool) error {
	wait := firstWait
	for try := range maxTries {
		if try > 0 {
			h.repeats++
		}
		if _, err := h.conn.Write(packet); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		if err := h.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		err := h.hear(fits)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait *= 2
	}
	return errNoAnswer
}

// hear reads until a packet fits.
func (h *host) hear(fits func([]byte) bool) error {
	for {
		n, err := h.conn.Read(h.buf[:])
		switch {
		case errors.Is(err, syscall.ECONNREFUSED): // nobody was there for an earlier packet
		case err != nil:
			return err
		case fits(h.buf[:n]):
			return nil
		}
	}
}

// address asks for the public address.
func (h *host) address(ctx context.Context) error {
	req := natpmp.Request{Opcode: natpmp.OpExternalAddress}
	_, err := h.request(ctx, req)
	return err
}

// lifetime is what every mapping is asked for.
const lifetime = 3600

// mapPort asks for a mapping or renews it.
func (h *host) mapPort(ctx context.Context, k key) error {
	resp, err := h.request(ctx, natpmp.Request{Opcode: k.opcode, InternalPort: k.port, SuggestedExternalPort: k.port, Lifetime: lifetime})
	if err == nil && resp.Lifetime == 0 {
		return errors.New("a mapping without time")
	}
	return err
}

// unmapPort deletes a mapping.
func (h *host) unmapPort(ctx context.Context, k key) error {
	_, err := h.request(ctx, natpmp.Request{Opcode: k.opcode, InternalPort: k.port})
	return err
}

// request asks and returns the response, which is a success.
func (h *host) request(ctx context.Context, req natpmp.Request) (resp natpmp.Response, err error) {
	err = h.ask(ctx, req.Append(nil), func(b []byte) bool {
		got, err := natpmp.ParseResponse(b)
		if err != nil || got.Opcode != req.Opcode || got.InternalPort != req.InternalPort {
			return false
		}
		resp = got
		// A late answer to the request before it is none to a deletion, and vice versa.
		return got.Result != natpmp.ResultSuccess || (got.Lifetime == 0) == (req.Lifetime == 0)
	})
	if err == nil && resp.Result != natpmp.ResultSuccess {
		err = fmt.Errorf("answered %v", resp.Result)
	}
	return resp, err
}

// echo sends a packet of the size of a request to an echo server.
func (h *host) echo(ctx context.Context) error {
	return h.ask(ctx, []byte{0, 0}, func(b []byte) bool { return len(b) == 2 })
}

// fresh returns a mapping that the host does not have.
func (h *host) fresh() key {
	h.next++
	if h.next > 60000 {
		h.next = 30001
	}
	return key{opcode: natpmp.OpMapTCP, port: h.next}
}
