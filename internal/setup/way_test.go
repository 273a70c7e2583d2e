package setup_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/setup"
	"doublenat/routeros/routerostest"
)

// styles are how people have their routers, as console lines: each keeps some packet of
// doublenat's from where it has to go.
func styles() map[string]string {
	return map[string]string{
		"rule by source":                      `/routing rule add src-address=192.168.88.0/24 action=lookup-only-in-table table=vpn`,
		"rule by interface":                   `/routing rule add interface=bridge action=lookup-only-in-table table=vpn`,
		"mark of the LAN":                     `/ip firewall mangle add chain=prerouting action=mark-routing in-interface=bridge new-routing-mark=vpn passthrough=no`,
		"mark of everything":                  `/ip firewall mangle add chain=prerouting action=mark-routing in-interface=!wg1 new-routing-mark=vpn passthrough=no`,
		"mark of what is not ours":            `/ip firewall mangle add chain=prerouting action=mark-routing in-interface=!wg1 dst-address-type=!local new-routing-mark=vpn passthrough=no`,
		"mark of the LAN, but for the router": `/ip firewall mangle add chain=prerouting action=mark-routing in-interface-list=LAN dst-address-type=!local new-routing-mark=vpn passthrough=no`,
		"drop all else": `/ip firewall filter
add chain=forward action=accept in-interface-list=LAN out-interface-list=WAN
add chain=forward action=accept connection-nat-state=dstnat in-interface=ether1
add chain=forward action=drop`,
		"not public addresses": `/ip firewall address-list add list=not_public address=10.0.0.0/8
/ip firewall address-list add list=not_public address=172.16.0.0/12
/ip firewall filter add chain=forward action=drop in-interface=!wg1 dst-address-list=not_public connection-state=new`,
		"raw": `/ip firewall address-list add list=not_global address=10.0.0.0/8
/ip firewall raw
add chain=prerouting action=drop in-interface-list=WAN src-address-list=not_global
add chain=prerouting action=drop in-interface-list=LAN src-address=!192.168.88.0/24
add chain=prerouting action=accept in-interface-list=LAN
add chain=prerouting action=accept in-interface-list=WAN
add chain=prerouting action=drop`,
		"empty tables": `/ip firewall filter remove [find !dynamic]`,
		"fasttrack":    `/ip firewall filter add chain=forward action=fasttrack-connection connection-state=established,related`,
		"input drops all": `/ip firewall filter
add chain=input action=accept connection-state=established,related
add chain=input action=accept in-interface=bridge
add chain=input action=drop`,
	}
}

// traffic is what became of the packets that doublenat lives on, in words.
type traffic struct{ Request, Reply, Login, Lease, Answer, Late, Mapped string }

// watch sends the packets.
func watch(box *routerostest.Router, cfg setup.Config, iface string) traffic {
	say := func(p routerostest.Path) string {
		if p.Fate != routerostest.Forwarded {
			return p.Fate.String()
		}
		return fmt.Sprintf("%v → %v by %s", p.Src, p.Dst, p.Out)
	}
	end := netip.AddrPortFrom
	client, own := netip.MustParseAddr("192.168.88.10"), netip.MustParseAddr("192.168.88.1")
	request := box.Walk(routerostest.Packet{Protocol: "udp", In: "bridge", Src: end(client, 40000), Dst: end(own, 5351)})
	lease := box.Walk(routerostest.Packet{Protocol: "udp", In: iface, Src: end(cfg.Host, 40001), Dst: cfg.VPN})
	return traffic{
		Request: say(request), Reply: say(box.WalkBack(request)),
		Login: say(box.Walk(routerostest.Packet{Protocol: "tcp", In: iface, Src: end(cfg.Host, 40002), Dst: netip.MustParseAddrPort("192.168.88.1:8728")})),
		Lease: say(lease), Answer: say(box.WalkBack(lease)),
		Late:   say(box.Walk(routerostest.Packet{Protocol: "udp", In: iface, Src: end(cfg.Host, 5351), Dst: end(client, 5350)})),
		Mapped: say(box.Walk(routerostest.Packet{Protocol: "tcp", In: "wg1", Src: netip.MustParseAddrPort("203.0.113.7:50000"), Dst: netip.MustParseAddrPort("10.2.0.2:2222")})),
	}
}

// TestWays has each style of set-up, in which packets get lost, and then what is printed
// for it, by which everything gets where it has to go.
func TestWays(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.49", "7.12", "7.24"} {
		for _, layout := range []string{"container", "host"} {
			if version == "6.49" && layout == "container" {
				continue
			}
			for name, style := range styles() {
				t.Run(version+" "+layout+" "+name, func(t *testing.T) {
					t.Parallel()
					tryWay(t, version, layout, style, slices.Contains([]string{"input drops all", "mark of the LAN, but for the router", "empty tables", "fasttrack"}, name))
				})
			}
		}
	}
}

func tryWay(t *testing.T, version, layout, style string, harmless bool) {
	t.Helper()
	cfg, iface := typical(version), "veth-doublenat"
	cfg.Tunnel = "wg1"
	box := boxOf(t, cfg.Version)
	// What the world has for doublenat goes first: this is a router that never saw it.
	prepare := `/routing rule remove [find comment="doublenat"]
/ip firewall nat remove [find dst-port=5351]
/ip firewall nat remove [find src-port=5351]
/ip firewall mangle remove [find chain=prerouting]
/ip firewall filter remove [find comment~"doublenat"]
`
	if layout == "host" {
		cfg.Container, cfg.Host, iface = netip.Prefix{}, netip.MustParseAddr("192.168.90.2"), "veth1"
		prepare += "/ip address add address=192.168.90.1/24 interface=veth1\n/ip route add dst-address=192.168.90.0/24 gateway=veth1\n"
	} else {
		for _, gone := range [][2]string{{"/ip/address", "interface"}, {"/interface", "name"}} {
			row, _ := box.Find(gone[0], gone[1], "veth1")
			if err := box.Remove(gone[0], row[".id"]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if version == "6.49" {
		prepare = strings.ReplaceAll(prepare, "/routing rule", "/ip route rule")
		style = strings.ReplaceAll(style, "/routing rule", "/ip route rule")
	}
	if refused := routerostest.Refused(box.Console(routerostest.AdminUser).Paste(prepare + style)); refused != nil {
		t.Fatalf("preparing: %q", refused)
	}
	steps, err := setup.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := traffic{
		Request: fmt.Sprintf("192.168.88.10:40000 → %v:5351 by %s", cfg.Host, iface), Reply: "192.168.88.1:5351 → 192.168.88.10:40000 by bridge",
		Login: "arrived", Lease: "10.2.0.2:40001 → 10.2.0.1:5351 by wg1", Answer: fmt.Sprintf("10.2.0.1:5351 → %v:40001 by %s", cfg.Host, iface),
		Late: "192.168.88.1:5351 → 192.168.88.10:5350 by bridge", Mapped: "203.0.113.7:50000 → 192.168.88.20:22 by bridge",
	}
	// First what a router needs that has nothing in the way.
	plain := slices.IndexFunc(steps, func(s setup.Step) bool { return strings.HasPrefix(s.Title, "NAT-PMP requests") }) + 1
	if refused := typeAll(t, box, steps[:plain]); refused != nil {
		t.Fatalf("refused: %q", refused)
	}
	without := watch(box, cfg, iface)
	if without.Late == want.Late {
		t.Error("late packets come from the router by themselves")
	}
	without.Late = want.Late
	if (without == want) != harmless {
		t.Errorf("harmless: %v, but without what is printed for it: %+v", harmless, without)
	}
	if refused := typeAll(t, box, steps[plain:]); refused != nil {
		t.Fatalf("refused: %q", refused)
	}
	if diff := cmp.Diff(want, watch(box, cfg, iface)); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

// TestUPnPWays has each style of set-up again, with what is printed for UPnP: searches that are
// sent to the router, and actions at either address, get to doublenat, and its answers back.
func TestUPnPWays(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"container", "bridge", "host"} {
		for name, style := range styles() {
			t.Run(layout+" "+name, func(t *testing.T) {
				t.Parallel()
				tryUPnP(t, layout, style)
			})
		}
	}
}

func tryUPnP(t *testing.T, layout, style string) {
	t.Helper()
	cfg := typical("7.24")
	cfg.Tunnel, cfg.UPnP = "wg1", 5351
	box := boxOf(t, cfg.Version)
	prepare := "/routing rule remove [find comment=\"doublenat\"]\n/ip firewall mangle remove [find chain=prerouting]\n/ip upnp set enabled=yes\n"
	switch layout {
	case "host":
		cfg.Container, cfg.Host = netip.Prefix{}, netip.MustParseAddr("192.168.90.2")
		prepare += "/ip address add address=192.168.90.1/24 interface=veth1\n"
	case "bridge":
		cfg.Link, cfg.Bridge = setup.LinkBridge, "bridge"
	}
	if layout != "host" {
		for _, gone := range [][2]string{{"/ip/address", "interface"}, {"/interface", "name"}} {
			row, _ := box.Find(gone[0], gone[1], "veth1")
			if err := box.Remove(gone[0], row[".id"]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if refused := routerostest.Refused(box.Console(routerostest.AdminUser).Paste(prepare + style)); refused != nil {
		t.Fatalf("preparing: %q", refused)
	}
	steps, err := setup.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddrPort("192.168.88.10:40000")
	try := func() (problems []string) {
		for _, p := range []routerostest.Packet{
			{Protocol: "udp", In: "bridge", Src: client, Dst: netip.MustParseAddrPort("192.168.88.1:1900")},
			{Protocol: "tcp", In: "bridge", Src: client, Dst: netip.MustParseAddrPort("192.168.88.1:5351")},
			{Protocol: "tcp", In: "bridge", Src: client, Dst: netip.AddrPortFrom(cfg.Host, 5351)},
		} {
			way, _, problem := box.Answered(p)
			if problem == "" && way.Dst != netip.AddrPortFrom(cfg.Host, p.Dst.Port()) {
				problem = "it is " + way.Fate.String() + " at " + way.Dst.String()
			}
			if problem != "" {
				problems = append(problems, fmt.Sprintf("%s %v: %s", p.Protocol, p.Dst, problem))
			}
		}
		return problems
	}
	if len(try()) == 0 {
		t.Error("UPnP gets to doublenat by itself")
	}
	if refused := typeAll(t, box, steps); refused != nil {
		t.Fatalf("refused: %q", refused)
	}
	for _, problem := range try() {
		t.Error(problem)
	}
	// Answers to searches that came by multicast belong to no connection.
	if found := box.Walk(routerostest.Packet{Protocol: "udp", In: "bridge", Src: netip.AddrPortFrom(cfg.Host, 1900), Dst: client}); layout == "bridge" && found.Fate != routerostest.Forwarded {
		t.Errorf("an answer to a search: %v", found)
	}
	upnp, _ := box.Find("/ip/upnp", "enabled", "false")
	if upnp == nil {
		t.Error("the router's own UPnP is on still")
	}
	_, quiet := box.Find("/ip/settings", "send-redirects", "false")
	if quiet != (layout == "bridge") {
		t.Errorf("send-redirects are off: %v", quiet)
	}
}
