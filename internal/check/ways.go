package check

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"doublenat/internal/nat"
)

// Ways are those by which clients may ask doublenat besides NAT-PMP, and how the doctor asks
// as they do.
type Ways struct {
	// PCP is set where doublenat is to answer PCP (PCP=on).
	PCP bool
	// UPnP is the TCP port of descriptions and actions (UPNP_ADDR) where it is to answer
	// UPnP, 0 for UPNP=off.
	UPnP uint16
	// Home is where doublenat itself answers PCP, on this host.
	Home netip.AddrPort
	// Dial connects to doublenat, or to another device, as a client: network is "udp" or
	// "tcp". Required with PCP or UPnP.
	Dial func(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error)
	// Search opens a UDP socket for searches, whose packets leave into the clients'
	// network. Required with UPnP.
	Search func(ctx context.Context) (net.PacketConn, error)
}

// check returns what is missing, nil if nothing is.
func (w *Ways) check() error {
	switch {
	case w == nil || !w.PCP && w.UPnP == 0:
		return nil
	case w.Dial == nil, w.UPnP != 0 && w.Search == nil:
		return errNoWay
	case !w.Home.Addr().Is4():
		return errNoHome
	}
	return nil
}

// asClient is embedded in probes that ask doublenat as a client does.
type asClient struct{}

// Hop returns doublenat itself.
func (asClient) Hop() nat.Hop { return nat.HopNone }

// atHome reports whether this host is doublenat's: there the router does not redirect requests.
func (v *visit) atHome() bool {
	return len(v.cfg.Self) == 0 || !v.target.IsValid() || slices.Contains(v.cfg.Self, v.target)
}

// door is where a client on this host asks: the router, which redirects it, or doublenat
// itself where this host is doublenat's.
func (v *visit) door() netip.AddrPort {
	if v.atHome() || !v.cfg.Service.IsValid() {
		return v.cfg.Ways.Home
	}
	return netip.AddrPortFrom(v.cfg.Service.Addr(), v.cfg.Ways.Home.Port())
}

// whom names for people who was asked at the door.
func (v *visit) whom() string {
	if v.atHome() {
		return fmt.Sprintf("doublenat at %v", v.door())
	}
	return fmt.Sprintf("doublenat, asked at the router's %v,", v.door())
}
