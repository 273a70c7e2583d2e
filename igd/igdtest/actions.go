package igdtest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"doublenat/igd"
)

// pair is an argument that an action returns.
type pair struct{ name, value string }

// call is an action that was asked for.
type call struct {
	service string
	action  string
	args    map[string]string
	from    netip.Addr
}

// soap is the namespace of envelopes.
const soap = "http://schemas.xmlsoap.org/soap/envelope/"

// parseCall reads the body of a request. Requests come from clients that are under
// test, so it is as strict as package xml.
func parseCall(body []byte) (call, bool) {
	c := call{args: make(map[string]string)}
	dec := xml.NewDecoder(bytes.NewReader(body))
	var path []xml.Name
	for {
		token, err := dec.Token()
		if err != nil {
			return c, errors.Is(err, io.EOF) && c.action != ""
		}
		switch t := token.(type) {
		case xml.StartElement:
			path = append(path, t.Name)
			if len(path) == 3 && path[0] == (xml.Name{Space: soap, Local: "Envelope"}) && path[1] == (xml.Name{Space: soap, Local: "Body"}) {
				c.service, c.action = t.Name.Space, t.Name.Local
			}
			if len(path) == 4 {
				c.args[t.Name.Local] = ""
			}
		case xml.CharData:
			if len(path) == 4 {
				c.args[path[3].Local] += strings.TrimSpace(string(t))
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
}

// told returns what is told of a call that came at the given time.
func (c call) told(out []pair, code igd.Code, at time.Time) Action {
	a := Action{Name: c.action, Args: c.args, Out: make(map[string]string), Code: code, At: at, Answered: time.Now()}
	for _, p := range out {
		a.Out[p.name] = p.value
	}
	return a
}

// carryOut does what was asked for and returns the arguments of the response, or a code.
func (g *Gateway) carryOut(c call) (out []pair, code igd.Code) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		if code != 0 {
			g.stats.Failures[code]++
		}
	}()
	now := time.Now()
	g.expireLocked(now)
	g.stats.Actions[c.action]++
	p := &g.profile
	if n := len(p.Answers); n > 0 {
		g.turn++
		if code := p.Answers[(g.turn-1)%n]; code != 0 {
			return nil, code
		}
	}
	if slices.Contains(p.Unknown, c.action) {
		return nil, igd.CodeInvalidAction
	}
	switch c.action {
	case "GetExternalIPAddress":
		return []pair{{"NewExternalIPAddress", g.addressLocked(c)}}, 0
	case "GetStatusInfo":
		return []pair{{"NewConnectionStatus", "Connected"}, {"NewLastConnectionError", "ERROR_NONE"}, {"NewUptime", "600"}}, 0
	case "GetConnectionTypeInfo":
		return []pair{{"NewConnectionType", "IP_Routed"}, {"NewPossibleConnectionTypes", "IP_Routed"}}, 0
	case "AddPortMapping", "AddAnyPortMapping":
		return g.mapLocked(now, c)
	case "DeletePortMapping":
		protocol, port, ok := c.key()
		if !ok {
			return nil, igd.CodeInvalidArgs
		}
		return nil, g.removeLocked(c.from, protocol, port)
	case "GetSpecificPortMappingEntry", "GetGenericPortMappingEntry":
		return g.listLocked(now, c)
	default:
		return nil, igd.CodeInvalidAction
	}
}

// addressLocked returns what is told as the public address.
func (g *Gateway) addressLocked(c call) string {
	switch {
	case g.profile.Address != "":
		return g.profile.Address
	case !g.address.IsValid(), g.profile.Both && strings.Contains(c.service, "WANIP"):
		return "0.0.0.0"
	default:
		return g.address.String()
	}
}

// mapLocked makes a mapping.
func (g *Gateway) mapLocked(now time.Time, c call) ([]pair, igd.Code) {
	m, ok := c.mapping()
	switch {
	case !ok:
		return nil, igd.CodeInvalidArgs
	case c.action == "AddPortMapping" && m.External == 0:
		return nil, igd.CodeWildcardExternalPort
	case c.action == "AddPortMapping":
		return nil, g.addLocked(now, c.from, m)
	case g.profile.Version < 2:
		return nil, igd.CodeInvalidAction
	}
	port, code := g.addAnyLocked(now, c.from, m)
	return []pair{{"NewReservedPort", decimal(port)}}, code
}

// listLocked returns a mapping of the table.
func (g *Gateway) listLocked(now time.Time, c call) ([]pair, igd.Code) {
	all := g.sortedLocked(now)
	if c.action == "GetGenericPortMappingEntry" {
		i, err := strconv.Atoi(c.args["NewPortMappingIndex"])
		if err != nil || i < 0 || i >= len(all) {
			return nil, igd.CodeInvalidIndex
		}
		m := all[i]
		return append([]pair{
			{"NewRemoteHost", ""}, {"NewExternalPort", decimal(m.External)}, {"NewProtocol", m.Protocol.String()},
		}, values(m)...), 0
	}
	protocol, port, ok := c.key()
	if !ok {
		return nil, igd.CodeInvalidArgs
	}
	for _, m := range all {
		if m.Protocol == protocol && m.External == port {
			return values(m), 0
		}
	}
	return nil, igd.CodeNoSuchEntry
}

// values returns what tells of a mapping.
func values(m igd.Mapping) []pair {
	return []pair{
		{"NewInternalPort", decimal(m.Internal)},
		{"NewInternalClient", m.Client.String()},
		{"NewEnabled", "1"},
		{"NewPortMappingDescription", m.Description},
		{"NewLeaseDuration", strconv.Itoa(int(m.Lease / time.Second))},
	}
}

// key returns which mapping is meant.
func (c call) key() (igd.Protocol, uint16, bool) {
	protocols := map[string]igd.Protocol{"UDP": igd.UDP, "TCP": igd.TCP}
	port, err := strconv.ParseUint(c.args["NewExternalPort"], 10, 16)
	return protocols[c.args["NewProtocol"]], uint16(port), err == nil && protocols[c.args["NewProtocol"]] != 0
}

// mapping returns which mapping is wanted.
func (c call) mapping() (igd.Mapping, bool) {
	protocol, external, ok := c.key()
	internal, err1 := strconv.ParseUint(c.args["NewInternalPort"], 10, 16)
	client, err2 := netip.ParseAddr(c.args["NewInternalClient"])
	lease, err3 := strconv.ParseUint(c.args["NewLeaseDuration"], 10, 31)
	return igd.Mapping{
		Protocol: protocol, External: external, Client: client, Internal: uint16(internal),
		Lease: time.Duration(lease) * time.Second, Description: c.args["NewPortMappingDescription"],
	}, ok && err1 == nil && internal != 0 && err2 == nil && err3 == nil
}

func decimal(port uint16) string { return strconv.FormatUint(uint64(port), 10) }
