package igd

import (
	"strconv"
	"time"
)

// ConnectionType of a gateway that routes.
const routed = "IP_Routed"

// defaultService answers GetDefaultConnectionService: the one that there is
// (Layer3Forwarding:1 §2.2.1).
func (i *invocation) defaultService() ([]arg, error) {
	d := &i.tree.devices[len(i.tree.devices)-1]
	value := d.udn + ":" + d.name + ":" + strconv.Itoa(d.version) + ",urn:upnp-org:serviceId:" + d.service.id
	return []arg{{"NewDefaultConnectionService", value}}, nil
}

// linkProperties answers GetCommonLinkProperties. The link is the one to the gateway.
func (i *invocation) linkProperties() ([]arg, error) {
	c := i.server.cfg.Handler.Connection()
	state := "Down"
	switch c.Status {
	case Connected:
		state = "Up"
	case Connecting:
		state = "Initializing"
	case Disconnected:
	}
	return []arg{
		{"NewWANAccessType", "Ethernet"},
		{"NewLayer1UpstreamMaxBitRate", unsigned(uint64(c.Upstream))},
		{"NewLayer1DownstreamMaxBitRate", unsigned(uint64(c.Downstream))},
		{"NewPhysicalLinkStatus", state},
	}, nil
}

// setConnectionType answers SetConnectionType: it is what it is.
func (i *invocation) setConnectionType() ([]arg, error) {
	switch {
	case i.args["NewConnectionType"] == routed:
		return nil, nil
	case i.version > 1:
		return nil, failure(CodeReadOnly)
	default:
		return nil, failure(CodeInactiveRequired)
	}
}

// connectionType answers GetConnectionTypeInfo.
func (i *invocation) connectionType() ([]arg, error) {
	return []arg{{"NewConnectionType", routed}, {"NewPossibleConnectionTypes", routed}}, nil
}

// statusInfo answers GetStatusInfo.
func (i *invocation) statusInfo() ([]arg, error) {
	c := i.server.cfg.Handler.Connection()
	return []arg{
		{"NewConnectionStatus", c.Status.String()},
		{"NewLastConnectionError", "ERROR_NONE"},
		{"NewUptime", unsigned(uint64(max(c.Uptime, 0) / time.Second))},
	}, nil
}

// natStatus answers GetNATRSIPStatus.
func (i *invocation) natStatus() ([]arg, error) {
	return []arg{{"NewRSIPAvailable", "0"}, {"NewNATEnabled", "1"}}, nil
}

// externalAddress answers GetExternalIPAddress, with an empty text while none is known
// (WANIPConnection:1 §2.2.9).
func (i *invocation) externalAddress() ([]arg, error) {
	return []arg{{"NewExternalIPAddress", i.address()}}, nil
}

// address returns the public address as a text.
func (i *invocation) address() string {
	if a := i.server.cfg.Handler.Connection().Address; a.IsValid() {
		return a.String()
	}
	return ""
}

func unsigned(n uint64) string { return strconv.FormatUint(n, 10) }
