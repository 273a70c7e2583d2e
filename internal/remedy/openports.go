package remedy

import "doublenat/internal/nat"

// OpenPorts says how the ports that are open fare while a hop is broken. Its values are part
// of the API.
type OpenPorts string

// How open ports fare, from well to badly.
const (
	// PortsWork is that they go on working.
	PortsWork OpenPorts = "work"
	// PortsExpire is that they work until their leases end, because nobody can renew them.
	PortsExpire OpenPorts = "expire"
	// PortsUnsure is that doublenat cannot know.
	PortsUnsure OpenPorts = "unsure"
	// PortsPartly is that some work and some do not.
	PortsPartly OpenPorts = "partly"
	// PortsClosed is that the Internet does not reach them.
	PortsClosed OpenPorts = "closed"
)

// Meanwhile says for people how the open ports fare while a hop is broken: [nat.HopNone] is
// doublenat itself, and the public address is the gateway's.
func (o OpenPorts) Meanwhile(broken nat.Hop) string {
	switch o {
	case PortsExpire:
		if broken == nat.HopNone {
			return "Open ports work until their leases end: clients cannot renew them."
		}
		return "Open ports work until their leases end, if packets still get through."
	case PortsUnsure:
		if broken == nat.HopRouter {
			return "Open ports go on working if the router itself runs: their rules are on it."
		}
		return "Open ports may go on working, but their public address is not known."
	case PortsPartly:
		return "Ports whose rules are in order go on working, the others are closed."
	case PortsClosed:
		return "Open ports cannot be reached from the Internet."
	case PortsWork:
	}
	return "Open ports go on working."
}

// WhileLost says the same about a hop that does not answer.
func WhileLost(lost nat.Hop) string {
	switch lost {
	case nat.HopRouter:
		return PortsUnsure.Meanwhile(lost)
	case nat.HopGateway:
		return PortsExpire.Meanwhile(lost)
	case nat.HopNone:
	}
	return ""
}
