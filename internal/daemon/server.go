package daemon

import (
	"context"
	"errors"
	"time"

	"doublenat/internal/datagram"
	"doublenat/internal/frontend"
	"doublenat/internal/ops"
	"doublenat/natpmp"
	"doublenat/pcp"
)

// makeServer makes what answers clients on one socket, in the protocols that are spoken.
func (d *Daemon) makeServer() error {
	spoken, err := d.protocols()
	if err != nil {
		return err
	}
	d.updater = frontend.NewUpdater(d.frontend, d.epoch.Seconds)
	d.server, err = datagram.NewServer(datagram.Config{Protocol: spoken, Admit: d.admit, Rank: d.rank, Logger: d.log.With("component", "server")})
	return err
}

// protocols returns who reads a packet of a version. Without PCP all that is not NAT-PMP
// gets a version error of NAT-PMP, which sends clients of PCP there (RFC 6887 §9).
func (d *Daemon) protocols() (func(version byte) datagram.Protocol, error) {
	old, err := natpmp.NewResponder(natpmp.ResponderConfig{Handler: d.timed(d.frontend), Epoch: d.epoch, AtOnce: d.atOnce})
	if err != nil {
		return nil, err
	}
	if !d.cfg.PCP {
		return func(byte) datagram.Protocol { return old }, nil
	}
	young, err := pcp.NewResponder(pcp.ResponderConfig{
		Handler: timedPCP{d.frontend, d}, Epoch: d.epoch.Seconds, Mismatch: d.frontend.Mismatch,
	})
	if err != nil {
		return nil, err
	}
	return func(version byte) datagram.Protocol {
		if version == natpmp.Version {
			return old
		}
		return young
	}, nil
}

// timedPCP is a handler that tells how long clients wait for their answer.
type timedPCP struct {
	pcp.Handler

	d *Daemon
}

func (h timedPCP) ServePCP(ctx context.Context, from pcp.Arrival, req pcp.Request) pcp.Reply {
	reply := h.Handler.ServePCP(ctx, from, req)
	if h.d.role() != roleActive {
		return pcp.Silence() // as by NAT-PMP
	}
	h.d.monitor.Observe(ops.HopLAN, time.Since(from.At))
	return reply
}

// stateLost has the epoch begin anew: clients ask again for what they had.
func (d *Daemon) stateLost() {
	d.epoch.Reset()
	d.frontend.StateLost()
	if d.upnp != nil {
		d.upnp.boot.begin(time.Now())
		d.upnp.server.Renotify()
	}
}

// inAllWords has links announce in all protocols that are spoken.
func (d *Daemon) inAllWords(look func() []natpmp.AnnouncementLink) func() []natpmp.AnnouncementLink {
	if !d.cfg.PCP {
		return look
	}
	return func() []natpmp.AnnouncementLink {
		all := look()
		for i := range all {
			all[i].AnnouncementSender = alsoPCP{all[i].AnnouncementSender, d.epoch}
		}
		return all
	}
}

// alsoPCP announces in the words of PCP too what is announced by NAT-PMP (RFC 6887 §14.1.1).
type alsoPCP struct {
	natpmp.AnnouncementSender

	epoch *natpmp.Epoch
}

// Announce implements [natpmp.AnnouncementSender].
func (a alsoPCP) Announce(packet []byte) error {
	return errors.Join(
		a.AnnouncementSender.Announce(packet),
		a.AnnouncementSender.Announce(pcp.Response{Opcode: pcp.OpAnnounce, Epoch: a.epoch.Seconds()}.Append(nil)),
	)
}
