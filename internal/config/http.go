package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strings"
)

// ListenAddress is where a server of streams listens. It is comparable; the zero
// value is nowhere.
type ListenAddress struct {
	// Network is "tcp" or "unix", as net.Listen takes it.
	Network string
	// Address is host:port, with an IP address or nothing as the host, or the
	// absolute path of a socket.
	Address string
}

// unixPrefix marks the path of a socket.
const unixPrefix = "unix:"

// maxSocketPath is what every system takes as the path of a socket (BSD: 104
// bytes with the zero at its end).
const maxSocketPath = 103

// String returns the address as HTTP_ADDR takes it, empty for nowhere.
func (a ListenAddress) String() string {
	if a.Network == "unix" {
		return unixPrefix + a.Address
	}
	return a.Address
}

// ParseListenAddress reads "host:port", ":port" or "unix:/path". An error is a
// phrase whose subject is the value.
func ParseListenAddress(s string) (ListenAddress, error) {
	if file, ok := strings.CutPrefix(s, unixPrefix); ok {
		switch {
		case !path.IsAbs(file) || path.Clean(file) != file || file == "/":
			return ListenAddress{}, errors.New("has no absolute path behind unix: in it")
		case len(file) > maxSocketPath:
			return ListenAddress{}, fmt.Errorf("has a path of more than %d bytes", maxSocketPath)
		case strings.ContainsRune(file, 0):
			return ListenAddress{}, errors.New("has a zero byte in its path")
		}
		return ListenAddress{Network: "unix", Address: file}, nil
	}
	if _, err := parsePort(s); err == nil {
		return ListenAddress{}, fmt.Errorf("is a port alone: write :%s for every address of this host, or 127.0.0.1:%s for this host only", s, s)
	}
	host, port, err := splitPort(s)
	if err != nil {
		return ListenAddress{}, err
	}
	if port == 0 {
		return ListenAddress{}, errors.New("has no port")
	}
	if host == "localhost" {
		host = "127.0.0.1" // a name that is looked up may become more than one address
	}
	if host != "" {
		addr, err := netip.ParseAddr(host)
		switch {
		case err != nil:
			return ListenAddress{}, errors.New("is not an IP address and port")
		case !addr.IsUnspecified() && !oneHost(addr):
			return ListenAddress{}, errNoHost
		}
	}
	return ListenAddress{Network: "tcp", Address: net.JoinHostPort(host, fmt.Sprint(port))}, nil
}

// parseHosts reads a list of host names.
func parseHosts(s string) ([]string, error) {
	var hosts []string
	for item := range strings.SplitSeq(s, ",") {
		host := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(item), "."))
		if err := checkName(host); err != nil {
			return nil, fmt.Errorf("has %q in it, which is not a host name", WithoutUserinfo(host))
		}
		hosts = append(hosts, host)
	}
	return hosts, nil
}
