package igd

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Answer is a reply to a search, whoever sent it.
type Answer struct {
	SearchReply

	// From is who sent it.
	From netip.AddrPort
}

// MulticastAddress is where searches for unknown devices are sent (UDA 1.1 §1.3).
func MulticastAddress() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, 255, 250}), SearchPort)
}

// Gather searches for gateways at an address, which may be [MulticastAddress], for as long
// as requested. It returns who answered: one reply for each description and sender, at
// most 8. It skips packets that are not replies, and locations with host names. Unlike
// [Client] it accepts replies from anybody: it is for looking around. The error is from
// sending, or ctx's. The socket is left open, with its deadline in the past.
func Gather(ctx context.Context, conn net.PacketConn, to netip.AddrPort, wait time.Duration) ([]Answer, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var all []Answer
	for end := time.Now().Add(wait); ; {
		for _, target := range []string{targetIGD2, targetIGD1, targetRoot} {
			if _, err := conn.WriteTo(searchMessage(to, target), net.UDPAddrFromAddrPort(to)); err != nil && ctx.Err() == nil {
				return all, err
			}
		}
		round := earlier(end, time.Now().Add(gatherRound))
		all = gather(ctx, conn, round, all)
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		if !round.Before(end) || len(all) == maxReplies {
			return all, nil
		}
	}
}

// gatherRound is after how long a search is repeated, for packets get lost: as long as a
// device may take that keeps to MX, and a little more.
const gatherRound = 1200 * time.Millisecond

// gather adds the answers that come until the given time.
func gather(ctx context.Context, conn net.PacketConn, until time.Time, all []Answer) []Answer {
	buf := make([]byte, maxReply+1)
	for ctx.Err() == nil && len(all) < maxReplies {
		if err := conn.SetReadDeadline(until); err != nil || ctx.Err() != nil {
			break
		}
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			break
		}
		sender, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		reply, err := ParseSearchReply(buf[:n], netip.Addr{})
		if err != nil {
			continue
		}
		at := netip.AddrPortFrom(sender.AddrPort().Addr().Unmap(), sender.AddrPort().Port())
		all = addAnswer(all, Answer{reply, at})
	}
	return all
}

// addAnswer keeps an answer, one for each place and sender: that of a gateway if there is one.
func addAnswer(all []Answer, a Answer) []Answer {
	for i, other := range all {
		if other.Location != a.Location || other.From.Addr() != a.From.Addr() {
			continue
		}
		if a.isGateway() {
			all[i] = a
		}
		return all
	}
	return append(all, a)
}

// Status returns what the device calls the state of its connection, shortened; "Connected"
// if it is up (WANIPConnection:2 §2.3.2).
func (c *Client) Status(ctx context.Context) (string, error) {
	out, err := c.call(ctx, actionStatus, nil)
	if err != nil {
		return "", err
	}
	return brief(out["NewConnectionStatus"]), nil
}

const actionStatus = "GetStatusInfo"
