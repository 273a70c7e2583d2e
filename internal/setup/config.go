package setup

import (
	"errors"
	"fmt"
	"net/netip"

	"doublenat/internal/remedy"
	"doublenat/routeros"
)

// Password stands for the password in what is written.
const Password = "CHANGE-ME"

// Version is a version of RouterOS, as far as commands differ.
type Version = remedy.Version

// ParseVersion reads a version, see [remedy.ParseVersion].
func ParseVersion(text string) (Version, error) { return remedy.ParseVersion(text) }

// Config says what router and what doublenat the commands are for.
type Config struct {
	// Version is the router's.
	Version Version
	// Architecture is the router's architecture-name, by which the image is chosen; empty if it is not known.
	Architecture string
	// Host is where doublenat runs, IPv4.
	Host netip.Addr
	// Container is the container's network on the router, with Host in it; the zero
	// Prefix is a doublenat that runs on a host of its own.
	Container netip.Prefix
	// Disk is the disk or folder of the router for what the container needs, "flash" or
	// "usb1" for example; empty for the router's root.
	Disk string
	// User is the user that doublenat logs in as.
	User string
	// Router is the router's name or address as doublenat's host sees it, without a
	// port. A container sees its own end of the network instead.
	Router string
	// TLS is for the service api-ssl. A certificate is made on the router unless
	// Environ says by what the one is known that it has.
	TLS bool
	// Link is how the host is linked with the clients. Bridge is the clients' bridge of
	// which the veth is a port, with LinkBridge alone.
	Link   Link
	Bridge string
	// UPnP is the TCP port of descriptions and actions where UPnP is answered, 0 where it
	// is not.
	UPnP uint16
	// APIPort is the port of the service that is used.
	APIPort uint16
	// LAN is where the clients are.
	LAN LAN
	// VPN is where the gateway is asked, IPv4: its NAT-PMP or PCP address, or the one at which
	// a device of UPnP is searched for. The zero value is a pool of ports, which arrive at
	// Tunnel.
	VPN netip.AddrPort
	// Speaks is how the gateway is asked.
	Speaks Speech
	// Found is set if VPN is the gateway that the router's default route has now.
	Found bool
	// Tunnel is the interface by which the router reaches it; empty if that is not known.
	Tunnel string
	// STUN is the STUN server of a pool, the zero value for none, and for one whose address
	// is not known.
	STUN netip.AddrPort
	// Environ are doublenat's variables, in the order in which the container gets
	// them. The password is not among them.
	Environ []routeros.Attr
	// Notes are about variables that are not among them. Nil for none.
	Notes []string
}

// Speech is how a gateway is asked.
type Speech uint8

const (
	// SpeaksPackets is NAT-PMP and PCP: packets to one port.
	SpeaksPackets Speech = iota
	// SpeaksUPnP is a device of UPnP, which is asked over TCP too, at a port of its choice.
	SpeaksUPnP
	// SpeaksAny is a gateway that may be either.
	SpeaksAny
)

// LAN says where on the router the clients are: in an interface list, or behind one
// interface where the router has no such list. Exactly one of both is set.
type LAN struct {
	// List is the interface list, "LAN" in the default configuration.
	List string
	// Interface is a bridge or an interface.
	Interface string
}

// in returns the matcher for packets that come from the LAN, as name and value.
func (l LAN) in() []string { return l.matcher("in") }

// out returns the matcher for packets that leave to the LAN, as name and value.
func (l LAN) out() []string { return l.matcher("out") }

func (l LAN) matcher(way string) []string {
	if l.Interface != "" {
		return []string{way + "-interface", l.Interface}
	}
	return []string{way + "-interface-list", l.List}
}

// check returns why the configuration cannot be used, nil if it can.
func (c Config) check() error {
	switch {
	case !c.Host.Is4():
		return errors.New("doublenat's host has no IPv4 address")
	case (c.LAN.List == "") == (c.LAN.Interface == ""):
		return errors.New("the LAN is an interface list or an interface")
	case c.Container.IsValid() && (c.Container.Bits() != 30 || !c.Container.Contains(c.Host) || !c.Gateway().IsValid()):
		return fmt.Errorf("%v is no network of two hosts with %v in it", c.Container, c.Host)
	case c.Version.Major < 6 || c.Version.Major > 7:
		return fmt.Errorf("RouterOS %v is not known; example: 7.21", c.Version)
	case c.Container.IsValid() && !c.Version.AtLeast(4):
		return fmt.Errorf("RouterOS %v has no containers, which came with 7.4; give the address of another host", c.Version)
	}
	return errors.Join(c.checkLink(), c.checkGateway())
}

// What a link is refused for.
var (
	errBridge         = errors.New("a veth that is a port of the clients' bridge needs the bridge's name, and no other does")
	errNoContainer    = errors.New("a port of the clients' bridge is for a container on the router")
	errContainerOnLAN = errors.New("a container cannot be in the clients' own network: replies to redirected requests would pass the router by")
)

// checkGateway returns why the way to the gateway is not known, nil if it is.
func (c Config) checkGateway() error {
	switch {
	case c.Found && !c.VPN.IsValid():
		return errors.New("the gateway of VPN_GATEWAY=auto: is that of the router's default route: leave --version out, so that the router is asked, " +
			"or put its address behind it, such as auto://192.168.1.1")
	case c.VPN.IsValid() && !c.VPN.Addr().Is4():
		return errors.New("the gateway has no IPv4 address")
	case !c.VPN.IsValid() && c.Tunnel == "":
		return errors.New("a pool of ports needs the interface at which they arrive")
	}
	return nil
}

// Gateway returns the router's address in the container's network: the one of the
// two hosts that doublenat is not. The zero Addr is for a Host that is neither.
func (c Config) Gateway() netip.Addr {
	first := c.Container.Masked().Addr().Next()
	switch c.Host {
	case first:
		return first.Next()
	case first.Next():
		return first
	default:
		return netip.Addr{} // the network's own address, or that for all of it
	}
}

// variable returns one of the variables, "" if it is not set.
func (c Config) variable(name string) string {
	for _, a := range c.Environ {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// reached is the router's name or address as doublenat sees it.
func (c Config) reached() string {
	if c.Container.IsValid() {
		return c.Gateway().String()
	}
	return c.Router
}

// host returns the prefix of a single address.
func host(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }
