package setup

import (
	"strconv"

	"doublenat/internal/remedy"
)

// Link says how doublenat's host is linked with the clients. It decides which searches of
// UPnP reach it.
type Link uint8

const (
	// LinkRouted is a network of its own behind the router: a veth with nothing else on it,
	// or a host in another subnet. Searches by multicast stay with the clients.
	LinkRouted Link = iota
	// LinkBridge is a container whose veth is a port of the clients' bridge, with a network of
	// its own on it.
	LinkBridge
	// LinkLAN is a host in the clients' own network.
	LinkLAN
)

// checkLink returns why the link cannot be, nil if it can.
func (c Config) checkLink() error {
	switch {
	case (c.Link == LinkBridge) != (c.Bridge != ""):
		return errBridge
	case c.Link == LinkBridge && !c.Container.IsValid():
		return errNoContainer
	case c.Link == LinkLAN && c.Container.IsValid():
		return errContainerOnLAN
	}
	return nil
}

// veth is the interface by which packets of the container come in: its own, or the bridge.
func (c Config) veth() string {
	if c.Link == LinkBridge {
		return c.Bridge
	}
	return vethName
}

// upnp brings UPnP from the LAN to doublenat, as far as the link lets it. Everything goes before
// the rules that are there, as with NAT-PMP.
func (c Config) upnp() Step {
	s := Step{
		Title:    "UPnP from the LAN goes to doublenat: searches at UDP 1900, descriptions and actions at TCP " + c.upnpPort() + ".",
		Notes:    append(c.upnpReach(), unproved),
		Commands: []remedy.Command{remedy.NewCommand("/ip/upnp/set", "enabled", "no")},
	}
	if c.Link == LinkLAN {
		return s // clients reach it without the router
	}
	if c.Link == LinkBridge {
		s.Commands = append(s.Commands, remedy.NewCommand("/ip/settings/set", "send-redirects", "no"))
	}
	to, from := comment("UPnP to doublenat"), comment("UPnP from doublenat")
	at, local := []string{"dst-address", c.Host.String()}, []string{"dst-address-type", "local"}
	for _, service := range [][]string{{"protocol", "udp", "dst-port", ssdpPort}, {"protocol", "tcp", "dst-port", c.upnpPort()}} {
		s.Commands = append(s.Commands,
			add(natAdd, []string{"chain", "dstnat", "action", "dst-nat"}, service, c.LAN.in(), local, []string{"to-addresses", c.Host.String()}, to).Before("chain=dstnat !dynamic"),
			add(mangleAdd, []string{"chain", "prerouting", "action", "accept"}, service, c.LAN.in(), local, to).Before(prerouting),
			add(mangleAdd, []string{"chain", "prerouting", "action", "accept"}, service, c.LAN.in(), at, to).Before(prerouting),
			add(filterAdd, []string{"chain", "forward", "action", "accept"}, service, at, c.LAN.in(), to).Before("chain=forward !dynamic"),
			add(filterAdd, []string{"chain", "forward", "action", "accept", "protocol", service[1], "src-port", service[3], "src-address", c.Host.String()}, c.LAN.out(), from).
				Before("chain=forward !dynamic"))
	}
	return s
}

// upnpPort is the TCP port of descriptions and actions.
func (c Config) upnpPort() string { return strconv.Itoa(int(c.UPnP)) }

// unproved marks what was measured with Linux, and not with RouterOS.
const unproved = "Which searches arrive was measured with the bridge and NAT of Linux, and has not been tried on a real RouterOS."

// upnpReach says which searches arrive.
func (c Config) upnpReach() []string {
	off := "The router's own UPnP must be off: it takes the same port, and clients would find two gateways."
	switch c.Link {
	case LinkBridge:
		return []string{
			off,
			"Searches by multicast arrive, for the container is a port of the clients' bridge; NAT-PMP is redirected as before,",
			"for it has a subnet of its own there. send-redirects=no keeps the router from telling the container to answer clients",
			"directly, which it would do from an address that they did not ask. With igmp-snooping=yes on the bridge, multicast",
			"needs a querier there: multicast-querier=yes.",
		}
	case LinkLAN:
		return []string{
			off,
			"Searches by multicast arrive, and clients talk to doublenat without the router. Those that compare its address with",
			"their gateway's refuse it. A dst-nat of TCP " + c.upnpPort() + " does not help them: in one subnet it takes a masquerade too, and that",
			"hides the client, for which doublenat makes no mapping then.",
		}
	case LinkRouted:
	}
	s := []string{
		off,
		"Only searches that are sent to the router itself arrive, as tailscale sends them, and programs that are given the description's",
		"URL, as upnpc -u is. Consoles, Plex and games search by multicast, which no router forwards; a dst-nat of 239.255.255.250",
		"counts packets and forwards none.",
	}
	if c.Container.IsValid() {
		return append(s, "For those print this again with --bridge and the name of the clients' bridge.")
	}
	return append(s, "For those run doublenat in a container with --bridge, or on a host in the clients' network (--on-lan).")
}

// ways says which protocols of clients are answered, and who profits from those that are not.
func (c Config) ways() Step {
	s := Step{Title: "Nothing to type here: the protocols that programs can use. NAT-PMP is always answered."}
	if c.Link == LinkLAN {
		s.Notes = []string{
			"NAT-PMP and PCP cannot be redirected into the clients' own network: replies would pass the router by. They are for programs",
			"that can be told to ask " + c.Host.String() + ", as libtorrent 2.0.12 can by natpmp_gateway.",
		}
	}
	if c.variable("PCP") != "on" {
		s.Notes = append(s.Notes, "PCP=on answers PCP at the same port, without another rule: switch it on for Apple devices, which then",
			"learn of a changed port at once, and for NetBird, which otherwise announces a wrong one.")
	}
	switch {
	case c.UPnP == 0:
		s.Notes = append(s.Notes, "UPNP=on answers UPnP IGD: switch it on for consoles, Plex, Monero, I2P and games, which speak nothing else.",
			"Set it for this command too, and the rules for it are printed.")
	case c.VPN.IsValid() && c.Speaks == SpeaksPackets && !c.Found:
		s.Notes = append(s.Notes, "Most UPnP programs ask for one port and accept no other. A gateway that chooses the port itself, such as",
			"ProtonVPN's, leaves them with error 718: only those that call AddAnyPortMapping (tailscale, upnpc -n) get one.")
	}
	return s
}
