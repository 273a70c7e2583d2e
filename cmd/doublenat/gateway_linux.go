package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// defaultGateway returns the gateway of the IPv4 default route with the lowest metric.
func defaultGateway() (netip.Addr, error) {
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("finding the default route: %w", err)
	}
	return parseDefaultGateway(string(table))
}

// parseDefaultGateway reads the kernel's table of routes (/proc/net/route): a line
// of titles, then for each route interface, destination, gateway, flags, two
// counters, metric and mask. Addresses are in hexadecimal, their bytes reversed
// on little-endian machines, which all of ours are.
func parseDefaultGateway(table string) (netip.Addr, error) {
	const up, viaGateway = 1, 2
	var best netip.Addr
	bestMetric := uint64(1 << 32)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		flags, errFlags := strconv.ParseUint(f[3], 16, 16)
		gateway, errGateway := strconv.ParseUint(f[2], 16, 32)
		metric, errMetric := strconv.ParseUint(f[6], 10, 32)
		if errors.Join(errFlags, errGateway, errMetric) != nil || flags&(up|viaGateway) != up|viaGateway || metric >= bestMetric {
			continue
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], uint32(gateway))
		best, bestMetric = netip.AddrFrom4(b), metric
	}
	if !best.IsValid() {
		return best, errors.New("this host has no default route")
	}
	return best, nil
}
