package check

import (
	"context"
	"fmt"
	"net/netip"

	"doublenat/igd"
	"doublenat/internal/remedy"
	"doublenat/internal/router"
	"doublenat/internal/walk"
)

// upnp looks at the router's part of UPnP: whether its own is off, and whether what is sent to
// it gets to doublenat.
type upnp struct{ onRouter }

// The kinds of trouble with the router's part of UPnP.
const (
	// KindOwnUPnP is a router that answers UPnP itself.
	KindOwnUPnP remedy.Kind = "built-in upnp"
	// KindRedirects is a router that tells the container to answer clients directly.
	KindRedirects remedy.Kind = "send-redirects"
	// KindUPnPLost is a router that does not hand UPnP on to doublenat.
	KindUPnPLost remedy.Kind = "upnp lost"
	// KindUnicastOnly is a doublenat that no search by multicast reaches.
	KindUnicastOnly remedy.Kind = "unicast only"
)

// offer is what clients of a protocol ask at the router.
type offer struct {
	what     string // for people, in the plural: "client requests"
	comment  string // of rules for it
	protocol string
	port     uint16
}

// Name implements Probe.
func (upnp) Name() string { return "upnp" }

// Run implements Probe.
func (upnp) Run(ctx context.Context, v *visit) (found []Finding, err error) {
	switch {
	case v.cfg.Ways == nil:
		return nil, nil
	case v.cfg.Ways.UPnP == 0:
		return []Finding{good("UPnP is off: UPNP=on is for consoles, Plex, Monero, I2P and games, which speak nothing else")}, nil
	}
	if _, err := v.router(ctx); err != nil {
		return nil, err
	}
	if found, err = v.ownUPnP(ctx); err != nil {
		return nil, err
	}
	if !v.target.IsValid() || v.net.Owns(v.target) {
		return found, nil // there is no doublenat behind this router, and that is said
	}
	networks := v.clientNetworks()
	if len(networks) == 0 || networks[0].Prefix.Contains(v.target) {
		return found, nil // clients reach it without the router
	}
	exits := v.net.Exits(mainTable, v.target)
	if len(exits) != 1 {
		return found, nil
	}
	link := linkOf(networks[0].Interface, exits[0])
	found = append(found, v.handedOn(networks, exits[0], link)...)
	switch link {
	case linkBridge:
		quiet, err := v.redirectsSent(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, quiet...)
	case linkRouted:
		found = append(found, bad(Warn, KindUnicastOnly,
			fmt.Sprintf("searches by multicast stay on %s, and doublenat is behind %s: consoles, Plex and games do not find it", networks[0].Interface, exits[0]),
			"for those make the container's interface a port of the clients' bridge: doublenat setup --bridge prints how"))
	}
	if len(found) == 0 {
		found = append(found, good("UPnP that is sent to the router reaches doublenat, and searches by multicast do on %s", exits[0]))
	}
	return found, nil
}

// link is how doublenat is linked with its clients.
type link uint8

const (
	linkRouted link = iota // behind another interface of the router
	linkBridge             // behind the clients' own, in a subnet of its own
)

// linkOf returns the link of a doublenat that the router reaches by one interface, and its
// clients by another or the same.
func linkOf(clients, exit string) link {
	if clients == exit {
		return linkBridge
	}
	return linkRouted
}

// ownUPnP looks whether the router answers UPnP itself.
func (v *visit) ownUPnP(ctx context.Context) ([]Finding, error) {
	rows, err := v.rows(ctx, "/ip/upnp")
	if err != nil && !refused(err) {
		return nil, err
	}
	if len(rows) == 0 || !isOn(rows[0]) {
		return nil, nil
	}
	return []Finding{bad(Fail, KindOwnUPnP, "the router's own UPnP is enabled, on the same port: clients map ports there that no gateway beyond knows",
		"disable it", remedy.NewCommand("/ip/upnp/set", "enabled", "no"))}, nil
}

// redirectsSent looks whether the router tells the container by ICMP to answer clients directly,
// which it does where both are behind one interface: the answers then come from an address
// that no client asked.
func (v *visit) redirectsSent(ctx context.Context) ([]Finding, error) {
	rows, err := v.rows(ctx, "/ip/settings")
	if err != nil && !refused(err) {
		return nil, err
	}
	if len(rows) == 0 || !rows[0].Bool("send-redirects") && rows[0].Value("send-redirects") != "yes" {
		return nil, nil
	}
	return []Finding{bad(Fail, KindRedirects,
		"the router sends ICMP redirects: the container shares a bridge with its clients, and answers them directly, from an address that they did not ask",
		"switch them off", remedy.NewCommand("/ip/settings/set", "send-redirects", "no"))}, nil
}

// services are what clients of UPnP ask at the router.
func (w *Ways) services() []offer {
	return []offer{
		{"searches for UPnP", router.RedirectUPnP, "udp", igd.SearchPort},
		{"actions of UPnP", router.RedirectUPnP, "tcp", w.UPnP},
	}
}

// handedOn follows what clients send to the router's address to doublenat and back.
func (v *visit) handedOn(networks []clients, exit string, l link) (found []Finding) {
	for _, s := range v.cfg.Ways.services() {
		if !v.redirected(networks[0], s) {
			f := v.noUPnP(networks[0], s, l)
			if after, ok := v.apply(f.Advice.Commands); ok {
				v.net = after
			}
			found = append(found, f)
		}
		way := v.requestLeg(networks, exit, s)
		if len(way.flows) == 0 {
			continue
		}
		found = append(found, v.solve(way, func(p problem) Finding { return v.mend(KindUPnPLost, way, p) })...)
	}
	return found
}

// redirected reports whether the router hands a service on to doublenat.
func (v *visit) redirected(n clients, s offer) bool {
	f := walk.Flow{
		In: n.Interface, Protocol: s.protocol, Src: netip.AddrPortFrom(n.hosts[0], clientPort), Dst: netip.AddrPortFrom(n.Prefix.Addr(), s.port),
	}
	got := v.net.Redirect(f, true)
	return got.How == walk.Unsure || got.How == walk.Arrives && got.Dst.Addr() == v.target
}

// noUPnP is the finding for a service that the router keeps. On the clients' bridge most of
// them do not need it.
func (v *visit) noUPnP(n clients, s offer, l link) Finding {
	level, whom := Fail, "clients that ask the router do not reach doublenat"
	if l == linkBridge {
		level, whom = Warn, "clients that search at their gateway, or compare doublenat's address with it, do not find it"
	}
	words := append([]string{"chain", "dstnat", "action", "dst-nat", "protocol", s.protocol, "dst-port", port(s.port)}, v.lanOf(n)...)
	words = append(words, "dst-address-type", "local", "to-addresses", v.target.String(), "comment", s.comment)
	c := remedy.NewCommand(natPath+"/add", words...).Before("chain=dstnat !dynamic")
	return bad(level, KindUPnPLost, fmt.Sprintf("%s port %d of the router is not redirected: %s", s.protocol, s.port, whom), "redirect it to doublenat", c)
}
