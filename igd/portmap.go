package igd

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// addPort answers AddPortMapping (WANIPConnection:1 §2.4.16).
func (i *invocation) addPort() ([]arg, error) {
	_, err := i.add(Exact)
	return nil, err
}

// addAnyPort answers AddAnyPortMapping (WANIPConnection:2 §2.5.17).
func (i *invocation) addAnyPort() ([]arg, error) {
	port, err := i.add(Any)
	if err != nil {
		return nil, err
	}
	return []arg{{"NewReservedPort", decimal(port)}}, nil
}

// add has a mapping made and returns its external port.
func (i *invocation) add(c Choice) (uint16, error) {
	m, err := i.wanted(c)
	if err != nil {
		return 0, err
	}
	port, err := i.server.cfg.Handler.AddPortMapping(i.ctx, i.from, m, c)
	switch {
	case err != nil:
		return 0, err
	case port == 0, c == Exact && port != m.External:
		// A success would be believed to be the port that was asked for.
		i.server.log.ErrorContext(i.ctx, "handler returned another port than it may", "client", i.from.Client, "asked", m.External, "external_port", port)
		return 0, failure(CodeConflict)
	default:
		return port, nil
	}
}

// wanted reads what is to be mapped.
func (i *invocation) wanted(c Choice) (Mapping, error) {
	protocol, external, err := i.key()
	if err != nil {
		return Mapping{}, err
	}
	internal, err := parsePort(i.args["NewInternalPort"])
	seconds, ok := parseUnsigned(i.args["NewLeaseDuration"], 32)
	enabled, known := parseBoolean(i.args["NewEnabled"])
	switch {
	case err != nil, !ok, !known:
		return Mapping{}, failure(CodeInvalidArgs)
	case !wildcard(i.args["NewRemoteHost"]):
		return Mapping{}, failure(CodeOnlyWildcardHost)
	case external == 0 && c == Exact:
		return Mapping{}, failure(CodeWildcardExternalPort)
	case internal == 0 && i.version > 1:
		return Mapping{}, failure(CodeWildcardInternalPort)
	case internal == 0:
		return Mapping{}, failure(CodeInvalidArgs) // IGD:1 has no better code.
	case !i.isOwn(i.args["NewInternalClient"]):
		return Mapping{}, failure(CodeNotAuthorized)
	case !enabled:
		return Mapping{}, failure(CodeArgumentInvalid) // There are no mappings that map nothing.
	}
	return Mapping{
		Protocol: protocol, External: external, Client: i.from.Client.Addr(), Internal: internal,
		Lease: i.lease(seconds), Description: brief(i.args["NewPortMappingDescription"]),
	}, nil
}

// isOwn says whether a client is the one that asks (RFC 6970 §6, WANIPConnection:2 §2.2.20:
// only it may be let through). Without an address it means itself, as real clients do to whom
// miniupnpd is as kind. Names are nobody's: whoever answers for them could answer anything.
func (i *invocation) isOwn(client string) bool {
	if client == "" {
		return true
	}
	a, err := netip.ParseAddr(client)
	return err == nil && a == i.from.Client.Addr()
}

// lease returns how long a mapping is to last: 0 is for ever with version 1, a week with
// version 2 (WANIPConnection:2 §2.3.16), and nothing lasts longer than that but for ever.
func (i *invocation) lease(seconds uint64) time.Duration {
	if seconds == 0 && i.version > 1 {
		return MaxLease
	}
	return time.Duration(min(seconds, uint64(MaxLease/time.Second))) * time.Second
}

// deletePort answers DeletePortMapping (WANIPConnection:1 §2.4.17).
func (i *invocation) deletePort() ([]arg, error) {
	protocol, external, err := i.key()
	switch {
	case err != nil:
		return nil, err
	case external == 0, !wildcard(i.args["NewRemoteHost"]):
		return nil, failure(CodeNoSuchEntry)
	}
	return nil, i.server.cfg.Handler.DeletePortMapping(i.ctx, i.from, protocol, external)
}

// deleteRange answers DeletePortMappingRange (WANIPConnection:2 §2.5.19). NewManage is for
// who may manage others' mappings: nobody.
func (i *invocation) deleteRange() ([]arg, error) {
	all, err := i.ranged()
	if err != nil {
		return nil, err
	}
	ended, none := 0, failure(CodePortNotFound)
	for _, m := range all {
		err := i.server.cfg.Handler.DeletePortMapping(i.ctx, i.from, m.Protocol, m.External)
		switch {
		case err == nil:
			ended++
		case CodeOf(err) == CodeNotAuthorized:
			none = err // It stays, and keeps none of the others.
		case CodeOf(err) != CodeNoSuchEntry: // Else it ended by itself.
			return nil, err
		}
	}
	if ended == 0 {
		return nil, none
	}
	return nil, nil
}

// ranged returns the client's mappings of a protocol in a range of external ports.
func (i *invocation) ranged() ([]Mapping, error) {
	protocol, err := parseProtocol(i.args["NewProtocol"])
	start, startErr := parsePort(i.args["NewStartPort"])
	end, endErr := parsePort(i.args["NewEndPort"])
	_, ok := parseBoolean(i.args["NewManage"])
	switch {
	case err != nil, startErr != nil, endErr != nil, !ok:
		return nil, failure(CodeInvalidArgs)
	case start > end:
		return nil, failure(CodeInconsistent)
	}
	var sorted []Mapping // a client has few
	for _, m := range i.own() {
		if m.Protocol == protocol && m.External >= start && m.External <= end {
			at := 0
			for at < len(sorted) && sorted[at].External < m.External {
				at++
			}
			sorted = slices.Insert(sorted, at, m)
		}
	}
	return sorted, nil
}

// own returns a copy of the client's mappings.
func (i *invocation) own() []Mapping {
	all := slices.Clone(i.server.cfg.Handler.PortMappings(i.from))
	// Whatever the handler returns: nobody is shown what is not his.
	return slices.DeleteFunc(all, func(m Mapping) bool { return m.Client != i.from.Client.Addr() })
}

// specificEntry answers GetSpecificPortMappingEntry (WANIPConnection:1 §2.4.15).
func (i *invocation) specificEntry() ([]arg, error) {
	protocol, external, err := i.key()
	if err != nil {
		return nil, err
	}
	for _, m := range i.own() {
		if m.Protocol == protocol && m.External == external && wildcard(i.args["NewRemoteHost"]) {
			return m.entry(), nil
		}
	}
	return nil, failure(CodeNoSuchEntry)
}

// genericEntry answers GetGenericPortMappingEntry (WANIPConnection:1 §2.4.14).
func (i *invocation) genericEntry() ([]arg, error) {
	index, ok := parseUnsigned(i.args["NewPortMappingIndex"], 16)
	if !ok {
		return nil, failure(CodeInvalidArgs)
	}
	all := i.own()
	if index >= uint64(len(all)) {
		return nil, failure(CodeInvalidIndex)
	}
	m := all[index]
	return append(key(m.Protocol, m.External), m.entry()...), nil
}

// portListing is the argument that is a document.
const portListing = "NewPortListing"

// listPorts answers GetListOfPortMappings (WANIPConnection:2 §2.5.21) with a document in a
// text.
func (i *invocation) listPorts() ([]arg, error) {
	most, ok := parseUnsigned(i.args["NewNumberOfPorts"], 16)
	all, err := i.ranged()
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, failure(CodeInvalidArgs)
	case len(all) == 0:
		return nil, failure(CodePortNotFound)
	case most > 0: // 0 is all.
		all = all[:min(most, uint64(len(all)))]
	}
	var d document
	d.raw(header + `<p:PortMappingList xmlns:p="urn:schemas-upnp-org:gw:WANIPConnection" ` +
		`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" ` +
		`xsi:schemaLocation="urn:schemas-upnp-org:gw:WANIPConnection http://www.upnp.org/schemas/gw/WANIPConnection-v2.xsd">`)
	for _, m := range all {
		d.open("p:PortMappingEntry")
		for _, a := range append(key(m.Protocol, m.External), m.entry()...) {
			d.add("p:"+listed(a.name), a.value)
		}
		d.close("p:PortMappingEntry")
	}
	d.close("p:PortMappingList")
	return []arg{{portListing, d.buf.String()}}, nil
}

// listed returns how the schema of lists calls an argument (WANIPConnection:2 §2.3.31).
func listed(name string) string {
	switch name {
	case "NewPortMappingDescription":
		return "NewDescription"
	case "NewLeaseDuration":
		return "NewLeaseTime"
	default:
		return name
	}
}

// entry returns what tells of a mapping beside its key. A lease of less than a second is
// still one: 0 would be for ever.
func (m Mapping) entry() []arg {
	lease := m.Lease
	if lease > 0 {
		lease = max(lease, time.Second)
	}
	return []arg{
		{"NewInternalPort", decimal(m.Internal)},
		{"NewInternalClient", m.Client.String()},
		{"NewEnabled", "1"},
		{"NewPortMappingDescription", brief(m.Description)},
		{"NewLeaseDuration", unsigned(uint64(max(lease, 0) / time.Second))},
	}
}

// key reads which mapping is meant. An external port of 0 is one.
func (i *invocation) key() (Protocol, uint16, error) {
	protocol, err := parseProtocol(i.args["NewProtocol"])
	external, portErr := parsePort(i.args["NewExternalPort"])
	if err != nil || portErr != nil {
		return 0, 0, failure(CodeInvalidArgs)
	}
	return protocol, external, nil
}

// wildcard says whether a remote host is any.
func wildcard(host string) bool { return host == "" || host == "*" }

// parseUnsigned reads a number of so many bits. White space around it is gone already.
func parseUnsigned(s string, bits int) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, bits)
	return n, err == nil
}

// parseBoolean reads a boolean as UPnP writes it (UDA 1.1 §2.5).
func parseBoolean(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "1", "true", "yes":
		return true, true
	case "0", "false", "no":
		return false, true
	default:
		return false, false
	}
}
