package check_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/check"
	"doublenat/internal/lab"
	"doublenat/internal/remedy"
	"doublenat/natpmp"
	"doublenat/routeros/routerostest"
)

// undelivered sends the packets on which doublenat lives through the test router, whose
// walk knows nothing of the doctor's, and returns what becomes of those that get lost.
func (r *rig) undelivered(clients []string) []string {
	r.t.Helper()
	redirect, ok := r.Router.Find(natPath, "dst-port", "5351")
	if !ok {
		return []string{"no redirect"}
	}
	target, gateway := netip.MustParseAddr(redirect["to-addresses"]), netip.MustParseAddr(routerostest.GatewayAddress)
	in := r.interfaceOf(target)
	lan := netip.MustParseAddr(routerostest.LANAddress)
	packets := []routerostest.Packet{
		{Protocol: "tcp", In: in, Src: netip.AddrPortFrom(target, 40000), Dst: netip.AddrPortFrom(lan, 8728)},
		{Protocol: "udp", In: in, Src: netip.AddrPortFrom(target, 40000), Dst: netip.AddrPortFrom(gateway, natpmp.Port)},
	}
	for _, client := range clients {
		packets = append(packets, routerostest.Packet{
			Protocol: "udp", In: routerostest.LANInterface, Src: netip.AddrPortFrom(netip.MustParseAddr(client), 40000), Dst: netip.AddrPortFrom(lan, natpmp.Port),
		})
	}
	for _, rule := range r.OurRules("default") {
		packets = append(packets, routerostest.Packet{
			Protocol: rule["protocol"], In: routerostest.TunnelInterface, Src: netip.MustParseAddrPort("23.45.67.89:40000"),
			Dst: netip.MustParseAddrPort(routerostest.TunnelAddress + ":" + rule["dst-port"]),
		})
	}
	var lost []string
	for _, p := range packets {
		way, back, problem := r.Router.Answered(p)
		switch {
		case problem != "":
			lost = append(lost, problem+"\n"+way.String()+"\n"+back.String())
		case p.Dst.Addr() == gateway && way.Src.Addr() != netip.MustParseAddr(routerostest.TunnelAddress):
			lost = append(lost, fmt.Sprintf("requests to the gateway come from %v", way.Src))
		case p.Dst.Addr() == gateway && way.Out != routerostest.TunnelInterface:
			lost = append(lost, "requests to the gateway leave by "+way.Out)
		case p.Dst.Port() == natpmp.Port && p.Dst.Addr() == lan && way.Dst.Addr() != target:
			lost = append(lost, "requests go to "+way.Dst.String())
		case p.Dst.Port() == natpmp.Port && p.Dst.Addr() == lan && way.Src != p.Src:
			lost = append(lost, "requests come from "+way.Src.String())
		}
	}
	return lost
}

// interfaceOf returns the interface in whose network an address is.
func (r *rig) interfaceOf(a netip.Addr) string {
	r.t.Helper()
	for _, row := range r.Router.Rows("/ip/address") {
		if prefix, err := netip.ParsePrefix(row["address"]); err == nil && prefix.Contains(a) {
			return row["interface"]
		}
	}
	r.t.Fatalf("no network with %v", a)
	return ""
}

// TestStyles has the ways in which people set their routers up. The doctor has to say
// of each what is wrong with it; when what he prints was typed he has to say that all
// is well, and the test router has to deliver every packet.
func TestStyles(t *testing.T) {
	t.Parallel()
	for _, tt := range styles() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { tt.judge(t) })
		})
	}
}

// judge has the doctor look at a style, does what he says, and looks whether it helped.
func (s style) judge(t *testing.T) {
	t.Helper()
	r := newRig(t, lab.BenchConfig{Router: routerostest.Config{Version: s.version}})
	r.cfg.Self = nil // the check is made from somewhere else: no way was tried by the check itself
	r.plain()
	s.build(r)
	r.AcceptOthers()
	clients := s.clients
	if clients == nil {
		clients = []string{"192.168.88.10"}
	}
	before := r.undelivered(clients)
	found := wrong(r.check())
	var kinds []remedy.Kind
	for _, f := range found {
		kinds = append(kinds, f.Advice.Kind)
	}
	if diff := cmp.Diff(s.kinds, kinds); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
		for _, f := range found {
			t.Logf("%s: %s: %s", f.Probe, f.Seen, f.Advice)
		}
	}
	if losing := slices.ContainsFunc(s.kinds, loses); losing != (len(before) > 0) && !slices.Contains(s.kinds, check.KindAstray) {
		t.Errorf("the doctor says %v, the router loses %d: %v", s.kinds, len(before), before)
	}
	for _, f := range found {
		r.obey(f.Advice.Commands)
	}
	if s.mend != nil {
		s.mend(r)
		for _, f := range wrong(r.check()) {
			r.obey(f.Advice.Commands)
		}
	}
	for _, f := range wrong(r.check()) {
		t.Errorf("after the remedy: %s: %s: %s", f.Probe, f.Seen, f.Advice)
	}
	r.AcceptOthers()
	r.mapAll(clients)
	for _, lost := range r.undelivered(clients) {
		t.Errorf("after the remedy: %s", lost)
	}
}

// mapAll starts the daemon and has each client map a port by TCP and UDP.
func (r *rig) mapAll(clients []string) {
	r.t.Helper()
	if err := r.Start(nil); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(time.Second)
	for _, client := range clients {
		for _, op := range []natpmp.Opcode{natpmp.OpMapTCP, natpmp.OpMapUDP} {
			reply, err := r.Request(netip.MustParseAddr(client), natpmp.Request{Opcode: op, InternalPort: 6881, Lifetime: 3600})
			if err != nil || reply.Result != natpmp.ResultSuccess {
				r.t.Errorf("mapping for %s: %+v, error %v", client, reply, err)
			}
		}
	}
	if got := len(r.OurRules("default")); got != 2*len(clients) {
		r.t.Errorf("%d rules for %v", got, clients)
	}
}

// loses reports whether a kind of trouble is one of packets that do not arrive.
func loses(k remedy.Kind) bool {
	return slices.Contains([]remedy.Kind{
		check.KindRequests, check.KindSameNetwork, check.KindAPI, check.KindUpstream, check.KindUnmasked, check.KindDropped, check.KindNoRedirect,
	}, k)
}
