package igd

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// The actions.
const (
	actionAdd     = "AddPortMapping"
	actionAddAny  = "AddAnyPortMapping"
	actionDelete  = "DeletePortMapping"
	actionFind    = "GetSpecificPortMappingEntry"
	actionEntry   = "GetGenericPortMappingEntry"
	actionAddress = "GetExternalIPAddress"
)

// Add makes a mapping, or renews it: adding the same one again does not make a second one.
func (c *Client) Add(ctx context.Context, m Mapping) error {
	args, err := m.args()
	if err != nil {
		return err
	}
	_, err = c.call(ctx, actionAdd, args)
	return err
}

// AddAny makes a mapping on the external port, or on another one that the device chooses,
// and returns which. IGD:1 does not have this action.
func (c *Client) AddAny(ctx context.Context, m Mapping) (uint16, error) {
	args, err := m.args()
	if err != nil {
		return 0, err
	}
	out, err := c.call(ctx, actionAddAny, args)
	if err != nil {
		return 0, err
	}
	port, err := parsePort(out["NewReservedPort"])
	if err != nil || port == 0 {
		return 0, &CallError{Action: actionAddAny, Ambiguous: true, Err: fmt.Errorf("%w: port %s", ErrNonsense, brief(out["NewReservedPort"]))}
	}
	return port, nil
}

// Delete removes a mapping. If it does not exist, the error is [CodeNoSuchEntry].
func (c *Client) Delete(ctx context.Context, p Protocol, external uint16) error {
	_, err := c.call(ctx, actionDelete, key(p, external))
	return err
}

// Find returns the mapping of an external port. If there is none, the error is
// [CodeNoSuchEntry].
func (c *Client) Find(ctx context.Context, p Protocol, external uint16) (Mapping, error) {
	out, err := c.call(ctx, actionFind, key(p, external))
	if err != nil {
		return Mapping{}, err
	}
	m, err := parseEntry(out)
	if err != nil {
		return Mapping{}, &CallError{Action: actionFind, Err: err}
	}
	m.Protocol, m.External = p, external
	return m, nil
}

// Entry returns the mapping at an index in the device's table. After the last one the
// standard says [CodeInvalidIndex]; many boxes use other codes.
func (c *Client) Entry(ctx context.Context, index int) (Mapping, error) {
	out, err := c.call(ctx, actionEntry, []arg{{"NewPortMappingIndex", strconv.Itoa(index)}})
	if err != nil {
		return Mapping{}, err
	}
	m, err := parseEntry(out)
	if err == nil {
		m.External, err = parsePort(out["NewExternalPort"])
	}
	if err == nil {
		m.Protocol, err = parseProtocol(out["NewProtocol"])
	}
	if err != nil {
		return Mapping{}, &CallError{Action: actionEntry, Err: err}
	}
	return m, nil
}

// ExternalAddress returns what the device calls its public address, which may be private,
// or 0.0.0.0 if it has none.
func (c *Client) ExternalAddress(ctx context.Context) (netip.Addr, error) {
	out, err := c.call(ctx, actionAddress, nil)
	if err != nil {
		return netip.Addr{}, err
	}
	text := out["NewExternalIPAddress"]
	if text == "" {
		return netip.IPv4Unspecified(), nil // A box that is not connected.
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Unmap().Is4() {
		return netip.Addr{}, &CallError{Action: actionAddress, Err: fmt.Errorf("%w: address %s", ErrNonsense, brief(text))}
	}
	return a.Unmap(), nil
}

// key returns the arguments that name a mapping. The remote host is a wildcard.
func key(p Protocol, external uint16) []arg {
	return []arg{{"NewRemoteHost", ""}, {"NewExternalPort", decimal(external)}, {"NewProtocol", p.String()}}
}

// args returns the arguments that make a mapping.
func (m Mapping) args() ([]arg, error) {
	if m.Protocol != UDP && m.Protocol != TCP || m.External == 0 || m.Internal == 0 || !m.Client.Is4() {
		return nil, fmt.Errorf("igd: %v port %d to %v port %d is no mapping", m.Protocol, m.External, m.Client, m.Internal)
	}
	lease := min(max(m.Lease, 0), MaxLease) / time.Second
	return append(key(m.Protocol, m.External),
		arg{"NewInternalPort", decimal(m.Internal)}, arg{"NewInternalClient", m.Client.String()}, arg{"NewEnabled", "1"},
		arg{"NewPortMappingDescription", m.Description}, arg{"NewLeaseDuration", strconv.FormatInt(int64(lease), 10)}), nil
}

// parseEntry reads what both actions return that tell of a mapping.
func parseEntry(out map[string]string) (Mapping, error) {
	internal, err := parsePort(out["NewInternalPort"])
	if err != nil {
		return Mapping{}, err
	}
	m := Mapping{Internal: internal, Description: brief(out["NewPortMappingDescription"])}
	if a, err := netip.ParseAddr(out["NewInternalClient"]); err == nil && a.Is4() {
		m.Client = a
	}
	switch out["NewEnabled"] {
	case "0", "false", "no":
		m.Disabled = true
	}
	if text := out["NewLeaseDuration"]; text != "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return Mapping{}, fmt.Errorf("%w: lease %s", ErrNonsense, brief(text))
		}
		m.Lease = time.Duration(seconds) * time.Second
	}
	return m, nil
}

// parsePort reads a port.
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%w: port %s", ErrNonsense, brief(s))
	}
	return uint16(n), nil
}

func decimal(port uint16) string { return strconv.FormatUint(uint64(port), 10) }
