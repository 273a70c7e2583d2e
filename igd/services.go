package igd

import "slices"

// What a service knows: its actions with their arguments, from which its document (SCPD)
// is written and by which requests are checked, so that the one cannot promise what the
// other refuses.

// variable is a state variable of a service.
type variable struct {
	name   string
	kind   string   // data type
	values []string // that are allowed; nil for all
	least  string   // allowed, with most; "" for no range
	most   string
}

// param is an argument of an action.
type param struct {
	name     string
	variable variable
}

// action is what a service can be asked for.
type action struct {
	name    string
	in, out []param
	do      func(*invocation) ([]arg, error)
}

// longestText is how many bytes an argument of a request may have. Descriptions of real
// clients have up to 80.
const longestText = 256

func text(name string) variable { return variable{name: name, kind: "string"} }

func number(name, kind string) variable { return variable{name: name, kind: kind} }

func choice(name string, values ...string) variable {
	return variable{name: name, kind: "string", values: values}
}

// forwardingActions returns those of Layer3Forwarding:1.
func forwardingActions() []action {
	service := []param{{"NewDefaultConnectionService", text("DefaultConnectionService")}}
	return []action{
		{name: "SetDefaultConnectionService", in: service, do: refuse(CodeNotAuthorized)},
		{name: "GetDefaultConnectionService", out: service, do: (*invocation).defaultService},
	}
}

// commonActions returns those of WANCommonInterfaceConfig:1. Its counters are optional, and
// nobody here knows them.
func commonActions() []action {
	return []action{{name: "GetCommonLinkProperties", do: (*invocation).linkProperties, out: []param{
		{"NewWANAccessType", choice("WANAccessType", "DSL", "POTS", "Cable", "Ethernet")},
		{"NewLayer1UpstreamMaxBitRate", number("Layer1UpstreamMaxBitRate", "ui4")},
		{"NewLayer1DownstreamMaxBitRate", number("Layer1DownstreamMaxBitRate", "ui4")},
		{"NewPhysicalLinkStatus", choice("PhysicalLinkStatus", "Up", "Down", "Initializing", "Unavailable")},
	}}}
}

// connectionActions returns those of WANIPConnection:1 or :2.
func connectionActions(version int) []action {
	kind := []param{{"NewConnectionType", text("ConnectionType")}}
	all := []action{
		{name: "SetConnectionType", in: kind, do: (*invocation).setConnectionType},
		{name: "GetConnectionTypeInfo", do: (*invocation).connectionType, out: append(kind[:1:1],
			param{"NewPossibleConnectionTypes", choice("PossibleConnectionTypes", "Unconfigured", "IP_Routed", "IP_Bridged")})},
		// Who may end the way out, or begin it, is not for a program on the LAN to say.
		{name: "RequestConnection", do: refuse(CodeNotAuthorized)},
		{name: "ForceTermination", do: refuse(CodeNotAuthorized)},
		{name: "GetStatusInfo", do: (*invocation).statusInfo, out: []param{
			{"NewConnectionStatus", choice("ConnectionStatus", "Unconfigured", "Connecting", "Connected", "PendingDisconnect", "Disconnecting", "Disconnected")},
			{"NewLastConnectionError", text("LastConnectionError")},
			{"NewUptime", number("Uptime", "ui4")},
		}},
		{name: "GetNATRSIPStatus", do: (*invocation).natStatus, out: []param{
			{"NewRSIPAvailable", number("RSIPAvailable", "boolean")}, {"NewNATEnabled", number("NATEnabled", "boolean")},
		}},
		{name: actionAddress, do: (*invocation).externalAddress, out: []param{{"NewExternalIPAddress", text("ExternalIPAddress")}}},
	}
	return append(all, mappingActions(version)...)
}

// mappingActions returns those that are about port mappings.
func mappingActions(version int) []action {
	var (
		remote   = param{"NewRemoteHost", text("RemoteHost")}
		external = param{"NewExternalPort", number("ExternalPort", "ui2")}
		protocol = param{"NewProtocol", choice("PortMappingProtocol", "TCP", "UDP")}
		key      = []param{remote, external, protocol}
		lease    = number("PortMappingLeaseDuration", "ui4")
		index    = param{"NewPortMappingIndex", number("PortMappingNumberOfEntries", "ui2")}
	)
	if version > 1 {
		lease.least, lease.most = "0", "604800"
	}
	values := []param{
		{"NewInternalPort", number("InternalPort", "ui2")},
		{"NewInternalClient", text("InternalClient")},
		{"NewEnabled", number("PortMappingEnabled", "boolean")},
		{"NewPortMappingDescription", text("PortMappingDescription")},
		{"NewLeaseDuration", lease},
	}
	entry := slices.Concat(key, values)
	all := []action{
		{name: actionEntry, in: []param{index}, out: entry, do: (*invocation).genericEntry},
		{name: actionFind, in: key, out: values, do: (*invocation).specificEntry},
		{name: actionAdd, in: entry, do: (*invocation).addPort},
		{name: actionDelete, in: key, do: (*invocation).deletePort},
	}
	if version < 2 {
		return all
	}
	// Arguments that bound a list share the variable of what they bound.
	start := param{"NewStartPort", external.variable}
	end := param{"NewEndPort", external.variable}
	manage := param{"NewManage", number("A_ARG_TYPE_Manage", "boolean")}
	return append(all,
		action{name: actionAddAny, in: entry, out: []param{{"NewReservedPort", external.variable}}, do: (*invocation).addAnyPort},
		action{name: "DeletePortMappingRange", in: []param{start, end, protocol, manage}, do: (*invocation).deleteRange},
		action{
			name: "GetListOfPortMappings", do: (*invocation).listPorts,
			in:  []param{start, end, protocol, manage, {"NewNumberOfPorts", index.variable}},
			out: []param{{portListing, text("A_ARG_TYPE_PortListing")}},
		},
	)
}
