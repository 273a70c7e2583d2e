package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Endpoint is a host, by name or address, and a TCP port.
type Endpoint struct {
	// Host is a DNS name or an IP address without brackets.
	Host string
	// Port is the TCP port.
	Port uint16
}

// String returns the endpoint in the form that net.Dial takes.
func (e Endpoint) String() string {
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// Loopback says whether the endpoint is on this very host.
func (e Endpoint) Loopback() bool {
	addr, err := netip.ParseAddr(e.Host)
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(e.Host, "localhost")
}

// parseEndpoint reads "host", "host:port", "[v6]" or "[v6]:port". A bare IPv6
// address is taken as it is. Without a port it returns port 0.
func parseEndpoint(s string) (Endpoint, error) {
	if strings.Contains(s, "://") {
		return Endpoint{}, errors.New("is a URL and not a host")
	}
	host, port, err := splitPort(s)
	if err != nil {
		return Endpoint{}, err
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		if err := checkName(host); err != nil {
			return Endpoint{}, err
		}
	case strings.ContainsAny(addr.Zone(), "[]%:"):
		return Endpoint{}, errors.New("has a zone that is not an interface name")
	case !oneHost(addr):
		return Endpoint{}, errNoHost
	}
	return Endpoint{Host: host, Port: port}, nil
}

// stunPort is where STUN servers listen (RFC 8489 §18.6).
const stunPort = 3478

// parseSTUN reads the host and port of a STUN server.
func parseSTUN(s string) (Endpoint, error) {
	if scheme, _, ok := strings.Cut(s, ":"); ok && (scheme == "stun" || scheme == "stuns" || scheme == "turn") {
		return Endpoint{}, fmt.Errorf("has %s: before it: a host, and a port if it is not 3478, are enough", scheme)
	}
	server, err := parseEndpoint(s)
	if err != nil {
		return Endpoint{}, err
	}
	if addr, err := netip.ParseAddr(server.Host); err == nil && !addr.Is4() {
		return Endpoint{}, errors.New("is IPv6, but the public address is IPv4")
	}
	if server.Port == 0 {
		server.Port = stunPort
	}
	return server, nil
}

// The reasons for what names a host and more, or less.
var (
	errUserinfo = errors.New("has a user name before an @, which is not allowed here")
	errNoHost   = errors.New("is not the address of one host")
)

// oneHost says whether the address can be that of one host.
func oneHost(a netip.Addr) bool {
	a = a.Unmap()
	return !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// splitPort parts a host from an optional port, which is 0 where there is none.
func splitPort(s string) (string, uint16, error) {
	if strings.ContainsRune(s, '@') {
		return "", 0, errUserinfo // before any reason that shows a part of it
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.String(), 0, nil // bare IPv6 has colons of its own
	}
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() {
			return "", 0, errors.New("has no IPv6 address in its brackets")
		}
		return addr.String(), 0, nil
	}
	if !strings.Contains(s, ":") {
		return s, 0, nil
	}
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, errors.New("is not host:port")
	}
	port, err := parsePort(portText)
	if err != nil {
		return "", 0, err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	return host, port, nil
}

// parsePort reads a port from 1 to 65535, in digits only.
func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("has the port %q, which is not from 1 to 65535", s)
	}
	return uint16(n), nil
}

// checkName accepts host names (RFC 1123 §2.1), the underscore that container
// networks put into theirs, and a final dot.
func checkName(s string) error {
	name := strings.TrimSuffix(s, ".")
	if len(name) > 253 {
		return errors.New("is longer than a host name can be")
	}
	// A name of digits and dots only is an address with a slip of the finger.
	if strings.Trim(name, "0123456789.") == "" {
		return errors.New("is neither a host name nor an IP address")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, notInName) {
			return errors.New("is neither a host name nor an IP address")
		}
	}
	return nil
}

// notInName says whether the rune has no place in a label of a host name.
func notInName(r rune) bool {
	return r != '-' && r != '_' && !isAlphanumeric(r)
}

// isAlphanumeric says whether the rune is an ASCII letter or digit.
func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
