package routerostest_test

import (
	"net/netip"
	"strings"
	"testing"

	"doublenat/routeros/routerostest"
)

// The packets that doublenat lives on.
func requestOfLAN() routerostest.Packet {
	return routerostest.Packet{
		Protocol: "udp", In: routerostest.LANInterface,
		Src: netip.MustParseAddrPort("192.168.88.10:40000"), Dst: netip.MustParseAddrPort("192.168.88.1:5351"),
	}
}

func requestToGateway() routerostest.Packet {
	return routerostest.Packet{
		Protocol: "udp", In: "veth1",
		Src: netip.MustParseAddrPort("172.30.254.2:5351"), Dst: netip.MustParseAddrPort("10.2.0.1:5351"),
	}
}

func loginOfContainer() routerostest.Packet {
	return routerostest.Packet{
		Protocol: "tcp", In: "veth1",
		Src: netip.MustParseAddrPort("172.30.254.2:40000"), Dst: netip.MustParseAddrPort("172.30.254.1:8728"),
	}
}

func fromInternet() routerostest.Packet {
	return routerostest.Packet{
		Protocol: "tcp", In: routerostest.TunnelInterface,
		Src: netip.MustParseAddrPort("203.0.113.7:50000"), Dst: netip.MustParseAddrPort("10.2.0.2:2222"),
	}
}

// furnish adds rows, each written as "path name=value …"; "@" as the value of
// place-before is the first row of the table. A path with "=" before it is of a menu
// with one row, which is changed; one with "-" names a row to remove.
func furnish(t *testing.T, router *routerostest.Router, lines ...string) {
	t.Helper()
	for _, line := range lines {
		words := strings.Fields(line)
		if path, gone := strings.CutPrefix(words[0], "-"); gone {
			if err := router.Remove(path, words[1]); err != nil {
				t.Fatal(err)
			}
			continue
		}
		row := make(routerostest.Row)
		for _, word := range words[1:] {
			name, value, _ := strings.Cut(word, "=")
			if value == "@" {
				value = router.Rows(words[0])[0][".id"]
			}
			row[name] = value
		}
		if path, singleton := strings.CutPrefix(words[0], "="); singleton {
			if err := router.Set(path, "", row); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := router.Add(words[0], row); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWalkOfTheDefaultWorld has the four packets in the world as it is.
func TestWalkOfTheDefaultWorld(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"6.49", "7.12", "7.24"} {
		router := newRouter(t, routerostest.Config{Version: version})
		for _, tt := range []struct {
			packet  routerostest.Packet
			fate    routerostest.Fate
			out     string
			src     string
			dst     string
			problem string
		}{
			{requestOfLAN(), routerostest.Forwarded, "veth1", "192.168.88.10:40000", "172.30.254.2:5351", ""},
			{requestToGateway(), routerostest.Forwarded, "wg1", "10.2.0.2:5351", "10.2.0.1:5351", ""},
			{loginOfContainer(), routerostest.Arrived, "", "172.30.254.2:40000", "172.30.254.1:8728", ""},
			{fromInternet(), routerostest.Forwarded, "bridge", "203.0.113.7:50000", "192.168.88.20:22", ""},
		} {
			way, back, problem := router.Answered(tt.packet)
			if way.Fate != tt.fate || way.Out != tt.out || way.Src.String() != tt.src || way.Dst.String() != tt.dst || problem != tt.problem || way.Unsure != nil {
				t.Errorf("%s: %v\nback: %v\nproblem: %q, want %q", version, way, back, problem, tt.problem)
			}
		}
	}
}

// TestWalkOfTheField has what people really have between the LAN, doublenat, and the
// tunnel, and what mends it.
func TestWalkOfTheField(t *testing.T) {
	t.Parallel()
	const (
		filter, raw, mangle, rule = "/ip/firewall/filter ", "/ip/firewall/raw ", "/ip/firewall/mangle ", "/routing/rule "
		toContainer               = "/routing/rule dst-address=172.30.254.2/32 action=lookup-only-in-table table=main place-before=@"
		back                      = " chain=prerouting connection-mark=in-vpn in-interface=bridge action=mark-routing new-routing-mark=vpn"
	)
	tests := []struct {
		name    string
		version string
		packet  routerostest.Packet
		world   []string
		problem string   // of the packet, "" for none
		mend    []string // after which there is none
	}{
		{
			"LAN by rule", "7.22", requestOfLAN(),
			[]string{"-" + rule + "*1", rule + "src-address=192.168.88.0/24 action=lookup table=vpn"},
			"the packet leaves by wg1, and 172.30.254.2 is at veth1",
			[]string{toContainer},
		},
		{
			"LAN by rule of 6", "6.49", requestOfLAN(),
			[]string{"-/ip/route/rule *1", "/ip/route/rule src-address=192.168.88.0/24 action=lookup table=vpn"},
			"the packet leaves by wg1, and 172.30.254.2 is at veth1",
			[]string{"/ip/route/rule dst-address=172.30.254.2/32 action=lookup-only-in-table table=main place-before=@"},
		},
		{
			"LAN by interface", "7.22", requestOfLAN(),
			[]string{"-" + rule + "*1", rule + "interface=bridge action=lookup-only-in-table table=vpn"},
			"the packet leaves by wg1, and 172.30.254.2 is at veth1",
			[]string{toContainer},
		},
		{
			"LAN by mark", "7.22", requestOfLAN(),
			[]string{mangle + "chain=prerouting in-interface-list=LAN action=mark-routing new-routing-mark=vpn"},
			"the packet leaves by wg1, and 172.30.254.2 is at veth1",
			[]string{mangle + "chain=prerouting action=accept protocol=udp dst-port=5351 in-interface-list=LAN dst-address-type=local place-before=@"},
		},
		{
			"a rule that drops", "7.22", requestOfLAN(),
			[]string{"-" + rule + "*1", rule + "src-address=192.168.88.0/24 action=unreachable"},
			"the packet is lost at routing: a rule says unreachable (/routing/rule *3)",
			[]string{toContainer},
		},
		{
			"strict reverse path", "7.22",
			routerostest.Packet{
				Protocol: "tcp", In: "wg1", Src: netip.MustParseAddrPort("203.0.113.7:50000"), Dst: netip.MustParseAddrPort("10.2.0.2:2222"),
			},
			[]string{"=/ip/settings rp-filter=strict"},
			"the packet is lost at rp-filter: strict: answers to 203.0.113.7 leave by \"ether1\"",
			[]string{"=/ip/settings rp-filter=loose"},
		},
		{
			"answers pass beside the router", "7.22", requestOfLAN(),
			[]string{
				natPath + " chain=dstnat action=dst-nat to-addresses=192.168.88.5 protocol=udp dst-port=5351 in-interface=bridge place-before=*3",
			},
			"the answer comes from 192.168.88.5:5351 instead of 192.168.88.1:5351",
			[]string{natPath + " chain=srcnat action=masquerade src-address=192.168.88.0/24 dst-address=192.168.88.5"},
		},
		{
			"rule with min-prefix", "7.22", requestOfLAN(), []string{
				rule + "src-address=192.168.88.0/24 action=lookup min-prefix=0 table=main", rule + "src-address=192.168.88.0/24 action=lookup table=vpn",
			}, "", nil,
		},
		{
			"raw", "7.22", requestToGateway(),
			[]string{raw + "chain=prerouting action=drop src-address=!192.168.88.0/24 in-interface-list=!WAN"},
			"the packet is lost at raw prerouting: drop (/ip/firewall/raw *1)",
			[]string{raw + "chain=prerouting action=accept in-interface=veth1 place-before=@"},
		},
		{
			"raw, the answer", "7.22", requestToGateway(),
			[]string{"/ip/firewall/address-list list=bogons address=10.0.0.0/8", raw + "chain=prerouting action=jump jump-target=bad", raw + "chain=bad action=drop src-address-list=bogons in-interface-list=WAN"},
			"the answer is lost at raw bad: drop (/ip/firewall/raw *2)",
			[]string{raw + "chain=prerouting action=accept src-address=10.2.0.1 place-before=@"},
		},
		{
			"notrack", "7.22", requestOfLAN(), []string{raw + "chain=prerouting action=notrack in-interface=bridge"}, "", nil,
		},
		{
			"drop all else", "7.22", requestOfLAN(),
			[]string{filter + "chain=forward action=drop"},
			"the packet is lost at filter forward: drop (/ip/firewall/filter *8)",
			[]string{filter + "chain=forward action=accept protocol=udp dst-port=5351 dst-address=172.30.254.2 in-interface-list=LAN place-before=@"},
		},
		{
			"no private addresses from the LAN", "7.22", requestToGateway(),
			[]string{
				"/ip/firewall/address-list list=private address=10.0.0.0/8", filter + "chain=forward action=drop dst-address-list=private out-interface=!bridge",
			},
			"the packet is lost at filter forward: drop (/ip/firewall/filter *8)",
			[]string{filter + "chain=forward action=accept protocol=udp dst-port=5351 src-address=172.30.254.2 dst-address=10.2.0.1 place-before=@"},
		},
		{
			"way back by mark", "7.22", fromInternet(),
			[]string{"-" + mangle + "*1"},
			"the answer leaves by ether1 instead of wg1",
			[]string{mangle + "chain=prerouting in-interface=wg1 connection-state=new action=mark-connection new-connection-mark=vpn place-before=@"},
		},
		{
			"way back by mark, dead rule", "7.22", fromInternet(), []string{
				mangle + "chain=prerouting action=accept in-interface=bridge", mangle + "chain=prerouting in-interface=wg1 action=mark-connection new-connection-mark=in-vpn", mangle + back,
			}, "the answer leaves by ether1 instead of wg1", []string{mangle + back + " place-before=@"},
		},
		{
			"VRF", "7.22", fromInternet(),
			[]string{"/ip/vrf name=vpn interfaces=wg1"},
			"the packet leaves by wg1, and 192.168.88.20 is at bridge",
			[]string{"/ip/route dst-address=192.168.88.0/24 gateway=bridge routing-table=vpn"},
		},
		{
			"VRF without routes", "7.22", fromInternet(), []string{"/ip/vrf name=red interfaces=wg1"}, "the packet is lost at routing: VRF red has no route", nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{Version: tt.version})
			furnish(t, router, tt.world...)
			way, answer, problem := router.Answered(tt.packet)
			t.Logf("%v\n%v\n%s", way, answer, problem)
			if !strings.HasPrefix(problem, tt.problem) {
				t.Errorf("problem %q, want %q", problem, tt.problem)
			}
			furnish(t, router, tt.mend...)
			if way, answer, problem := router.Answered(tt.packet); tt.mend != nil && problem != "" {
				t.Errorf("after the mend: %s\n%v\n%v", problem, way, answer)
			}
		})
	}
}

// TestWalkOfUntrackedAnswers has raw exempt what the router itself answers, as what it
// forwards: such an answer belongs to no connection, and has none of its marks.
func TestWalkOfUntrackedAnswers(t *testing.T) {
	t.Parallel()
	const filter, mangle = "/ip/firewall/filter ", "/ip/firewall/mangle "
	for _, tt := range []struct {
		name    string
		rows    []string
		problem string
	}{
		{"established", []string{filter + "chain=output action=drop connection-state=established"}, ""},
		{"untracked", []string{filter + "chain=output action=drop connection-state=untracked"}, "the answer is lost at filter output: drop"},
		{"marked", []string{
			mangle + "chain=prerouting action=mark-connection new-connection-mark=a in-interface=veth1",
			filter + "chain=output action=drop connection-mark=a",
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			router := newRouter(t, routerostest.Config{Version: "7.22"})
			furnish(t, router, append(tt.rows, "/ip/firewall/raw chain=output action=notrack dst-address=172.30.254.2")...)
			way, back, problem := router.Answered(loginOfContainer())
			if !strings.HasPrefix(problem, tt.problem) || tt.problem == "" && problem != "" {
				t.Errorf("problem %q, want %q\n%v\n%v", problem, tt.problem, way, back)
			}
		})
	}
}
