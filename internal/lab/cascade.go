package lab

import (
	"errors"
	"maps"
	"net/netip"

	"doublenat/routeros/routerostest"
)

// Cascade is a bench behind another one: the inner router stands in the LAN of the outer
// one, and the inner daemon's gateway is the outer daemon. Make it and Close it as a [Bench].
type Cascade struct {
	// Outer has the gateway to the Internet, Inner the clients. Neither runs a daemon at first.
	Outer, Inner *Bench
}

const (
	// lineNetwork is the LAN between the two routers, with the outer one's address in it.
	lineNetwork = "192.168.90.1/24"
	// lineRouter is the inner router's address there, by which the outer daemon knows it.
	lineRouter = "192.168.90.2/24"
)

// NewCascade builds both worlds. What inner says of a gateway is ignored. Each router's own LAN
// is that of [NewBench]: nothing of the inner one's is seen outside of it.
func NewCascade(outer, inner BenchConfig) (*Cascade, error) {
	between, self := netip.MustParsePrefix(lineNetwork), netip.MustParsePrefix(lineRouter)
	at := inTunnel()
	at.listen = netip.AddrPortFrom(between.Addr(), at.gateway.Port())
	at.prepare = BeforeAnother
	c := new(Cascade)
	var err error
	if c.Outer, err = newBench(outer, at); err != nil {
		return nil, err
	}
	behind := inTunnel()
	behind.gateway, behind.self, behind.in, behind.upstream = at.listen, self.Addr(), routerostest.WANInterface, c.Outer
	behind.prepare = BehindAnother
	// NAT-PMP is looked for in a tunnel, unless the interface is named.
	environ := map[string]string{"MIKROTIK_IN_INTERFACE": behind.in}
	maps.Copy(environ, inner.Environ)
	inner.Environ = environ
	if c.Inner, err = newBench(inner, behind); err != nil {
		return nil, errors.Join(err, c.Outer.Close())
	}
	return c, nil
}

// Close ends everything, the inner daemon first: while it stops it has something to give back.
func (c *Cascade) Close() error { return errors.Join(c.Inner.Close(), c.Outer.Close()) }

// BeforeAnother gives a router an address in the LAN in which another one stands, 192.168.90.1/24.
func BeforeAnother(r *routerostest.Router) error {
	_, err := r.Add("/ip/address", routerostest.Row{
		"address": lineNetwork, "network": netip.MustParsePrefix(lineNetwork).Masked().Addr().String(),
		"interface": routerostest.LANInterface, "actual-interface": routerostest.LANInterface,
	})
	return err
}

// BehindAnother puts a router's line to the Internet into that LAN, as 192.168.90.2.
func BehindAnother(r *routerostest.Router) error {
	err := errors.New("the router has no address at the line")
	for _, row := range r.Rows("/ip/address") {
		if row["interface"] == routerostest.WANInterface {
			err = r.Set("/ip/address", row[".id"], routerostest.Row{
				"address": lineRouter, "network": netip.MustParsePrefix(lineRouter).Masked().Addr().String(),
			})
		}
	}
	for _, row := range r.Rows("/ip/route") {
		if row["gateway"] == "198.51.100.1" {
			err = errors.Join(err, r.Set("/ip/route", row[".id"], routerostest.Row{"gateway": netip.MustParsePrefix(lineNetwork).Addr().String()}))
		}
	}
	return err
}
