package daemon

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// relay returns what says whether an address hides other hosts, as of now.
func (n Network) relay() func(netip.Addr) bool {
	known := n.Relays()
	return func(a netip.Addr) bool { return slices.Contains(known, a) }
}

// hostRelays returns the addresses of this host's bridges and, in a container, of the
// gateway of its network: a container engine's proxy or masquerade has requests come
// from there.
func hostRelays() (found []netip.Addr) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range interfaces {
		if !isBridge(i.Name) {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				found = append(found, p.Addr())
			}
		}
	}
	if inContainer() {
		routes, _ := os.ReadFile("/proc/net/route") // without it there is nothing to say
		if gateway, ok := defaultGateway(routes); ok {
			found = append(found, gateway)
		}
	}
	return found
}

// inContainer reports whether this process is in a container of docker or podman, by the
// files that they put there.
func inContainer() bool {
	return slices.ContainsFunc([]string{"/.dockerenv", "/run/.containerenv"}, func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	})
}

// isBridge reports whether an interface of this name is made by a container engine or by
// libvirt for the guests of this host.
func isBridge(name string) bool {
	return slices.ContainsFunc([]string{"docker", "br-", "podman", "cni", "virbr", "lxcbr", "lxdbr", "incusbr"}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// defaultGateway reads /proc/net/route of Linux: a header, then a route in each line, with
// addresses in hexadecimal as they are in memory.
func defaultGateway(routes []byte) (netip.Addr, bool) {
	lines := bufio.NewScanner(bytes.NewReader(routes))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[1] != "00000000" || fields[7] != "00000000" {
			continue
		}
		raw, err := hex.DecodeString(fields[2])
		if err != nil || len(raw) != 4 {
			continue
		}
		var a [4]byte
		binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(raw))
		if a != [4]byte{} {
			return netip.AddrFrom4(a), true
		}
	}
	return netip.Addr{}, false
}
