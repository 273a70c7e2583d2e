package router

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doublenat/internal/nat"
	"doublenat/routeros"
)

// attrs turns "name=value name=value" into a row; an underscore stands for a blank.
func attrs(words string) routeros.Row {
	var row routeros.Row
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		row = append(row, routeros.Attr{Name: name, Value: strings.ReplaceAll(value, "_", " ")})
	}
	return row
}

// testSite is a router with the tunnel interface wg1, which is in the list VPN,
// was called wg0 before, and whose API service listens.
func testSite() *site {
	return &site{surroundings: surroundings{
		iface:   "wg1",
		former:  []string{"wg0"},
		present: map[string]bool{"wg1": true, "ether1": true},
		lists:   map[string]membership{"all": listHas, "none": listLacks, "VPN": listHas, "LAN": listLacks},
		used:    map[nat.Protocol][]uint16{nat.TCP: {8728}},
		own:     []netip.Addr{netip.MustParseAddr("10.2.0.2")},
		gateway: netip.MustParseAddr("10.2.0.1"),
	}}
}

// viewOf returns the first look at a table of these rows.
func viewOf(rows ...routeros.Row) view {
	b := testSite().newView("default", newDeeds(), true)
	for _, row := range rows {
		b.add(parseRow(row, otherMatchers()))
	}
	return b.finish()
}

// seen is what a view says, in words.
type seen struct {
	Rules    []string
	TCP, UDP string // "+" before those that rules take before which ours stand
	Forwards []string
	CatchAll string
	Strays   int
}

// words puts a view into words. The port of the API service is left out.
func words(v view) seen {
	s := seen{CatchAll: v.catchAll, Strays: v.strays.count}
	for _, r := range v.snapshot.Rules {
		how := ""
		for i, is := range []bool{r.Altered, r.Displaced, r.Edited, r.Alien} {
			if is {
				how += " " + []string{"altered", "displaced", "edited", "alien"}[i]
			}
		}
		s.Rules = append(s.Rules, fmt.Sprintf("%s %v%s", r.ID, r.Match, how))
	}
	for _, f := range v.snapshot.Forwards {
		s.Forwards = append(s.Forwards, f.Key.String())
	}
	s.TCP, s.UDP = ranges(v.snapshot.Used[nat.TCP], 8728), ranges(v.snapshot.Used[nat.UDP], 0)
	for p, to := range map[nat.Protocol]*string{nat.TCP: &s.TCP, nat.UDP: &s.UDP} {
		if wide := ranges(v.snapshot.Wide[p], 0); wide != "" {
			*to += "+" + wide
		}
	}
	return s
}

// ranges writes a set of ports as RouterOS would, without one port.
func ranges(set *nat.PortSet, except uint16) string {
	var parts []string
	for low := 0; low < 1<<16; low++ {
		if !set.Has(uint16(low)) || uint16(low) == except && except != 0 {
			continue
		}
		high := low
		for high+1 < 1<<16 && set.Has(uint16(high+1)) {
			high++
		}
		if part := fmt.Sprint(low); high > low {
			parts = append(parts, part+"-"+fmt.Sprint(high))
		} else {
			parts = append(parts, part)
		}
		low = high
	}
	return strings.Join(parts, ",")
}

func TestForeignRows(t *testing.T) {
	t.Parallel()
	const to = " action=dst-nat to-addresses=192.168.88.20 to-ports=22"
	all := []string{"tcp 192.168.88.20:22", "udp 192.168.88.20:22"}
	tcp, udp := all[:1], all[1:]
	const port0 = "tcp 192.168.88.20:0"
	const every = "+0-65535"
	tests := map[string]struct {
		row  string
		want seen
	}{
		"one port":                  {"in-interface=wg1 protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"list and range":            {"in-interface=wg1 protocol=udp dst-port=80,443,1000-1900" + to, seen{UDP: "80,443,1000-1900", Forwards: udp}},
		"negated ports":             {"in-interface=wg1 protocol=udp dst-port=!22-65535" + to, seen{UDP: "0-21", Forwards: udp}},
		"either port":               {"in-interface=wg1 protocol=tcp port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"any protocol":              {"in-interface=wg1 dst-port=22" + to, seen{TCP: "22", UDP: "22", Forwards: all}},
		"empty protocol":            {"in-interface=wg1 protocol= dst-port=22" + to, seen{TCP: "22", UDP: "22", Forwards: all}},
		"all but tcp":               {"in-interface=wg1 protocol=!tcp dst-port=22" + to, seen{UDP: "22", Forwards: udp}},
		"all but gre":               {"in-interface=wg1 protocol=!gre dst-port=22" + to, seen{TCP: "22", UDP: "22", Forwards: all}},
		"by number":                 {"in-interface=wg1 protocol=17 dst-port=22" + to, seen{UDP: "22", Forwards: udp}},
		"gre":                       {"in-interface=wg1 protocol=gre" + to, seen{}},
		"any interface":             {"protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"other interface":           {"in-interface=ether1 protocol=tcp dst-port=22" + to, seen{}},
		"not other interface":       {"in-interface=!ether1 protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"not our interface":         {"in-interface=!wg1 protocol=tcp dst-port=22" + to, seen{}},
		"kind of interface":         {"in-interface=all-ppp protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"not kind of interface":     {"in-interface=!all-ppp protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"list with us":              {"in-interface-list=VPN protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"list without us":           {"in-interface-list=LAN protocol=tcp dst-port=22" + to, seen{}},
		"not list with us":          {"in-interface-list=!VPN protocol=tcp dst-port=22" + to, seen{}},
		"not list without us":       {"in-interface-list=!LAN protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"unknown list":              {"in-interface-list=new protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"not unknown list":          {"in-interface-list=!new protocol=tcp dst-port=22" + to, seen{TCP: "22", Forwards: tcp}},
		"interface and list":        {"in-interface=wg1 in-interface-list=LAN protocol=tcp dst-port=22" + to, seen{}},
		"dynamic":                   {"in-interface=wg1 protocol=tcp dst-port=22 dynamic=true" + to, seen{TCP: "22", Forwards: tcp}},
		"disabled":                  {"in-interface=wg1 protocol=tcp dst-port=22 disabled=true" + to, seen{}},
		"invalid":                   {"in-interface=*C protocol=tcp dst-port=22 invalid=true" + to, seen{}},
		"invalid here":              {"in-interface=wg1 protocol=tcp dst-port=22 invalid=true" + to, seen{}},
		"srcnat":                    {"chain=srcnat protocol=tcp dst-port=22 action=masquerade", seen{}},
		"chain of the user":         {"chain=games protocol=tcp dst-port=22" + to, seen{Forwards: tcp}},
		"output":                    {"chain=output protocol=tcp dst-port=22" + to, seen{}},
		"accept":                    {"in-interface=wg1 protocol=tcp dst-port=22 action=accept", seen{TCP: "22"}},
		"redirect":                  {"in-interface=wg1 protocol=udp dst-port=53 action=redirect to-ports=53", seen{UDP: "53"}},
		"log":                       {"in-interface=wg1 protocol=tcp dst-port=22 action=log", seen{}},
		"passthrough":               {"in-interface=wg1 action=passthrough", seen{}},
		"return":                    {"in-interface=wg1 protocol=tcp dst-port=22 action=return", seen{TCP: "22"}},
		"return in a user's chain":  {"chain=games protocol=tcp dst-port=22 action=return", seen{}},
		"narrowed":                  {"protocol=tcp dst-port=22 src-address-list=friends" + to, seen{TCP: "22", Forwards: tcp}},
		"catch-all":                 {"in-interface=wg1 action=dst-nat to-addresses=192.168.88.20", seen{TCP: every, UDP: every, CatchAll: "*1", Forwards: []string{port0, "udp 192.168.88.20:0"}}},
		"catch-all of tcp":          {"in-interface=wg1 protocol=tcp" + to, seen{TCP: every, CatchAll: "*1", Forwards: tcp}},
		"all ports of tcp":          {"in-interface=wg1 protocol=tcp dst-port=1-65535" + to, seen{TCP: "+1-65535", CatchAll: "*1", Forwards: tcp}},
		"all ports but one":         {"in-interface=wg1 protocol=tcp dst-port=!22" + to, seen{TCP: "+0-21,23-65535", CatchAll: "*1", Forwards: tcp}},
		"WAN address":               {"protocol=tcp dst-port=1-65535 dst-address=198.51.100.2" + to, seen{}},
		"not the WAN address":       {"protocol=tcp dst-port=22 dst-address=!198.51.100.2" + to, seen{TCP: "22", Forwards: tcp}},
		"our address":               {"protocol=tcp dst-port=22 dst-address=10.2.0.0/30" + to, seen{TCP: "22", Forwards: tcp}},
		"not our address":           {"protocol=tcp dst-port=22 dst-address=!10.2.0.2" + to, seen{}},
		"local":                     {"protocol=tcp dst-port=22 dst-address-type=local" + to, seen{TCP: "22", Forwards: tcp}},
		"not local":                 {"protocol=tcp dst-port=22 dst-address-type=!local" + to, seen{}},
		"broadcast":                 {"protocol=tcp dst-port=22 dst-address-type=broadcast,multicast" + to, seen{}},
		"from the LAN":              {"protocol=tcp dst-port=22 src-address=192.168.88.0/24" + to, seen{}},
		"not from the LAN":          {"protocol=tcp dst-port=22 src-address=!192.168.88.0/24" + to, seen{TCP: "22", Forwards: tcp}},
		"from the gateway":          {"protocol=tcp dst-port=22 src-address=10.0.0.0/8" + to, seen{TCP: "22", Forwards: tcp}},
		"from a friend":             {"protocol=tcp dst-port=22 src-address=203.0.113.5" + to, seen{TCP: "22", Forwards: tcp}},
		"jump to nothing":           {"in-interface=wg1 action=jump jump-target=games", seen{}},
		"dynamic catch-all":         {"in-interface=wg1 dynamic=true action=accept", seen{TCP: "0-65535", UDP: "0-65535"}},
		"catch-all elsewhere":       {"in-interface=ether1 action=dst-nat to-addresses=192.168.88.20", seen{}},
		"catch-all in user's chain": {"chain=games action=dst-nat to-addresses=192.168.88.20", seen{Forwards: []string{port0, "udp 192.168.88.20:0"}}},
		"ports of a later version":  {"in-interface=wg1 protocol=tcp dst-port=http" + to, seen{TCP: every, CatchAll: "*1", Forwards: tcp}},
		"the port stays":            {"in-interface=wg1 protocol=tcp dst-port=80,443 action=dst-nat to-addresses=192.168.88.20", seen{TCP: "80,443", Forwards: []string{"tcp 192.168.88.20:80", "tcp 192.168.88.20:443"}}},
		"range of addresses":        {"in-interface=wg1 protocol=tcp dst-port=1 action=netmap to-addresses=192.168.88.20-192.168.88.21", seen{TCP: "1", Forwards: []string{"tcp 192.168.88.20:1", "tcp 192.168.88.21:1"}}},
		"prefix":                    {"in-interface=wg1 protocol=tcp dst-port=1 action=netmap to-addresses=192.168.88.20/31", seen{TCP: "1", Forwards: []string{"tcp 192.168.88.20:1", "tcp 192.168.88.21:1"}}},
		"last address":              {"in-interface=wg1 protocol=tcp dst-port=1 action=netmap to-addresses=255.255.255.254/31", seen{TCP: "1", Forwards: []string{"tcp 255.255.255.254:1", "tcp 255.255.255.255:1"}}},
		"range of ports":            {"in-interface=wg1 protocol=tcp dst-port=1 action=dst-nat to-addresses=192.168.88.20 to-ports=5-6", seen{TCP: "1", Forwards: []string{"tcp 192.168.88.20:5", "tcp 192.168.88.20:6"}}},
		"many ports":                {"in-interface=wg1 protocol=tcp dst-port=1 action=dst-nat to-addresses=192.168.88.20 to-ports=1-65", seen{TCP: "1", Forwards: []string{port0}}},
		"no address":                {"in-interface=wg1 protocol=tcp dst-port=1 action=dst-nat to-ports=1", seen{TCP: "1"}},
		"strange address":           {"in-interface=wg1 protocol=tcp dst-port=1 action=dst-nat to-addresses=192.168.88.9-192.168.88.1", seen{TCP: "1"}},
		"IPv6 address":              {"in-interface=wg1 protocol=tcp dst-port=1 action=dst-nat to-addresses=fd00::1", seen{TCP: "1"}},
		"comment that is not ours":  {"in-interface=wg1 protocol=tcp dst-port=22 comment=doublenat:_mine" + to, seen{TCP: "22", Forwards: tcp}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row := ".id=*1 "
			if !strings.HasPrefix(tt.row, "chain=") {
				row += "chain=dstnat "
			}
			got := words(viewOf(attrs(row + tt.row)))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOurRows changes one attribute of a rule of ours after the other.
func TestOurRows(t *testing.T) {
	t.Parallel()
	const comment = "doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600"
	const base = ".id=*1 chain=dstnat action=dst-nat protocol=tcp in-interface=wg1 dst-port=20001 to-addresses=192.168.88.10 to-ports=6881 " +
		"log=false log-prefix= bytes=1 packets=7 invalid=false dynamic=false disabled=false src-address="
	good := []string{"*1 [20001 0 0]"}
	altered := []string{"*1 [20001 0 0] altered"}
	displaced := []string{"*1 [20001 0 0] displaced"}
	tests := map[string]struct {
		change string
		want   seen
	}{
		"as we make it":         {"", seen{Rules: good}},
		"both ports":            {"dst-port=20001,40123", seen{Rules: []string{"*1 [20001 40123 0]"}}},
		"both, the other way":   {"dst-port=40123,20001", seen{Rules: []string{"*1 [20001 40123 0]"}}},
		"external port":         {"dst-port=40123", seen{Rules: []string{"*1 [40123 0 0]"}}},
		"other port":            {"dst-port=20002", seen{Rules: []string{"*1 [0 0 0] altered"}}},
		"one port more":         {"dst-port=20001,20002", seen{Rules: []string{"*1 [20001 20002 0]"}}},
		"three ports":           {"dst-port=20001,40123,1", seen{Rules: []string{"*1 [20001 40123 1]"}}},
		"four ports":            {"dst-port=20001,40123,1,2", seen{Rules: []string{"*1 [0 0 0] altered"}}},
		"only another port":     {"dst-port=1", seen{Rules: []string{"*1 [0 0 0] altered"}}},
		"the same port twice":   {"dst-port=20001,20001", seen{Rules: altered}},
		"range":                 {"dst-port=20001-20002", seen{Rules: []string{"*1 [20001 20002 0]"}}},
		"negated":               {"dst-port=!20001", seen{Rules: []string{"*1 [0 0 0] altered"}}},
		"no port":               {"dst-port=", seen{Rules: []string{"*1 [0 0 0] altered"}}},
		"other address":         {"to-addresses=192.168.88.11", seen{Rules: altered}},
		"other client port":     {"to-ports=6882", seen{Rules: altered}},
		"no client port":        {"to-ports=", seen{Rules: altered}},
		"other protocol":        {"protocol=udp", seen{Rules: altered}},
		"other action":          {"action=accept", seen{Rules: altered}},
		"other chain":           {"chain=games", seen{Rules: altered}},
		"disabled":              {"disabled=true", seen{Rules: altered}},
		"narrowed":              {"src-address=192.0.2.1", seen{Rules: altered}},
		"narrowed by hosts":     {"src-address-list=friends", seen{Rules: altered}},
		"narrowed by a mark":    {"connection-mark=vpn", seen{Rules: altered}},
		"narrowed by a source":  {"src-port=53", seen{Rules: altered}},
		"not narrowed":          {"src-address=0.0.0.0/0", seen{Rules: good}},
		"from all ports":        {"src-port=0-65535", seen{Rules: good}},
		"narrowed by a list":    {"in-interface-list=VPN", seen{Rules: altered}},
		"narrowed by a port":    {"port=1", seen{Rules: altered}},
		"logged":                {"log=true", seen{Rules: good}},
		"former interface":      {"in-interface=wg0", seen{Rules: displaced}},
		"other interface":       {"in-interface=ether1", seen{Strays: 1}},
		"deleted interface":     {"in-interface=*C", seen{Rules: displaced}},
		"all but one interface": {"in-interface=!ether1", seen{Rules: displaced}},
		"any interface":         {"in-interface=", seen{Rules: []string{"*1 [20001 0 0] displaced edited"}}},
		"dynamic":               {"dynamic=true", seen{Strays: 1, TCP: "20001", Forwards: []string{"tcp 192.168.88.10:6881"}}},
		"of another instance":   {"comment=" + strings.Replace(comment, "default", "other", 1), seen{TCP: "20001", Forwards: []string{"tcp 192.168.88.10:6881"}}},
		"with a comment edited": {"comment=" + comment + "!", seen{TCP: "20001", Forwards: []string{"tcp 192.168.88.10:6881"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row := attrs(base)
			row = append(row, routeros.Attr{Name: "comment", Value: comment})
			if tt.change != "" {
				name, value, _ := strings.Cut(tt.change, "=")
				row = slices.DeleteFunc(row, func(a routeros.Attr) bool { return a.Name == name })
				row = append(row, routeros.Attr{Name: name, Value: value})
			}
			v := viewOf(row)
			if diff := cmp.Diff(tt.want, words(v)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, r := range v.snapshot.Rules {
				want := nat.Rule{
					ID:        "*1",
					Key:       nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: 6881},
					InnerPort: 20001, ExternalPort: 40123, Lifetime: time.Hour,
					Match: r.Match, Altered: r.Altered, Displaced: r.Displaced, Edited: r.Edited, Packets: 7,
				}
				if r != want {
					t.Errorf("got %+v, want %+v", r, want)
				}
			}
		})
	}
}

// TestOurRowsForPortZero: such a row is as we make it while it forwards to the external port.
func TestOurRowsForPortZero(t *testing.T) {
	t.Parallel()
	for toPorts, want := range map[string]bool{"40123": false, "20001": true, "0": true, "": true, "40000-41000": true} {
		row := append(attrs(".id=*1 chain=dstnat action=dst-nat protocol=udp in-interface=wg1 dst-port=20001 to-addresses=192.168.88.10"),
			routeros.Attr{Name: "comment", Value: "doublenat:default udp 192.168.88.10:0 inner=20001 ext=40123 life=60"},
			routeros.Attr{Name: "to-ports", Value: toPorts})
		v := viewOf(row)
		if rules := v.snapshot.Rules; len(rules) != 1 || rules[0].Altered != want || rules[0].Target() != 40123 {
			t.Errorf("to-ports %q: got %+v, want altered %v", toPorts, rules, want)
		}
	}
}

// A rule of ours that stands behind a row which takes its packets does nothing. It
// counts as altered, and is made again where it works.
func TestRulesBehindACatchAll(t *testing.T) {
	t.Parallel()
	const ours = ".id=*2 chain=dstnat action=dst-nat protocol=tcp in-interface=wg1 dst-port=20000 to-addresses=192.168.88.10 to-ports=6881 " +
		"comment=doublenat:default_tcp_192.168.88.10:6881_inner=20000_ext=40000_life=3600"
	const to = " action=dst-nat to-addresses=192.168.88.77"
	for name, tt := range map[string]struct {
		row     string
		altered bool
	}{
		"all ports":          {"chain=dstnat protocol=tcp in-interface=wg1" + to, true},
		"everything":         {"chain=dstnat" + to, true},
		"jump":               {"chain=dstnat action=jump jump-target=everything", true},
		"jump to few ports":  {"chain=dstnat action=jump jump-target=few", false},
		"jump for few ports": {"chain=dstnat action=jump jump-target=everything protocol=tcp dst-port=20000", false},
		"half of the ports":  {"chain=dstnat protocol=tcp dst-port=1-32767 in-interface=wg1" + to, true},
		"the other half":     {"chain=dstnat protocol=tcp dst-port=32768-65535 in-interface=wg1" + to, false},
		"all ports but one":  {"chain=dstnat protocol=tcp dst-port=!22" + to, true},
		"all but ours":       {"chain=dstnat protocol=tcp dst-port=!20000" + to, false},
		"the other protocol": {"chain=dstnat protocol=udp" + to, false},
		"other interface":    {"chain=dstnat in-interface=ether1" + to, false},
		"one port":           {"chain=dstnat protocol=tcp dst-port=20000 in-interface=wg1" + to, false}, // left to the core: it is theirs
		"switched off":       {"chain=dstnat disabled=true" + to, false},
		"only looks":         {"chain=dstnat action=log", false},
		"another chain":      {"chain=dmz" + to, false},
		"dynamic":            {"chain=dstnat dynamic=true" + to, false}, // nothing can be put before it
	} {
		for _, behind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, behind %v", name, behind), func(t *testing.T) {
				t.Parallel()
				rows := []routeros.Row{attrs(ours), attrs(".id=*1 " + tt.row)}
				if behind {
					slices.Reverse(rows)
				}
				rows = append(rows, attrs(".id=*8 chain=everything"+to), attrs(".id=*9 chain=few protocol=tcp dst-port=20000"+to))
				v := viewOf(rows...)
				if len(v.snapshot.Rules) != 1 || v.snapshot.Rules[0].Altered != (behind && tt.altered) {
					t.Errorf("got %+v, want altered %v", v.snapshot.Rules, behind && tt.altered)
				}
			})
		}
	}
}

// TestForwardsAreBounded reads tables that forward half the Internet.
func TestForwardsAreBounded(t *testing.T) {
	t.Parallel()
	row := attrs(".id=*1 chain=dstnat in-interface=wg1 dst-port=1 action=netmap to-addresses=10.0.0.0/8 to-ports=1-64")
	v := viewOf(row)
	if got, want := len(v.snapshot.Forwards), 256*64*2; got != want {
		t.Errorf("one row: got %d forwards, want %d", got, want)
	}
	v = viewOf(slices.Repeat([]routeros.Row{row}, 100)...)
	if got := len(v.snapshot.Forwards); got != maxForwards {
		t.Errorf("100 rows: got %d forwards, want %d", got, maxForwards)
	}
}

func TestMemberships(t *testing.T) {
	t.Parallel()
	lists := []routeros.Row{
		attrs("name=all builtin=true"), attrs("name=none builtin=true"), attrs("name=dynamic"), attrs("name=static"),
		attrs("name=WAN"), attrs("name=LAN include="), attrs("name=both include=WAN,LAN"), attrs("name=but exclude=LAN"), attrs("name=off"),
	}
	members := []routeros.Row{
		attrs("list=WAN interface=ether1"), attrs("list=WAN interface=wg1"), attrs("list=LAN interface=bridge"),
		attrs("list=off interface=wg1 disabled=true"), attrs("list=both interface=ether1"), attrs("list=none interface=wg1"),
	}
	lists = append(lists, attrs("name=rest include=WAN,LAN exclude=WAN"), attrs("name=gone include=*2000010"), attrs("name=less include=WAN exclude=*2000010"),
		attrs("name=loop include=pool"), attrs("name=pool include=loop"))
	want := map[string]membership{
		"all": listHas, "none": listLacks, "WAN": listHas, "LAN": listLacks, "off": listLacks, "both": listHas, "but": listLacks,
		"dynamic": listLacks, "static": listHas, "rest": listLacks, "gone": listUnknown, "less": listUnknown, "loop": listUnknown, "pool": listUnknown,
	}
	if diff := cmp.Diff(want, memberships(lists, members, "wg1", false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzView reads rows with arbitrary values. Whatever is there, a rule that
// counts as ours must say in all its fields what its comment says, or be altered.
func FuzzView(f *testing.F) {
	f.Add("doublenat:default tcp 192.168.88.10:6881 inner=20001 ext=40123 life=3600", "wg1", "20001", "192.168.88.10", "6881", "tcp")
	f.Add("web", "", "!1-2", "10.0.0.0/8", "1-2", "!udp")
	f.Add("", "!ether1", "", "1.2.3.4-1.2.4.0", "", "")
	f.Fuzz(func(t *testing.T, comment, iface, dstPort, toAddresses, toPorts, protocol string) {
		row := routeros.Row{
			{Name: ".id", Value: "*1"},
			{Name: "chain", Value: "dstnat"},
			{Name: "action", Value: "dst-nat"},
			{Name: "comment", Value: comment},
			{Name: "in-interface", Value: iface},
			{Name: "dst-port", Value: dstPort},
			{Name: "to-addresses", Value: toAddresses},
			{Name: "to-ports", Value: toPorts},
			{Name: "protocol", Value: protocol},
		}
		v := viewOf(row)
		if len(v.snapshot.Forwards) > maxForwards {
			t.Errorf("%d forwards", len(v.snapshot.Forwards))
		}
		for _, r := range v.snapshot.Rules {
			same := r.Key.Protocol.String() == protocol && r.Key.Client.String() == toAddresses &&
				fmt.Sprint(r.Key.InternalPort) == toPorts && iface == "wg1" && r.Match[0] != 0
			if !r.Altered && !r.Displaced && !same {
				t.Errorf("not altered: %+v from %v", r, row)
			}
			if r.Altered && same && matcher(r.Match) == dstPort {
				t.Errorf("altered: %+v from %v", r, row)
			}
		}
	})
}

func BenchmarkView(b *testing.B) {
	var rows []routeros.Row
	for i := range 1000 {
		o := owned{
			instance: "default",
			key:      nat.Key{Client: netip.MustParseAddr("192.168.88.10"), Protocol: nat.TCP, InternalPort: uint16(1000 + i)},
			inner:    uint16(20000 + i), external: uint16(40000 + i), lifetime: time.Hour,
		}
		row := attrs(".id=*1 chain=dstnat action=dst-nat protocol=tcp in-interface=wg1 to-addresses=192.168.88.10 packets=1 dynamic=false disabled=false invalid=false")
		row = append(row, routeros.Attr{Name: "dst-port", Value: fmt.Sprint(20000 + i)},
			routeros.Attr{Name: "to-ports", Value: fmt.Sprint(1000 + i)}, routeros.Attr{Name: "comment", Value: o.String()})
		rows = append(rows, row)
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := viewOf(rows...); len(v.snapshot.Rules) != 1000 || v.snapshot.Rules[0].Altered {
			b.Fatal("the rows are not ours")
		}
	}
}
