package setup

import (
	"slices"
	"strconv"

	"doublenat/internal/remedy"
)

// redirect brings NAT-PMP from the LAN to doublenat. It goes before the rules that
// are there: one of them may take everything.
func (c Config) redirect() Step {
	return Step{
		Title: "NAT-PMP requests from the LAN go to doublenat; the match on the LAN keeps the Internet out.",
		Commands: []remedy.Command{
			add(natAdd, []string{"chain", "dstnat", "action", "dst-nat", "protocol", "udp", "dst-port", port}, c.LAN.in(),
				[]string{"dst-address-type", "local", "to-addresses", c.Host.String(), "comment", "NAT-PMP to doublenat"}).Before("chain=dstnat !dynamic"),
		},
	}
}

// port is the port of NAT-PMP (RFC 6886 §3).
const port = "5351"

// add returns a command with the words of all parts.
func add(path string, parts ...[]string) remedy.Command {
	return remedy.NewCommand(path, slices.Concat(parts...)...)
}

// way keeps requests, and what doublenat sends, out of a tunnel where the LAN is led
// into it by a routing rule or a mark. RouterOS decides on the route after dst-nat, but
// rules and marks look at the source; the mangle table comes before dst-nat, so that the
// destination is still the router's own address there.
func (c Config) way() Step {
	s := Step{
		Title: "If routing rules or marks send the LAN into a tunnel, requests to doublenat must stay out of it.",
		Notes: []string{"Otherwise harmless: these match only NAT-PMP and doublenat's own packets."},
	}
	if c.Link != LinkLAN {
		s.Commands = []remedy.Command{
			remedy.NewCommand("/routing/rule/add", "dst-address", host(c.Host), "action", "lookup-only-in-table", "table", "main",
				"comment", "to doublenat").Before(""),
			add(mangleAdd, []string{"chain", "prerouting", "action", "accept", "protocol", "udp", "dst-port", port}, c.LAN.in(),
				[]string{"dst-address-type", "local", "comment", "NAT-PMP to doublenat"}).Before(prerouting),
		}
	}
	if c.Link == LinkBridge { // a rule for the clients' bridge matches what the container sends too
		s.Commands = append(s.Commands, remedy.NewCommand("/routing/rule/add", "src-address", host(c.Host), "action", "lookup-only-in-table", "table", "main",
			"comment", "from doublenat").Before(""))
	}
	for _, own := range c.ownPackets() {
		s.Commands = append(s.Commands, add(mangleAdd, []string{"chain", "prerouting", "action", "accept"}, own, []string{"comment", "from doublenat"}).Before(prerouting))
	}
	return s
}

const prerouting = "chain=prerouting !dynamic"

// ownPackets are matchers for what doublenat sends: all of what a container does, and
// of a host that has other things to do NAT-PMP and the API.
func (c Config) ownPackets() [][]string {
	switch {
	case c.Link == LinkBridge: // others come in by the bridge too
		return [][]string{{"src-address", c.Host.String()}}
	case c.Container.IsValid():
		return [][]string{{"in-interface", vethName}}
	}
	at := c.Host.String()
	own := [][]string{
		{"protocol", "udp", "port", port, "src-address", at},
		{"protocol", "tcp", "dst-port", strconv.Itoa(int(c.APIPort)), "src-address", at, "dst-address-type", "local"},
	}
	if c.UPnP != 0 && c.Link == LinkRouted {
		own = append(own, []string{"protocol", "udp", "src-port", ssdpPort, "src-address", at}, []string{"protocol", "tcp", "src-port", c.upnpPort(), "src-address", at})
	}
	return own
}

// firewall lets the packets of NAT-PMP through firewalls that drop what they do not
// know, as many do that are published.
func (c Config) firewall() Step {
	forward := func(words ...[]string) remedy.Command {
		words = append([][]string{{"chain", "forward", "action", "accept", "protocol", "udp"}}, words...)
		return add(filterAdd, words...).Before("chain=forward !dynamic")
	}
	raw := func(words ...[]string) remedy.Command {
		words = append([][]string{{"chain", "prerouting", "action", "accept"}}, words...)
		return add(rawAdd, words...).Before(prerouting)
	}
	at, gateway := c.Host.String(), c.VPN.Addr().String()
	s := Step{Title: "Let requests from the LAN reach doublenat, and its requests the gateway, whatever forward and raw drop."}
	if c.Link != LinkLAN {
		s.Commands = []remedy.Command{
			forward([]string{"dst-port", port, "dst-address", at}, c.LAN.in(), comment("NAT-PMP to doublenat")),
			forward([]string{"src-port", port, "src-address", at}, c.LAN.out(), comment("NAT-PMP from doublenat")),
		}
	}
	if c.VPN.IsValid() {
		s.Commands = append(s.Commands,
			forward([]string{"dst-port", c.asked(), "src-address", at, "dst-address", gateway}, comment("doublenat to the gateway")))
		if c.Speaks != SpeaksPackets {
			s.Commands = append(s.Commands, remedy.NewCommand(filterAdd, "chain", "forward", "action", "accept", "protocol", "tcp",
				"src-address", at, "dst-address", gateway, "comment", "doublenat to the gateway").Before("chain=forward !dynamic"))
		}
	} else {
		s.Title = "The way from the LAN to doublenat, and of mapped packets to the LAN, whatever forward and raw drop."
	}
	if c.Tunnel != "" {
		s.Commands = append(s.Commands, remedy.NewCommand(filterAdd, "chain", "forward", "action", "accept", "connection-state", "new",
			"connection-nat-state", "dstnat", "in-interface", c.Tunnel, "comment", "mapped by doublenat").Before("chain=forward !dynamic"))
	} else {
		s.Notes = []string{"The forward chain must accept dst-natted packets from the gateway as well: doublenat check says if it does not."}
	}
	if c.STUN.IsValid() {
		number, server := strconv.Itoa(int(c.STUN.Port())), c.STUN.Addr().String()
		s.Commands = append(s.Commands, forward([]string{"dst-port", number, "src-address", at, "dst-address", server}, comment("doublenat to the STUN server")),
			raw(append([]string{"protocol", "udp", "src-port", number, "src-address", server}, c.arriving()...), comment("the STUN server to doublenat")))
		s.Notes = append(s.Notes, "The STUN server has to be asked through "+c.Tunnel+": docs/pool.md has the route for it.")
	}
	for _, own := range c.ownPackets() {
		s.Commands = append(s.Commands, raw(own, comment("from doublenat")))
	}
	if !c.VPN.IsValid() {
		return s
	}
	if c.Found {
		s.Notes = append(s.Notes, "The gateway is "+gateway+" as long as the default route leads there: print these lines again when it is another one.")
	}
	if c.Speaks != SpeaksPackets { // It answers over TCP, too, and searches from a port of its choice.
		s.Commands = append(s.Commands, raw(append([]string{"src-address", gateway}, c.arriving()...), comment("the gateway to doublenat")))
		return s
	}
	answers := []string{"protocol", "udp", "src-port", strconv.Itoa(int(c.VPN.Port())), "src-address", gateway}
	s.Commands = append(s.Commands, raw(append(answers, c.arriving()...), comment("the gateway to doublenat")))
	return s
}

// asked are the ports at which the gateway is asked over UDP.
func (c Config) asked() string {
	if c.Speaks == SpeaksAny {
		return ssdpPort + "," + port
	}
	return strconv.Itoa(int(c.VPN.Port()))
}

// ssdpPort is where devices of UPnP are searched for.
const ssdpPort = "1900"

// arriving matches the interface to the gateway, if that is known.
func (c Config) arriving() []string {
	if c.Tunnel == "" {
		return nil
	}
	return []string{"in-interface", c.Tunnel}
}

// comment returns the argument.
func comment(text string) []string { return []string{"comment", text} }

// late gives packets that doublenat sends long after the request the address that
// clients know. Without an entry of the connection, which lasts half a minute to three,
// the router has no reason to put its own address there, and clients drop them.
func (c Config) late() Step {
	return Step{
		Title: "Packets that doublenat sends on its own, such as a changed address, come from the router's address, as replies do.",
		Commands: []remedy.Command{
			add(natAdd, []string{"chain", "srcnat", "action", "masquerade", "protocol", "udp", "src-port", port, "src-address", c.Host.String()},
				c.LAN.out(), comment("NAT-PMP from doublenat")).Before("chain=srcnat !dynamic"),
		},
	}
}

// builtin switches the router's own NAT-PMP off, where there is one.
func (c Config) builtin() Step {
	return Step{
		Title:    "The router's own NAT-PMP server uses the same port.",
		Commands: []remedy.Command{remedy.NewCommand("/ip/nat-pmp/set", "enabled", "no")},
	}
}

// heed has what is the operator's to decide: it is about all traffic of the router.
func (c Config) heed() Step {
	tunnel := c.Tunnel
	if tunnel == "" {
		tunnel = "the interface to it"
	}
	first := "Requests to the gateway must come from the router's own address towards it: masquerade what leaves through " + tunnel + "."
	if !c.VPN.IsValid() {
		first = "The ports of the pool must reach the router at " + tunnel + ": forward them in the provider's web page, or on the box before the router."
	}
	return Step{
		Title: "Nothing to type here: what to look at yourself. doublenat check looks at all of it.",
		Notes: []string{
			first,
			"rp-filter=strict in /ip settings drops packets that arrive on another interface than their replies would leave by:",
			"with routing rules or marks set it to loose.",
			"Connections that stall after the first packets: clamp the MSS of TCP to the path MTU in forward (docs/routing.md).",
			"FastTrack skips mangle marks and, some report, routing rules: exclude connections through " + tunnel + " from it.",
		},
	}
}
