package igd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"doublenat/internal/datagram"
)

const (
	// notifyRounds is how often a link is told at first, and of the end: packets get lost
	// (UDA 1.1 §1.2.2: "more than once").
	notifyRounds = 2
	// notifyGap is the time between these rounds.
	notifyGap = 500 * time.Millisecond
	// notifyAgain is the least time until all is told again, and half of it is spread at
	// random on top: less than half of what the notices are valid for (UDA 1.1 §1.2.2).
	notifyAgain = maxAge / 3
	// notifyLook is how often it is looked for links.
	notifyLook = 10 * time.Second
	// maxLinks bounds the links that are told.
	maxLinks = 64
)

// Link is a link on which the gateway announces itself.
type Link struct {
	// ID identifies the link, also over time. It must be comparable. If a link's location
	// changes, so must its ID.
	ID any
	// Location is where clients on this link find the descriptions.
	Location netip.AddrPort
	// Send sends a packet for [SearchGroup], port [SearchPort], on the link. It must not
	// block, and does not keep the packet.
	Send func(packet []byte) error
}

// Notify announces on the links that the gateway is there (NOTIFY with ssdp:alive): at
// once and then regularly, on new links when they appear. When the context ends it
// announces that the gateway is gone (ssdp:byebye). This goroutine calls links at once and
// every ten seconds; it must not block. [Server.Renotify] starts over. Notify returns nil.
func (s *Server) Notify(ctx context.Context, links func() []Link) error {
	n := &notifier{server: s, links: links}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			n.farewell(context.WithoutCancel(ctx))
			return nil
		case <-s.renotify:
			n.again(time.Now())
		case <-timer.C:
		}
		n.advance(ctx, time.Now())
		timer.Reset(n.wait(time.Now()))
	}
}

// Renotify makes [Server.Notify] announce on all links again, as after a change of BOOTID.
// It never blocks and may be called at any time.
func (s *Server) Renotify() {
	select {
	case s.renotify <- struct{}{}:
	default: // it is about to
	}
}

// notifier tells the links.
type notifier struct {
	server *Server
	links  func() []Link
	told   []*toldLink
	lookAt time.Time
}

// toldLink is a link with what it was told.
type toldLink struct {
	Link

	// due is when the next round is, rounds is how many there were since it began.
	due    time.Time
	rounds int
	// trouble is whether the log was told that it fails.
	trouble trouble
}

// trouble is whether a link takes packets.
type trouble uint8

const (
	works trouble = iota
	fails
)

// again begins anew on all links.
func (n *notifier) again(now time.Time) {
	for _, l := range n.told {
		l.due, l.rounds = now, 0
	}
}

// advance looks for links when it is time to, and tells those whose turn has come.
func (n *notifier) advance(ctx context.Context, now time.Time) {
	if !now.Before(n.lookAt) {
		n.look(n.links(), now)
		n.lookAt = now.Add(notifyLook)
	}
	for _, l := range n.told {
		if l.due.After(now) {
			continue
		}
		if l.rounds == 0 {
			// Whoever knows the gateway from before a crash forgets it (UDA 1.1 §1.2.2).
			n.tell(ctx, l, byebye)
		}
		n.tell(ctx, l, alive)
		l.rounds++
		l.due = now.Add(notifyGap)
		if l.rounds >= notifyRounds {
			l.due = now.Add(notifyAgain + rand.N(notifyAgain/2)) //nolint:gosec // it keeps devices apart and no secrets
		}
	}
}

// look takes in which links there are.
func (n *notifier) look(present []Link, now time.Time) {
	var kept []*toldLink
	for _, link := range present[:min(len(present), maxLinks)] {
		l := &toldLink{Link: link, due: now}
		for _, old := range n.told {
			if old.ID == link.ID {
				l = old
				l.Link = link
			}
		}
		kept = append(kept, l)
	}
	n.told = kept
}

// wait returns the time until there is something to do.
func (n *notifier) wait(now time.Time) time.Duration {
	next := n.lookAt
	for _, l := range n.told {
		next = earlier(next, l.due)
	}
	return max(next.Sub(now), 0)
}

// farewell tells all links that the gateway is gone.
func (n *notifier) farewell(ctx context.Context) {
	for range notifyRounds {
		for _, l := range n.told {
			if l.rounds > 0 {
				n.tell(ctx, l, byebye)
			}
		}
	}
}

// word is what is told.
type word string

const (
	alive  word = "ssdp:alive"
	byebye word = "ssdp:byebye"
)

// tell sends all notices of a round on a link.
func (n *notifier) tell(ctx context.Context, l *toldLink, w word) {
	var errs []error
	for _, t := range n.server.trees {
		for _, one := range t.notices() {
			errs = append(errs, l.Send(n.server.notice(w, found{one, t}, l.Location)))
		}
	}
	err := firstOf(errs)
	if err != nil && l.trouble == works {
		l.trouble = fails
		n.server.log.WarnContext(ctx, "gateway not announced on a link", "location", l.Location, "error", err)
	}
	if err == nil {
		l.trouble = works
	}
}

// firstOf returns the first error that is one: the others say the same.
func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// notice returns one notice (UDA 1.1 §1.2.2, §1.2.3).
func (s *Server) notice(w word, f found, at netip.AddrPort) []byte {
	head := fmt.Sprintf("NOTIFY * HTTP/1.1\r\nHOST: %s:%d\r\nNT: %s\r\nNTS: %s\r\n", SearchGroup(), SearchPort, f.target, w)
	if w == byebye {
		return fmt.Appendf(nil, "%sUSN: %s\r\nBOOTID.UPNP.ORG: %d\r\nCONFIGID.UPNP.ORG: %d\r\n\r\n", head, f.usn, s.cfg.Boot()&maxBoot, f.tree.config)
	}
	return s.appendPacket(make([]byte, 0, 512), head, f, at)
}

// LinkOn returns the link for an interface, on a socket that [datagram.ListenGroup]
// opened.
func LinkOn(conn *net.UDPConn, index int, source netip.Addr, location netip.AddrPort) Link {
	type id struct {
		index    int
		source   netip.Addr
		location netip.AddrPort
	}
	sender := datagram.NewSender(conn)
	return Link{ID: id{index, source, location}, Location: location, Send: func(packet []byte) error {
		return sender.Send(packet, netip.AddrPortFrom(SearchGroup(), SearchPort), source, index)
	}}
}
