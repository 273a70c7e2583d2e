package stun

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// The times of RFC 8489 §6.2.1, with the values that it recommends.
const (
	firstTimeout = 500 * time.Millisecond // RTO
	maxRequests  = 7                      // Rc
	lastFactor   = 16                     // Rm
)

// ErrSilent means that the server did not answer.
var ErrSilent = errors.New("stun: the server does not answer")

// Answer is a server's reply.
type Answer struct {
	// Mapped is the address and port from which the server received the request.
	Mapped netip.AddrPort
	// Local and Server are the two ends of the request, as this host sees them.
	Local, Server netip.AddrPort
}

// Ask sends a Binding request over a UDP socket that is connected to a server. It
// retransmits until a reply arrives, for at most 39.5 seconds or until ctx ends, and
// closes the socket. The error is an [*Error], [ErrNoAddress], [ErrSilent] (also if ctx
// ended), or the socket's.
func Ask(ctx context.Context, dial func(ctx context.Context) (net.Conn, error)) (Answer, error) {
	conn, err := dial(ctx)
	if err != nil {
		return Answer{}, fmt.Errorf("stun: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var id TransactionID
	_, _ = rand.Read(id[:]) // it never fails
	mapped, err := transact(ctx, conn, id)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Mapped: mapped, Local: endOf(conn.LocalAddr()), Server: endOf(conn.RemoteAddr())}, nil
}

// endOf returns an address of a socket, the zero value if it is none of IP.
func endOf(a net.Addr) netip.AddrPort {
	end, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(end.Addr().Unmap(), end.Port())
}

// transact repeats the request, twice as late each time (RFC 8489 §6.2.1).
func transact(ctx context.Context, conn net.Conn, id TransactionID) (netip.AddrPort, error) {
	request, wait := AppendRequest(nil, id), firstTimeout
	for n := 1; n <= maxRequests; n++ {
		if n == maxRequests {
			wait = lastFactor * firstTimeout
		}
		if _, err := conn.Write(request); err != nil {
			return netip.AddrPort{}, fmt.Errorf("stun: asking: %w", err)
		}
		mapped, err := await(ctx, conn, id, time.Now().Add(wait))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return mapped, err
		}
		if ctx.Err() != nil {
			break
		}
		wait *= 2
	}
	return netip.AddrPort{}, ErrSilent
}

// maxPacket is longer than any answer: what is longer is cut off, and no answer then.
const maxPacket = 1500

// await reads until there is an answer to the request; what else comes is ignored.
func await(ctx context.Context, conn net.Conn, id TransactionID, until time.Time) (netip.AddrPort, error) {
	if err := conn.SetReadDeadline(until); err != nil {
		return netip.AddrPort{}, fmt.Errorf("stun: %w", err)
	}
	packet := make([]byte, maxPacket)
	for ctx.Err() == nil { // the end of ctx may have set its deadline before ours
		n, err := conn.Read(packet)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("stun: waiting for an answer: %w", err)
		}
		mapped, err := ParseResponse(packet[:n], id)
		if !errors.Is(err, errForeign) {
			return mapped, err
		}
	}
	return netip.AddrPort{}, os.ErrDeadlineExceeded
}
