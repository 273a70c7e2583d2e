package natpmptest

import (
	"errors"
	"net/netip"
	"time"

	"doublenat/natpmp"
)

// outgoing is a packet that answers a request, truly or not.
type outgoing struct {
	payload   []byte
	elsewhere bool // it comes from Config.Elsewhere
}

// carryOut does what a packet asks for and returns what to send, in this order:
// a lie, when it is time for one, and the reply.
func (g *Gateway) carryOut(from, local netip.AddrPort, payload []byte) (out []outgoing) {
	g.update(func(now time.Time) {
		g.journal.add(Packet{At: now, Kind: PacketDelivered, From: from, To: local, Payload: payload})
		if g.profile.Silent || g.refusing {
			g.stats.Ignored++
			return
		}
		d := &Desk{Now: now, Client: from.Addr(), Epoch: g.replyEpochLocked(now), gateway: g}
		var reply []byte
		if g.cfg.Speak != nil {
			reply = g.cfg.Speak(d, payload)
		} else {
			reply = d.NATPMP(payload)
		}
		if reply == nil {
			g.stats.Ignored++
			return
		}
		g.stats.Results[natpmp.ResultCode(uint16(reply[2])<<8|uint16(reply[3]))]++
		if lie, ok := g.lieLocked(reply); ok {
			out = append(out, lie)
		}
		g.previous = reply
		if !g.profile.LiesOnly {
			out = append(out, outgoing{payload: reply})
		}
	})
	return out
}

// answerLocked returns the true reply to a packet, or nil for none.
func (g *Gateway) answerLocked(now time.Time, client netip.Addr, epoch uint32, payload []byte) []byte {
	if g.profile.PCPOnly {
		return pcpReply(payload, epoch)
	}
	req, err := natpmp.ParseRequest(payload)
	switch {
	case errors.Is(err, natpmp.ErrUnsupportedVersion):
		if g.profile.EchoesErrors && payload[0] == 1 {
			return nil
		}
		return natpmp.AppendVersionError(nil, natpmp.Opcode(payload[1]), epoch)
	case errors.Is(err, natpmp.ErrUnsupportedOpcode):
		if g.profile.EchoesErrors {
			return natpmp.AppendOpcodeError(nil, payload[:2], epoch)
		}
		return natpmp.AppendOpcodeError(nil, payload, epoch)
	case err != nil:
		return nil
	}
	resp := natpmp.Response{Opcode: req.Opcode, Result: g.profile.Result, InternalPort: req.InternalPort}
	switch {
	case resp.Result != natpmp.ResultSuccess:
	case req.Opcode == natpmp.OpExternalAddress:
		resp = g.addressLocked(now)
	case req.Lifetime == 0:
		g.deleteLocked(client, req)
	default:
		resp = g.mapLocked(now, client, req)
	}
	resp.Epoch = epoch
	out := resp.Append(nil)
	if resp.Result != natpmp.ResultSuccess && g.profile.EchoesErrors && req.Opcode != natpmp.OpExternalAddress {
		copy(out[10:], payload[6:12]) // port and lifetime, against RFC 6886 §3.5
	}
	g.profile.Garble.apply(out)
	return out
}

// addressLocked returns the answer to an address request, which is also what is announced.
func (g *Gateway) addressLocked(now time.Time) natpmp.Response {
	r := natpmp.Response{Opcode: natpmp.OpExternalAddress, Epoch: g.epochLocked(now), Address: g.address}
	if !g.address.IsValid() {
		r.Result = natpmp.ResultNetworkFailure
	}
	return r
}

// deleteLocked ends the lease of one port or, for internal port 0, of all of them
// (RFC 6886 §3.4). It is a success whatever there was.
func (g *Gateway) deleteLocked(client netip.Addr, req natpmp.Request) {
	both := g.profile.WipesBothProtocols && req.InternalPort == 0
	n := g.table.dropIf(func(l *lease) bool {
		return l.client == client && (both || l.protocol == req.Opcode) &&
			(req.InternalPort == 0 || l.internal == req.InternalPort)
	})
	g.stats.Deletes++
	g.changed = g.changed || n > 0
}

// mapLocked makes or renews a lease.
func (g *Gateway) mapLocked(now time.Time, client netip.Addr, req natpmp.Request) natpmp.Response {
	resp := natpmp.Response{Opcode: req.Opcode, InternalPort: req.InternalPort}
	if req.InternalPort == 0 && !g.profile.Symmetric {
		resp.Result = natpmp.ResultNotAuthorized
		return resp
	}
	seconds, keep := g.profile.grant(req.Lifetime)
	expires := now.Add(time.Duration(seconds) * time.Second)
	l := g.standingLocked(client, req)
	if l == nil {
		if req.SuggestedExternalPort == 0 && g.profile.ZeroSuggestion != natpmp.ResultSuccess {
			resp.Result = g.profile.ZeroSuggestion
			return resp
		}
		if l = g.createLocked(client, req, expires); l == nil {
			resp.Result = natpmp.ResultOutOfResources
			return resp
		}
		g.stats.Creates++
	} else {
		g.renewLocked(now, l, req, expires)
	}
	l.last, l.lastAt = req, now
	if !keep {
		g.table.drop(l)
		g.changed = true
	}
	resp.ExternalPort, resp.Lifetime = l.external, seconds
	switch {
	case req.InternalPort == 0 && req.SuggestedExternalPort == 0:
		resp.InternalPort = l.internal
	case g.profile.WrongInternal:
		resp.InternalPort = max(req.InternalPort+1, 1)
	}
	return resp
}

// grant returns the lifetime that is answered, in seconds, and whether there is a
// lease for that time.
func (p *Profile) grant(asked uint32) (seconds uint32, keep bool) {
	limit := uint32(p.Lifetime / time.Second) //nolint:gosec // a profile's lifetime fits
	switch {
	case p.FixedLifetime:
		return limit, limit > 0
	case p.DropsHugeLifetimes && asked >= 1<<31:
		return asked, false
	case limit > 0:
		return min(asked, limit), true
	default:
		return asked, true
	}
}

// standingLocked returns the lease that a request renews, or nil.
func (g *Gateway) standingLocked(client netip.Addr, req natpmp.Request) *lease {
	if req.InternalPort == 0 {
		return g.table.symmetric(client, req.Opcode)
	}
	if !g.profile.DoublesMappings {
		return g.table.find(client, req.Opcode, req.InternalPort)
	}
	// miniupnpd knows a lease by its external port only: it walks upward from the
	// suggested one until a port is free or already goes to this client's port.
	port := req.SuggestedExternalPort
	if port == 0 {
		port = req.InternalPort
	}
	for ; port != 0; port++ {
		l := g.table.at(req.Opcode, port)
		if l == nil {
			return nil
		}
		if l.client == client && l.internal == req.InternalPort {
			return l
		}
	}
	return nil
}

// createLocked makes a lease, or returns nil when there is no room or no port.
func (g *Gateway) createLocked(client netip.Addr, req natpmp.Request, expires time.Time) *lease {
	l := &lease{
		protocol: req.Opcode, client: client, internal: req.InternalPort,
		symmetric: req.InternalPort == 0, expires: expires,
	}
	p := &g.profile
	if p.MaxLeases > 0 && len(g.table.byPublic) >= p.MaxLeases {
		return nil
	}
	known := len(g.table.byClient[clientPort{client, l.internal}]) > 0 ||
		l.symmetric && g.table.symmetric(client, other(l.protocol)) != nil
	if p.MaxPorts > 0 && !known && g.table.ports(client) >= p.MaxPorts {
		return nil
	}
	port, ok := g.chooseLocked(l, req.SuggestedExternalPort)
	if !ok {
		return nil
	}
	l.external = port
	if l.symmetric {
		l.internal = port
	}
	g.table.add(l)
	g.changed = true
	return l
}

// renewLocked prolongs a lease, and moves it when the profile says so.
func (g *Gateway) renewLocked(now time.Time, l *lease, req natpmp.Request, expires time.Time) {
	g.stats.Renewals++
	l.renewals++
	l.expires = expires
	g.table.touch(l)
	p := &g.profile
	rotates := p.RotateEvery > 0 && l.renewals%p.RotateEvery == 0
	repeats := p.RepeatWindow > 0 && req == l.last && now.Sub(l.lastAt) <= p.RepeatWindow
	if rotates || repeats {
		g.moveLocked(l)
	}
}
