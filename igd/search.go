package igd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// settle is how long more answers are waited for after the first one: at a box's
	// address there may be a media server too.
	settle = 250 * time.Millisecond
	// maxReplies is how many places a search yields at most.
	maxReplies = 8
)

// searchWaits returns how long each round of a search waits. Loss is a fact, and MX lets a
// device take a second.
func searchWaits() []time.Duration {
	return []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 1500 * time.Millisecond}
}

// search asks the gateway for its descriptions, which are returned with the gateways'
// first. Packets of others are not looked at.
func (c *Client) search(ctx context.Context) ([]SearchReply, error) {
	conn, err := c.cfg.ListenSearch(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a socket for the search: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	found := finding{gateway: c.cfg.Gateway, why: ErrSilent}
	to := netip.AddrPortFrom(c.cfg.Gateway, c.cfg.SearchPort)
	for _, wait := range searchWaits() {
		for _, target := range []string{targetIGD2, targetIGD1, targetRoot} {
			c.count.searches.Add(1)
			if _, err := conn.WriteTo(searchMessage(to, target), net.UDPAddrFromAddrPort(to)); err != nil && ctx.Err() == nil {
				found.why = fmt.Errorf("searching: %w", err)
			}
		}
		found.collect(ctx, conn, time.Now().Add(wait))
		if len(found.replies) > 0 || ctx.Err() != nil {
			break
		}
	}
	if len(found.replies) == 0 {
		return nil, errors.Join(found.why, ctx.Err())
	}
	slices.SortStableFunc(found.replies, func(a, b SearchReply) int {
		switch {
		case a.isGateway() == b.isGateway():
			return 0
		case a.isGateway():
			return -1
		default:
			return 1
		}
	})
	return found.replies, nil
}

// finding is what a search yields.
type finding struct {
	gateway netip.Addr
	replies []SearchReply
	why     error // there is none
}

// collect reads answers until the given time, or until they ebb. Answers may come from
// another port than the one that was asked: libupnp sends them from one of its own.
func (f *finding) collect(ctx context.Context, conn net.PacketConn, until time.Time) {
	buf := make([]byte, maxReply+1)
	for ctx.Err() == nil && len(f.replies) < maxReplies {
		if err := conn.SetReadDeadline(until); err != nil || ctx.Err() != nil {
			return
		}
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if a, ok := from.(*net.UDPAddr); !ok || a.AddrPort().Addr().Unmap() != f.gateway {
			continue
		}
		reply, err := ParseSearchReply(buf[:n], f.gateway)
		if err != nil {
			f.why = err
			continue
		}
		if len(f.replies) == 0 {
			until = earlier(until, time.Now().Add(settle))
		}
		f.add(reply)
	}
}

// add keeps a reply, one for each place.
func (f *finding) add(reply SearchReply) {
	i := slices.IndexFunc(f.replies, func(r SearchReply) bool { return r.Location == reply.Location })
	switch {
	case i < 0:
		f.replies = append(f.replies, reply)
	case reply.isGateway():
		f.replies[i] = reply
	}
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
