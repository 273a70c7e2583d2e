//go:build e2e && linux

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"doublenat/pcp"
)

// neighborAddress is another host of the Internet.
const neighborAddress = "44.55.66.78"

// openOnlyTo asks by PCP for a port, to be open to hosts of the Internet alone: "" takes away
// those before it (RFC 6887 §13.3).
func (h *host) openOnlyTo(ctx context.Context, protocol string, internal uint16, hosts ...string) (mapping, error) {
	req := pcp.Request{
		Opcode: pcp.OpMap, Lifetime: uint32(anHour / time.Second), Client: h.addr,
		Map: pcp.Map{Protocol: pcp.TCP, InternalPort: internal, ExternalAddress: netip.IPv4Unspecified()},
	}
	if protocol == "udp" {
		req.Map.Protocol = pcp.UDP
	}
	for i, text := range hosts {
		f := pcp.Filter{Remote: netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
		if text != "" {
			f.Remote = netip.PrefixFrom(netip.MustParseAddr(text), 32)
		}
		req.Options.Filters[i], req.Options.Filtered = f, i+1
	}
	conn, err := h.dial(ctx, "udp", h.addr, netip.AddrPortFrom(h.asks, 5351))
	if err != nil {
		return mapping{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return mapping{}, err
	}
	if _, err := conn.Write(req.Append(nil)); err != nil {
		return mapping{}, err
	}
	packet := make([]byte, pcp.MaxPacket)
	n, err := conn.Read(packet)
	if err != nil {
		return mapping{}, err
	}
	resp, err := pcp.ParseResponse(packet[:n])
	if err != nil || resp.Result != pcp.ResultSuccess {
		return mapping{}, fmt.Errorf("asking by PCP for %s %d, open to %q: %+v, %w", protocol, internal, hosts, resp, err)
	}
	return mapping{protocol: protocol, internal: internal, external: resp.Map.ExternalPort, lifetime: time.Duration(resp.Lifetime) * time.Second}, nil
}

// openToOne has alice open a port to one host of the Internet, and then to another: a third
// one knocks in vain, also when NAT-PMP renews the mapping.
func openToOne(ctx context.Context, w *world) error {
	neighbor := &internet{namespace: w.internet.namespace, addr: netip.MustParseAddr(neighborAddress)}
	if err := w.internet.ip(ctx, "address add "+neighborAddress+"/32 dev lo"); err != nil {
		return err
	}
	for i, protocol := range []string{"tcp", "udp"} {
		w.alice.serve(ctx, w.t, protocol, 8080)
		m, err := w.alice.openOnlyTo(ctx, protocol, 8080, farAddress)
		if err != nil {
			return err
		}
		only := func(in, out *internet) error {
			return errors.Join(in.reach(ctx, protocol, w.public(m), w.alice), out.unreachable(ctx, protocol, w.public(m)))
		}
		if err := only(w.internet, neighbor); err != nil {
			return err
		}
		if _, err := w.alice.renew(m, anHour); err != nil {
			return err
		}
		if err := only(w.internet, neighbor); err != nil {
			return err
		}
		if m, err = w.alice.openOnlyTo(ctx, protocol, 8080, "", neighborAddress); err != nil {
			return err
		}
		if err := errors.Join(only(neighbor, w.internet), w.layers(ctx, i+1)); err != nil {
			return err
		}
	}
	return nil
}
