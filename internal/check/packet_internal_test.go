package check

import (
	"net/netip"
	"strings"
	"testing"

	"doublenat/routeros"
)

// visitWith is a visit that has read tables, each row given as "name=value" words.
func visitWith(tables map[string][]string) *visit {
	v := &visit{tables: make(map[string][]routeros.Row)}
	for path, rows := range tables {
		for _, words := range rows {
			v.tables[path] = append(v.tables[path], rowOf(words))
		}
	}
	return v
}

// rowOf reads "name=value" words.
func rowOf(words string) routeros.Row {
	var row routeros.Row
	for word := range strings.FieldsSeq(words) {
		name, value, _ := strings.Cut(word, "=")
		row = append(row, routeros.Attr{Name: name, Value: value})
	}
	return row
}

// TestMeets has one matcher of each kind, and packets that it takes or not.
func TestMeets(t *testing.T) {
	t.Parallel()
	v := visitWith(map[string][]string{
		"/interface/list": {"name=all", "name=none", "name=dynamic", "name=LAN", "name=WAN", "name=BOTH include=LAN,WAN"},
		"/ip/firewall/address-list": {
			"list=clients address=192.168.88.0/24", "list=some address=192.168.88.10", "list=some address=10.0.0.1",
			"list=others address=192.168.88.10 disabled=true", "list=names address=host.example.com",
		},
		"/interface/list/member": {"list=LAN interface=bridge", "list=WAN interface=ether1", "list=WAN interface=wg1 disabled=true"},
	})
	client := spanOf(netip.MustParsePrefix("192.168.88.10/32"))
	mapped := packet{in: "wg1", state: "new", natState: "dstnat"}
	request := packet{in: "bridge", protocol: "udp", port: 5351, dst: client, state: "new", local: true}
	reply := packet{
		in: "bridge", out: "wg1", src: spanOf(netip.MustParsePrefix("192.168.88.1/24")), remote: true, state: "established", mark: "vpn",
	}
	tests := []struct {
		rule string
		p    packet
		want fate
	}{
		{"chain=forward action=drop comment=x log=yes", mapped, always},
		{"in-interface=wg1", mapped, always},
		{"in-interface=!wg1", mapped, never},
		{"in-interface=ether1", mapped, never},
		{"in-interface=all-ppp", mapped, perhaps},
		{"in-interface=!all-ppp", mapped, perhaps},
		{"out-interface=bridge", mapped, perhaps},
		{"out-interface=wg1", reply, always},
		{"out-interface=ether1", reply, never},
		{"in-interface-list=WAN", mapped, never}, // the membership is disabled
		{"in-interface-list=!WAN", mapped, always},
		{"in-interface-list=LAN", request, always},
		{"in-interface-list=BOTH", request, perhaps},
		{"in-interface-list=dynamic", request, perhaps},
		{"in-interface-list=all", mapped, always},
		{"in-interface-list=none", mapped, never},
		{"in-interface-list=gone", mapped, never},
		{"out-interface-list=WAN", mapped, perhaps},
		{"connection-state=established,related", mapped, never},
		{"connection-state=invalid,new", mapped, always},
		{"connection-nat-state=!dstnat", mapped, never},
		{"connection-nat-state=srcnat,dstnat", mapped, always},
		{"connection-nat-state=dstnat", request, perhaps},
		{"connection-mark=no-mark", reply, never},
		{"connection-mark=!no-mark", reply, always},
		{"connection-mark=vpn", mapped, perhaps},
		{"protocol=tcp", mapped, partly},
		{"protocol=!tcp", mapped, partly},
		{"protocol=17", request, always},
		{"protocol=6", request, never},
		{"protocol=icmp", mapped, never},
		{"protocol=!icmp", mapped, always},
		{"protocol=udp dst-port=5351", request, always},
		{"protocol=udp dst-port=53,5350-5360", request, always},
		{"protocol=udp dst-port=!5351", request, never},
		{"protocol=udp dst-port=1-53", request, never},
		{"protocol=udp dst-port=ntp", request, perhaps},
		{"protocol=tcp dst-port=443", mapped, perhaps},
		{"dst-address=192.168.88.10", request, always},
		{"dst-address=192.168.88.0/24", request, always},
		{"dst-address=192.168.88.1-192.168.88.20", request, always},
		{"dst-address=192.168.88.11-192.168.88.20", request, never},
		{"dst-address=!192.168.88.0/24", request, never},
		{"dst-address=nowhere", request, perhaps},
		{"dst-address=192.168.88.0/24", mapped, perhaps},
		{"dst-address=0.0.0.0/0", mapped, always},
		{"dst-address-type=local", request, always},
		{"dst-address-type=!local", request, never},
		{"dst-address-type=local", mapped, perhaps},
		{"dst-address-type=!local", reply, always},
		{"dst-address-type=unicast", reply, always},
		{"dst-address-type=broadcast", reply, never},
		{"src-address-list=friends", mapped, perhaps},
		{"src-address=192.168.0.0/16", reply, always},
		{"src-address=192.168.88.10", reply, partly},
		{"src-address=!192.168.88.10", reply, partly},
		{"src-address=192.168.88.100-192.168.89.1", reply, partly},
		{"src-address=192.168.89.0/24", reply, never},
		{"src-address-list=clients", reply, always},
		{"src-address-list=!clients", reply, never},
		{"src-address-list=some", reply, partly},
		{"src-address-list=others", reply, never},
		{"src-address-list=names", reply, perhaps},
		{"dst-address-list=!clients", request, never},
		{"from-the-future=1", mapped, perhaps},
		{"from-the-future=", mapped, always},
	}
	for _, tt := range tests {
		got, err := v.meets(t.Context(), rowOf(tt.rule), tt.p)
		if err != nil || got != tt.want {
			t.Errorf("%s for %+v: got %d, error %v; want %d", tt.rule, tt.p, got, err, tt.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain":                  "plain",
		"caf\xe9\x1b[31m":        "caf??[31m",
		strings.Repeat("x", 100): strings.Repeat("x", 60) + "…",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := describe(rowOf(".id=*1F")); got != "*1F" {
		t.Errorf("got %q", got)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	var got []string
	for l := range Level(4) {
		got = append(got, l.String())
	}
	if want := "ok warn fail level(3)"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
