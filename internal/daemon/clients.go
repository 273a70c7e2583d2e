package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"doublenat/internal/config"
	"doublenat/internal/datagram"
	"doublenat/internal/frontend"
	"doublenat/internal/nat"
)

// minCreateBurst is for clients that may have few mappings at a time.
const minCreateBurst = 32

// makeFrontend makes what answers clients: who may ask, for what, and how often.
func (d *Daemon) makeFrontend(Options) (err error) {
	d.frontend, err = frontend.New(frontend.Config{
		Core: d.core(), External: d.gateway.External, Settled: d.gateway.Settled(),
		Allow: d.cfg.AllowedClients, Deny: d.cfg.DeniedClients, Exclude: d.notAClient, Relay: d.net.relay(),
		ClientRate: d.cfg.ClientRate, NewClientRate: d.cfg.NewClientRate, Holds: d.holders.has,
		CreateBurst: d.createBurst(), CreateRate: d.createRate(), CreateRateBurst: d.cfg.MaxMappings, Mapped: d.stands,
		Ports: d.allows, ZeroPort: d.cfg.ZeroPort, StrictNonce: d.cfg.StrictNonce,
		Mappings: d.service.Mappings, Since: func() time.Time { return *d.since.Load() },
		Logger: d.log.With("component", "frontend"),
	})
	if err != nil {
		return err
	}
	listen := d.cfg.Listen.Addr()
	d.internal = slices.Concat(frontend.DefaultAllow(), d.cfg.AllowedClients, []netip.Prefix{netip.PrefixFrom(listen, listen.BitLen())})
	return d.makeServer()
}

// createBurst is how many new mappings a client may ask for at once: all that it may
// have twice, for the sake of programs that map, delete and map again.
func (d *Daemon) createBurst() int {
	if d.notebook != nil {
		return 0 // Nothing is made, and clients are told why.
	}
	return max(2*d.cfg.MaxMappingsPerClient, minCreateBurst)
}

// createRate is how many new mappings all clients may ask for in a second. At once they
// may have all that there can be: a whole LAN comes back after a power cut.
func (d *Daemon) createRate() int {
	if d.notebook != nil {
		return 0 // As createBurst.
	}
	return d.cfg.CreateRate
}

// rank says what a request has to lose by waiting. The public address is known and needs no
// work; a mapping that is being deleted is not renewed but made anew, once its rule is gone.
func (d *Daemon) rank(client netip.Addr, about datagram.Subject) datagram.Rank {
	key := nat.Key{Client: client, Protocol: frontend.ProtocolOf(about.Protocol), InternalPort: about.Port}
	switch {
	case !d.holders.has(client):
		return datagram.RankStranger
	case about.Effect == datagram.Looks, about.Effect == datagram.Makes && d.stands(key):
		return datagram.RankRenewal
	default:
		return datagram.RankHolder
	}
}

// stands says whether there is a mapping that can be renewed. One that is about to be
// taken down because its time is over is not: a request for it makes another.
func (d *Daemon) stands(key nat.Key) bool {
	m, ok := d.service.Mapping(key)
	return ok && !m.Closing && time.Now().Before(m.Until)
}

// notAClient says whether nothing must be forwarded to an address: the gateway's,
// those of the router, its end of the tunnel among them, and what is no host's. A gateway on loopback
// is one of a lab, in which all may have the one address.
func (d *Daemon) notAClient(a netip.Addr) bool {
	return a == d.router.Gateway() && !a.IsLoopback() || d.router.Owns(a) || !d.router.Hosts(a)
}

// errLoopback is what a program meets that asks at 127.0.0.1.
var errLoopback = errors.New("the client's address is loopback, where the router would forward to itself; ask at an address of the LAN")

// elsewhere is a core for a router that is another host than this one: it refuses
// loopback clients before anything is asked of the two layers.
type elsewhere struct{ frontend.Core }

// Map passes a request on.
func (e elsewhere) Map(ctx context.Context, req nat.MapRequest) (nat.Grant, error) {
	if req.Key.Client.IsLoopback() {
		return nat.Grant{}, &nat.Error{Reason: nat.ReasonDenied, Err: errLoopback}
	}
	return e.Core.Map(ctx, req)
}

// allows says whether clients may open this port of theirs.
func (d *Daemon) allows(port uint16) bool {
	return has(d.cfg.AllowedPorts, port) && !has(d.cfg.DeniedPorts, port)
}

// has says whether one of the ranges has the port.
func has(ranges []config.PortRange, port uint16) bool {
	return slices.ContainsFunc(ranges, func(r config.PortRange) bool { return r.First <= port && port <= r.Last })
}

// admit drops what was not sent to an internal address, or does not come from a
// client (RFC 6886 §3.3: requests to the external address must not be accepted).
// Internal is more than the clients' networks: the container that we run in has a
// network of its own, and our own address may be among those that are denied.
func (d *Daemon) admit(a datagram.Arrival) bool {
	if d.role() != roleActive {
		return false // Clients ask again, and the active one answers them.
	}
	within := func(p netip.Prefix) bool { return p.Contains(a.Destination) }
	if a.Destination.IsValid() && !slices.ContainsFunc(d.internal, within) {
		return false
	}
	return d.frontend.Admit(a)
}
